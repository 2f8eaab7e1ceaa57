package standin

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestWBXMLRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genElement(4).Draw(t, "root")
		got, err := decodeWBXML(encodeWBXML(want))
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("read %v, want %v", got, want)
		}
	})
}

// genElement makes trees of up to depth levels, over several code pages.
func genElement(depth int) *rapid.Generator[element] {
	return rapid.Custom(func(t *rapid.T) element {
		page := rapid.SampledFrom([]tag{0, 7, 13, 24}).Draw(t, "page")
		e := element{tag: page<<8 | tag(rapid.IntRange(firstTag, 0x3F).Draw(t, "number"))}
		if depth > 1 && rapid.Bool().Draw(t, "branch") {
			e.children = rapid.SliceOfN(genElement(depth-1), 0, 3).Draw(t, "children")
			return e
		}
		e.text = rapid.StringOf(rapid.RuneFrom([]rune("a1ä€ <&\n"))).Draw(t, "text")
		return e
	})
}

func TestWBXMLRefused(t *testing.T) {
	header := string(wbxmlHeader)
	tests := []struct {
		name, doc string
		want      error
	}{
		{"empty", "", errWBXML},
		{"version 1.1", "\x01\x01\x6a\x00\x05", errWBXML},
		{"string table", "\x03\x01\x6a\x01a\x05", errWBXML},
		{"latin-1", "\x03\x01\x04\x00\x05", errWBXML},
		{"no root", header, errTruncated},
		{"root is END", header + "\x01", errToken},
		{"root is text", header + "\x03a\x00", errToken},
		{"attributes", header + "\x85\x01\x01", errAttributes},
		{"entity", header + "\x45\x02\x41\x01", errToken},
		{"literal", header + "\x45\x04\x01", errToken},
		{"string reference", header + "\x45\x83\x00\x01", errAttributes},
		{"open", header + "\x45\x46\x01", errTruncated},
		{"page missing", header + "\x00", errTruncated},
		{"string open", header + "\x45\x03abc", errTruncated},
		{"opaque short", header + "\x45\xc3\x05abc\x01", errTruncated},
		{"opaque huge", header + "\x45\xc3\xff\xff\x7f\x01", errTruncated},
		{"opaque length too long", header + "\x45\xc3\xff\xff\xff\x7f\x01", errToken},
		{"opaque NUL", header + "\x45\xc3\x01\x00\x01", errText},
		{"not UTF-8", header + "\x45\x03\xff\x00\x01", errText},
		{"text, then element", header + "\x45\x03a\x00\x06\x01", errMixed},
		{"element, then text", header + "\x45\x06\x03a\x00\x01", errMixed},
		{"trailing", header + "\x05\x05", errTrailing},
		{"deep", header + strings.Repeat("\x45", maxDepth+1), errTooDeep},
		{"wide", header + "\x45" + strings.Repeat("\x05", maxElements) + "\x01", errTooMany},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decodeWBXML([]byte(tt.doc))
			if !errors.Is(err, errWBXML) || !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	opaque, err := decodeWBXML([]byte(header + "\x45\xc3\x02ab\x03c\x00\x01"))
	if err != nil || opaque.text != "abc" {
		t.Errorf("opaque data: %v, %v", opaque, err)
	}
}

// FuzzWBXML: whatever is read is written to a document that reads the same, and
// no part of a Ping escapes its bounds.
func FuzzWBXML(f *testing.F) {
	f.Add([]byte(pingDoc(60, Inbox, Calendar)))
	f.Add([]byte(pingDoc(0)))
	f.Add(encodeWBXML(folderSyncAnswer(hierarchy())))
	f.Add([]byte("\x03\x01\x6a\x00\x45\xc3\x02ab\x01"))
	f.Add([]byte("\x03\x01\x6a\x00\x45\x46"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		root, err := decodeWBXML(doc)
		if err != nil {
			if !errors.Is(err, errWBXML) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := decodeWBXML(encodeWBXML(root))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(root) {
			t.Fatalf("read again as %v, %v; was %v", again, err, root)
		}
		req, err := parsePing(root)
		if err != nil {
			return
		}
		if len(req.folders) > maxPingFolders+1 || req.heartbeat < 0 {
			t.Fatalf("out of bounds: %v", req)
		}
		for _, id := range req.folders {
			if id == "" || len(id) > maxFolderID || !utf8.ValidString(id) {
				t.Fatalf("folder %q", id)
			}
		}
	})
}
