package ctxsta

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Bounds of one document, beside that of its bytes. A request for a ticket with
// all that a ticket can hold has 4 levels and 16 elements.
const (
	maxDepth      = 6
	maxElements   = 64
	maxAttributes = 4        // of one element
	maxName       = 64       // bytes of an element's or attribute's name
	maxAttribute  = 256      // bytes of an attribute's value
	maxText       = 16 << 10 // bytes of an element's text
)

// space is what XML takes for white space.
const space = " \t\r\n"

// element is a part of a document: either text, without the space around it, or
// further elements.
type element struct {
	name       string
	attributes []xml.Attr
	text       string
	children   []*element
	commented  bool // there was a comment inside
}

// parseXML reads a document that is UTF-8 and has no declaration; see [toUTF8].
// The errors are refusals with [ticket.Invalid] and never hold input. What
// encoding/xml would let pass or make something of is decided here, on its raw
// tokens.
func parseXML(text []byte) (*element, error) {
	decoder := xml.NewDecoder(bytes.NewReader(text))
	var b builder
	for {
		start := decoder.InputOffset()
		token, err := decoder.RawToken()
		switch {
		case errors.Is(err, io.EOF):
			return b.finish()
		case err != nil:
			// Its text quotes the document.
			return nil, errNotXML
		}
		if err := b.take(token, text[start:decoder.InputOffset()]); err != nil {
			return nil, err
		}
	}
}

var errNotXML = ticket.Refuse(ticket.Invalid, "not well-formed XML")

// builder makes a tree out of tokens.
type builder struct {
	root     *element
	open     []*element // from the root to where we are
	elements int
	doctype  bool
}

func (b *builder) take(token xml.Token, raw []byte) error {
	switch t := token.(type) {
	case xml.StartElement:
		return b.start(t)
	case xml.EndElement:
		return b.end(t)
	case xml.CharData:
		return b.characters(t)
	case xml.Comment:
		if len(b.open) > 0 {
			b.top().commented = true
		}
		return nil
	case xml.Directive:
		return b.directive(raw)
	default:
		return ticket.Refuse(ticket.Invalid, "a processing instruction")
	}
}

func (b *builder) top() *element { return b.open[len(b.open)-1] }

func (b *builder) start(t xml.StartElement) error {
	if len(b.open) == 0 && b.root != nil {
		return errNotXML // a second root
	}
	if b.elements++; b.elements > maxElements {
		return ticket.Refuse(ticket.Invalid, "over %d elements", maxElements)
	}
	if len(b.open) == maxDepth {
		return ticket.Refuse(ticket.Invalid, "elements are nested over %d deep", maxDepth)
	}
	if err := checkNames(t); err != nil {
		return err
	}
	e := &element{name: t.Name.Local, attributes: t.Attr}
	if b.root == nil {
		b.root = e
	} else {
		b.top().children = append(b.top().children, e)
	}
	b.open = append(b.open, e)
	return nil
}

// checkNames bounds an element's tag. The protocol has no name spaces, so a
// prefix or a declaration of one means nothing here.
func checkNames(t xml.StartElement) error {
	if t.Name.Space != "" || len(t.Name.Local) > maxName {
		return ticket.Refuse(ticket.Invalid, "an element's name has a prefix or is over %d bytes", maxName)
	}
	if len(t.Attr) > maxAttributes {
		return ticket.Refuse(ticket.Invalid, "an element has over %d attributes", maxAttributes)
	}
	for i, a := range t.Attr {
		if a.Name.Space != "" || a.Name.Local == "xmlns" || len(a.Name.Local) > maxName || len(a.Value) > maxAttribute {
			return ticket.Refuse(ticket.Invalid, "an attribute has a prefix or is too long")
		}
		if strings.ContainsRune(a.Value, utf8.RuneError) {
			return ticket.Refuse(ticket.Invalid, "an attribute has a character that is none")
		}
		for _, before := range t.Attr[:i] {
			if before.Name == a.Name {
				return ticket.Refuse(ticket.Invalid, "an attribute stands twice")
			}
		}
	}
	return nil
}

func (b *builder) characters(t xml.CharData) error {
	if len(b.open) == 0 {
		if len(bytes.Trim(t, space)) > 0 {
			return errNotXML
		}
		return nil
	}
	e := b.top()
	if len(e.text)+len(t) > maxText {
		return ticket.Refuse(ticket.Invalid, "a text is over %d bytes", maxText)
	}
	if bytes.ContainsRune(t, utf8.RuneError) {
		// What a wrong encoding, or half of a surrogate pair, leaves behind.
		return ticket.Refuse(ticket.Invalid, "a text has a character that is none")
	}
	e.text += string(t)
	return nil
}

func (b *builder) end(t xml.EndElement) error {
	if len(b.open) == 0 || t.Name.Space != "" || b.top().name != t.Name.Local {
		return errNotXML
	}
	e := b.top()
	b.open = b.open[:len(b.open)-1]
	e.text = strings.Trim(e.text, space)
	switch {
	case e.text == "":
		return nil
	case len(e.children) > 0:
		return ticket.Refuse(ticket.Invalid, "an element has both text and elements")
	case e.commented:
		// Readers differ in what is left of a text that a comment cuts in two.
		return ticket.Refuse(ticket.Invalid, "a comment in the middle of a text")
	}
	return nil
}

// doctype is a document type declaration that only points elsewhere (XML 1.0
// §2.8). It is allowed to stand there; nobody goes and looks.
var doctype = regexp.MustCompile(`^<!DOCTYPE[ \t\r\n]+[A-Za-z_][A-Za-z0-9_.-]*[ \t\r\n]+` +
	`(SYSTEM|PUBLIC[ \t\r\n]+("[^"<>\[\]&%]*"|'[^'<>\[\]&%]*'))[ \t\r\n]+` +
	`("[^"<>\[\]&%]*"|'[^'<>\[\]&%]*')[ \t\r\n]*>$`)

// directive judges the bytes themselves: a token of encoding/xml no longer shows
// what comments stood in it.
func (b *builder) directive(raw []byte) error {
	if b.doctype || b.root != nil || len(raw) > maxAttribute || !doctype.Match(raw) {
		return ticket.Refuse(ticket.Invalid, "a document type that is more than one reference, or an entity of one's own")
	}
	b.doctype = true
	return nil
}

func (b *builder) finish() (*element, error) {
	if b.root == nil || len(b.open) > 0 {
		return nil, errNotXML
	}
	return b.root, nil
}

// attribute gives an attribute's value, "" if it is not there.
func (e *element) attribute(name string) string {
	for _, a := range e.attributes {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// child gives the child of this name, nil if there is none. Two are refused: who
// takes the first and who takes the last would not mean the same.
func (e *element) child(name string) (*element, error) {
	var found *element
	for _, c := range e.children {
		if c.name != name {
			continue
		}
		if found != nil {
			return nil, ticket.Refuse(ticket.Invalid, "%s stands twice", name)
		}
		found = c
	}
	return found, nil
}

// textOf gives the text of the child of this name, "" if there is none.
func (e *element) textOf(name string) (string, error) {
	c, err := e.child(name)
	if c == nil || err != nil {
		return "", err
	}
	return c.leaf()
}

// leaf gives the text of an element that must not have anything else in it.
func (e *element) leaf() (string, error) {
	if len(e.children) > 0 {
		return "", ticket.Refuse(ticket.Invalid, "there are elements where a text should be")
	}
	return e.text, nil
}
