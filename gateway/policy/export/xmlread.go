package export

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// read takes what write writes. Comments and white space may stand between the
// elements, whose order is free, but that what is said not to be set is said so
// before. There is no document type, no processing
// instruction, no entity but XML's own five and numbers, and no third level.
func (f form) read(file []byte) (Settings, error) {
	if len(file) > MaxBytes {
		return Settings{}, &Error{Err: errTooLong}
	}
	r := xmlReader{form: f, file: file, decoder: xml.NewDecoder(bytes.NewReader(file)), seen: make(map[string]bool), unset: make(map[string]bool)}
	if err := r.document(); err != nil {
		return Settings{}, err
	}
	s, err := r.settings.Normal()
	if err != nil {
		return Settings{}, err
	}
	for _, c := range r.claims {
		if c.element.standard(&s) != c.text {
			return Settings{}, &Error{Key: c.element.key, Line: c.line, Err: errors.New("is said not to be set, and yet is not the default")}
		}
	}
	return s, nil
}

// xmlReader works on raw tokens: encoding/xml would let pass what two readers
// could understand in two ways.
type xmlReader struct {
	form     form
	file     []byte
	decoder  *xml.Decoder
	settings Settings
	seen     map[string]bool // the vendor's elements, and settings that are no lists
	unset    map[string]bool // those that are said to have their default
	claims   []claim
}

// claim is an element that says of its text that it is the default.
type claim struct {
	element element
	text    string
	line    int
}

func (r *xmlReader) fail(key, format string, args ...any) error {
	return &Error{Key: key, Line: line(r.file, r.decoder.InputOffset()), Err: fmt.Errorf(format, args...)}
}

// next gives the next start, end or text; nil at the end of the file.
func (r *xmlReader) next() (xml.Token, error) {
	for {
		start := r.decoder.InputOffset()
		token, err := r.decoder.RawToken()
		switch t := token.(type) {
		case nil:
			if errors.Is(err, io.EOF) {
				return nil, nil
			}
			return nil, r.fail("", "is not XML in UTF-8") // the error's own text quotes the file
		case xml.ProcInst:
			if start != 0 || t.Target != "xml" {
				return nil, r.fail("", "a processing instruction")
			}
		case xml.Directive:
			return nil, r.fail("", "a document type")
		default:
			return token, nil
		}
	}
}

// between skips what may stand between elements.
func (r *xmlReader) between() (xml.Token, error) {
	for {
		token, err := r.next()
		switch t := token.(type) {
		case xml.Comment:
			continue
		case xml.CharData:
			if len(bytes.Trim(t, " \t\r\n")) == 0 {
				continue
			}
			return nil, r.fail("", "text outside of an element")
		}
		return token, err
	}
}

func (r *xmlReader) document() error {
	token, err := r.between()
	if err != nil {
		return err
	}
	if err := r.begin(token); err != nil {
		return err
	}
	for {
		token, err := r.between()
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			err = r.element(t)
		case xml.EndElement:
			if t.Name != (xml.Name{Local: r.form.root}) {
				return r.fail("", "an element ends that did not begin")
			}
			return r.end()
		default:
			return r.fail("", "the file ends too early")
		}
		if err != nil {
			return err
		}
	}
}

func (r *xmlReader) begin(token xml.Token) error {
	root, is := token.(xml.StartElement)
	if !is || root.Name != (xml.Name{Local: r.form.root}) {
		return r.fail("", "needs <%s>", r.form.root)
	}
	attributes, err := r.attributes(root, "xmlns:"+prefix, prefix+":format")
	if err != nil {
		return err
	}
	if attributes["xmlns:"+prefix] != namespace {
		return r.fail("", "needs xmlns:%s=%q", prefix, namespace)
	}
	if attributes[prefix+":format"] != strconv.Itoa(format) {
		return r.fail("format", "%w", errFormat)
	}
	return nil
}

func (r *xmlReader) end() error {
	token, err := r.between()
	if err == nil && token != nil {
		err = r.fail("", "there is something behind the last element")
	}
	return err
}

// attributes gives those of an element by name; another than the allowed, or
// one twice, is a mistake.
func (r *xmlReader) attributes(t xml.StartElement, allowed ...string) (map[string]string, error) {
	found := make(map[string]string)
	for _, a := range t.Attr {
		name := a.Name.Local
		if a.Name.Space != "" {
			name = a.Name.Space + ":" + name
		}
		known := false
		for _, may := range allowed {
			known = known || may == name
		}
		if _, twice := found[name]; twice || !known {
			return nil, r.fail("", "attribute %s is unknown here, or stands twice", quote(name))
		}
		found[name] = a.Value
	}
	return found, nil
}

func (r *xmlReader) element(t xml.StartElement) error {
	switch t.Name {
	case xml.Name{Space: prefix, Local: "setting"}:
		return r.ours(t)
	case xml.Name{Space: prefix, Local: "default"}:
		return r.notSet(t)
	}
	for _, e := range r.form.elements {
		if t.Name == (xml.Name{Local: e.name}) {
			return r.theirs(t, e)
		}
	}
	return r.fail("", "unknown element %s", quote(t.Name.Local))
}

func (r *xmlReader) ours(t xml.StartElement) error {
	attributes, err := r.attributes(t, "key")
	if err != nil {
		return err
	}
	key := attributes["key"]
	f, known := fieldOf(key)
	if !known || r.form.carries(key) {
		return r.fail("", "unknown key %s, or one that has an element of its own", quote(key))
	}
	if r.seen[key] && !f.isList() {
		return r.fail(key, "stands twice")
	}
	r.seen[key] = true
	text, err := r.text(t.Name)
	if err != nil {
		return err
	}
	if err := f.put(&r.settings, text); err != nil {
		return r.fail(key, "%w", err)
	}
	return nil
}

// notSet notes of an element to come that nobody has set its value.
func (r *xmlReader) notSet(t xml.StartElement) error {
	attributes, err := r.attributes(t, "key")
	if err != nil {
		return err
	}
	key := attributes["key"]
	i := slices.IndexFunc(r.form.elements, func(e element) bool { return e.key == key })
	switch {
	case i < 0 || r.form.elements[i].standard == nil:
		return r.fail("", "unknown key %s, or one without a default", quote(key))
	case r.unset[key]:
		return r.fail(key, "is said twice not to be set")
	case r.seen[key]:
		return r.fail(key, "is said not to be set behind its value")
	}
	r.unset[key] = true
	text, err := r.text(t.Name)
	if err == nil && text != "" {
		err = r.fail(key, "is said not to be set, with a value")
	}
	return err
}

func (r *xmlReader) theirs(t xml.StartElement, e element) error {
	if _, err := r.attributes(t); err != nil {
		return err
	}
	if r.seen[e.key] {
		return r.fail(e.key, "stands twice")
	}
	r.seen[e.key] = true
	text, err := r.text(t.Name)
	if err != nil {
		return err
	}
	switch {
	case r.unset[e.key]:
		r.claims = append(r.claims, claim{e, text, line(r.file, r.decoder.InputOffset())})
		return nil
	case text == "":
		return nil
	}
	return r.vendor(e, text)
}

// vendor takes the vendor's word for a setting.
func (r *xmlReader) vendor(e element, text string) error {
	if len(e.words) > 0 {
		known := ""
		for _, w := range e.words {
			if w.theirs == text {
				known = w.ours
			}
		}
		if known == "" {
			return r.fail(e.key, "has a word that is none of its own")
		}
		text = known
	}
	f, _ := fieldOf(e.key)
	texts := []string{text}
	if f.isList() {
		texts = strings.Split(text, ",")
	}
	for _, text := range texts {
		if err := f.put(&r.settings, text); err != nil {
			return r.fail(e.key, "%w", err)
		}
	}
	return nil
}

// text reads an element's text to its end. It is taken as it stands, blanks and
// all.
func (r *xmlReader) text(name xml.Name) (string, error) {
	var b strings.Builder
	for {
		token, err := r.next()
		if err != nil {
			return "", err
		}
		switch t := token.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.EndElement:
			if t.Name != name {
				return "", r.fail("", "an element ends that did not begin")
			}
			return b.String(), nil
		default:
			// A comment too: readers differ in what is left of a text that one
			// cuts in two.
			return "", r.fail("", "there is something in an element where only text should be")
		}
	}
}
