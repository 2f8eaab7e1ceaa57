package socks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

// What is accepted is what an independent reading of the bytes says, and nothing
// behind the message is read.
func FuzzToken(f *testing.F) {
	for _, seed := range [][]byte{
		AppendToken(nil, "a.b.c~ABC"), AppendToken(nil, strings.Repeat("t", MaxToken)),
		{}, {1}, {1, 0}, {1, 0, 0}, {2, 0, 1, 'x'}, {1, 0, 2, 'x'}, {1, 0xFF, 0xFF, 'x'}, {1, 0x10, 0x01, 'x'},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		rest := bytes.NewReader(in)
		got, err := Token{}.Authenticate(rest, &out)
		if !bytes.Equal(out.Bytes(), []byte{5, 0x80}) {
			t.Fatalf("selected by % x", out.Bytes())
		}
		length, whole, bad := 0, false, false
		if len(in) >= 3 {
			length = int(binary.BigEndian.Uint16(in[1:3]))
			bad = in[0] != 1 || length < 1 || length > MaxToken
			whole = !bad && len(in) >= 3+length
		}
		switch {
		case bad:
			if !errors.Is(err, BadAuth) {
				t.Fatalf("% x: %v, want bad_auth", in, err)
			}
		case !whole:
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("% x: %v, want an end", in, err)
			}
		case err != nil || got.Payload[PayloadToken] != string(in[3:3+length]):
			t.Fatalf("% x: %v", in, err)
		case rest.Len() != len(in)-3-length:
			t.Fatalf("read %d bytes too many", len(in)-3-length-rest.Len())
		}
	})
}
