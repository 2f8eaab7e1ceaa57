package export

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// readPlist reads an XML property list as strictly as encoding/xml can: what two
// readers could understand in two ways is an error. It gives map[string]any,
// []any, string, int and bool.
func readPlist(file []byte) (any, error) {
	r := plistReader{xml.NewDecoder(bytes.NewReader(file))}
	if err := r.head(); err != nil {
		return nil, err
	}
	t, err := r.next()
	if err != nil {
		return nil, err
	}
	v, err := r.value(t)
	if err != nil {
		return nil, err
	}
	if t, err = r.next(); err != nil || t != (xml.EndElement{Name: xml.Name{Local: "plist"}}) {
		return nil, fmt.Errorf("%v after the value, %v", t, err)
	}
	if t, err = r.next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%v behind the list, %v", t, err)
	}
	return v, nil
}

type plistReader struct{ *xml.Decoder }

// head wants the declaration, the document type and <plist version="1.0">.
func (r plistReader) head() error {
	for _, want := range []string{
		`xml version="1.0" encoding="UTF-8"`,
		`DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd"`,
		`plist version="1.0"`,
	} {
		t, err := r.next()
		if err != nil {
			return err
		}
		var got string
		switch t := t.(type) {
		case xml.ProcInst:
			got = t.Target + " " + string(t.Inst)
		case xml.Directive:
			got = string(t)
		case xml.StartElement:
			got = t.Name.Local
			for _, a := range t.Attr {
				got += fmt.Sprintf(" %s=%q", a.Name.Local, a.Value)
			}
		}
		if got != want {
			return fmt.Errorf("%q in place of %q", got, want)
		}
	}
	return nil
}

// next skips white space.
func (r plistReader) next() (xml.Token, error) {
	for {
		t, err := r.Token()
		if text, is := t.(xml.CharData); is && len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		return xml.CopyToken(t), err
	}
}

func (r plistReader) value(t xml.Token) (any, error) {
	start, is := t.(xml.StartElement)
	if !is || len(start.Attr) > 0 {
		return nil, fmt.Errorf("%v is no value", t)
	}
	switch start.Name.Local {
	case "dict":
		return r.dict()
	case "array":
		return r.array()
	}
	text, err := r.text()
	switch start.Name.Local {
	case "string":
		return text, err
	case "integer":
		n, wrong := strconv.Atoi(text)
		return n, errors.Join(err, wrong)
	case "true", "false":
		if text != "" {
			err = errors.New("a truth with text in it")
		}
		return start.Name.Local == "true", err
	}
	return nil, fmt.Errorf("unknown type %s", start.Name.Local)
}

func (r plistReader) dict() (any, error) {
	d := make(map[string]any)
	for {
		t, err := r.next()
		if _, ends := t.(xml.EndElement); ends || err != nil {
			return d, err
		}
		if start, is := t.(xml.StartElement); !is || start.Name.Local != "key" {
			return nil, fmt.Errorf("%v in place of a key", t)
		}
		key, err := r.text()
		if err != nil {
			return nil, err
		}
		if _, twice := d[key]; twice {
			return nil, fmt.Errorf("key %q twice", key)
		}
		if t, err = r.next(); err != nil {
			return nil, err
		}
		if d[key], err = r.value(t); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
}

func (r plistReader) array() (any, error) {
	list := []any{}
	for {
		t, err := r.next()
		if _, ends := t.(xml.EndElement); ends || err != nil {
			return list, err
		}
		v, err := r.value(t)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

// text reads to the end of an element that holds nothing else.
func (r plistReader) text() (string, error) {
	var b strings.Builder
	for {
		t, err := r.Token()
		switch t := t.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.EndElement:
			return b.String(), nil
		default:
			return "", errors.Join(fmt.Errorf("%v in a text", t), err)
		}
	}
}
