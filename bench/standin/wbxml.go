package standin

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// A document of ActiveSync's WBXML (MS-ASWBXML §2.1):
//
//	03           version 1.3
//	01           public identifier: none
//	6A           character set: UTF-8
//	00           length of the string table: there is none
//	element      one, the root
//
// and an element:
//
//	[00 page]    switch of code page, where it differs from the one before
//	tag          the tag's number in the page; | 40 when content follows
//	content      elements, or text: 03 bytes… 00, or C3 length bytes…
//	01           the end, when there was content
var wbxmlHeader = []byte{0x03, 0x01, 0x6A, 0x00}

// Global tokens and tag bits.
const (
	tokenSwitchPage = 0x00
	tokenEnd        = 0x01
	tokenString     = 0x03
	tokenOpaque     = 0xC3

	tagContent    = 0x40
	tagAttributes = 0x80
	firstTag      = 0x05 // numbers below are global tokens
)

// What a client may send; real requests stay far below.
const (
	maxDepth    = 16
	maxElements = 4096
)

// errWBXML is wrapped by every error about a document that cannot be read.
var errWBXML = errors.New("not a WBXML document")

// tag is a code page and a number in it, 0xPPNN.
type tag uint16

func (t tag) page() byte   { return byte(t >> 8) }
func (t tag) number() byte { return byte(t) }

// element is a node of a document: text or children, never both.
type element struct {
	tag      tag
	text     string
	children []element
}

// leaf and branch make documents readable where they are composed.
func leaf(t tag, text string) element           { return element{tag: t, text: text} }
func branch(t tag, children ...element) element { return element{tag: t, children: children} }

// child returns the first child with the tag.
func (e element) child(t tag) (element, bool) {
	for _, c := range e.children {
		if c.tag == t {
			return c, true
		}
	}
	return element{}, false
}

// encodeWBXML writes a document. Text must hold no NUL, which no text here does.
func encodeWBXML(root element) []byte {
	b := bytes.Clone(wbxmlHeader)
	page := byte(0)
	return appendElement(b, &page, root)
}

func appendElement(b []byte, page *byte, e element) []byte {
	if e.tag.page() != *page {
		*page = e.tag.page()
		b = append(b, tokenSwitchPage, *page)
	}
	if e.text == "" && len(e.children) == 0 {
		return append(b, e.tag.number())
	}
	b = append(b, e.tag.number()|tagContent)
	if e.text != "" {
		b = append(b, tokenString)
		b = append(b, e.text...)
		b = append(b, 0)
	}
	for _, c := range e.children {
		b = appendElement(b, page, c)
	}
	return append(b, tokenEnd)
}

// decodeWBXML reads a whole document. Its errors wrap errWBXML and tell the
// offset, never the content.
func decodeWBXML(doc []byte) (element, error) {
	if !bytes.HasPrefix(doc, wbxmlHeader) {
		return element{}, fmt.Errorf("%w: it does not begin as version 1.3 in UTF-8 without string table", errWBXML)
	}
	d := wbxmlDecoder{doc: doc, at: len(wbxmlHeader)}
	root, err := d.root()
	if err != nil {
		return element{}, fmt.Errorf("%w: at byte %d: %w", errWBXML, d.at, err)
	}
	return root, nil
}

var (
	errTruncated  = errors.New("it ends too early")
	errTrailing   = errors.New("something follows the root element")
	errToken      = errors.New("this token has no place here")
	errAttributes = errors.New("attributes are not used")
	errMixed      = errors.New("an element has text or children, not both")
	errText       = errors.New("text must be UTF-8 without NUL")
	errTooDeep    = errors.New("it is nested too deeply")
	errTooMany    = errors.New("it has too many elements")
)

type wbxmlDecoder struct {
	doc      []byte
	at       int
	page     byte
	elements int
}

func (d *wbxmlDecoder) root() (element, error) {
	token, err := d.token()
	if err != nil {
		return element{}, err
	}
	root, err := d.element(token, 1)
	if err != nil {
		return element{}, err
	}
	if d.at != len(d.doc) {
		return element{}, errTrailing
	}
	return root, nil
}

// token returns the next token, taking switches of the code page on the way.
func (d *wbxmlDecoder) token() (byte, error) {
	for {
		b, err := d.next()
		if err != nil || b != tokenSwitchPage {
			return b, err
		}
		if d.page, err = d.next(); err != nil {
			return 0, err
		}
	}
}

// element reads what belongs to the tag token.
func (d *wbxmlDecoder) element(token byte, depth int) (element, error) {
	if token&tagAttributes != 0 {
		return element{}, errAttributes
	}
	number := token &^ tagContent
	if number < firstTag {
		return element{}, errToken
	}
	if depth > maxDepth {
		return element{}, errTooDeep
	}
	if d.elements++; d.elements > maxElements {
		return element{}, errTooMany
	}
	e := element{tag: tag(d.page)<<8 | tag(number)}
	if token&tagContent == 0 {
		return e, nil
	}
	err := d.content(&e, depth)
	return e, err
}

// content reads up to the element's END.
func (d *wbxmlDecoder) content(e *element, depth int) error {
	var text []byte // a client may cut it into very many strings
	for {
		token, err := d.token()
		if err != nil {
			return err
		}
		switch token {
		case tokenEnd:
			if len(text) > 0 && len(e.children) > 0 {
				return errMixed
			}
			e.text = string(text)
			return nil
		case tokenString, tokenOpaque:
			piece, err := d.text(token)
			if err != nil {
				return err
			}
			text = append(text, piece...)
		default:
			c, err := d.element(token, depth+1)
			if err != nil {
				return err
			}
			e.children = append(e.children, c)
		}
	}
}

// text reads what belongs to the string or opaque token.
func (d *wbxmlDecoder) text(token byte) ([]byte, error) {
	n, skip := 0, 0
	if token == tokenString {
		n, skip = bytes.IndexByte(d.doc[d.at:], 0), 1
		if n < 0 {
			return nil, errTruncated
		}
	} else {
		var err error
		if n, err = d.length(); err != nil {
			return nil, err
		}
		if n > len(d.doc)-d.at {
			return nil, errTruncated
		}
	}
	raw := d.doc[d.at : d.at+n]
	d.at += n + skip
	if !utf8.Valid(raw) || bytes.IndexByte(raw, 0) >= 0 {
		return nil, errText
	}
	return raw, nil
}

// length reads a multi-byte integer: seven bits a byte, the highest bit set on
// all but the last. Three bytes hold any length that fits a request.
func (d *wbxmlDecoder) length() (int, error) {
	n := 0
	for range 3 {
		b, err := d.next()
		if err != nil {
			return 0, err
		}
		n = n<<7 | int(b&0x7F)
		if b&0x80 == 0 {
			return n, nil
		}
	}
	return 0, errToken
}

func (d *wbxmlDecoder) next() (byte, error) {
	if d.at >= len(d.doc) {
		return 0, errTruncated
	}
	b := d.doc[d.at]
	d.at++
	return b, nil
}
