package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// Bounds of a file of facts, far above any that is needed.
const (
	maxFactsBytes = 256 << 10
	maxFactsDepth = 8
)

// node is a JSON value that remembers where it stands: encoding/json reports an
// unknown key without its place, and lets one stand twice.
type node struct {
	offset int // of the value's first byte
	// value is a string, a json.Number, a bool or nil; for an object or a list,
	// the json.Delim that opens it.
	value   any
	members []member // of an object
	items   []*node  // of a list
}

type member struct {
	key    string
	offset int // of the key
	node   *node
}

// treeReader reads one document into nodes.
type treeReader struct {
	data []byte
	dec  *json.Decoder
}

// readTree reads a document. Errors are *FactsError.
func readTree(data []byte) (*node, error) {
	if len(data) > maxFactsBytes {
		return nil, factsErrorAt(data, 0, "", "the file is longer than 256 KiB")
	}
	if i := invalidUTF8(data); i >= 0 {
		return nil, factsErrorAt(data, i, "", "is not UTF-8")
	}
	r := &treeReader{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	r.dec.UseNumber()
	root, err := r.read(0)
	if err != nil {
		return nil, err
	}
	at := r.next()
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, factsErrorAt(data, at, "", "something follows the end of the document")
	}
	return root, nil
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// next is where the next token stands.
func (r *treeReader) next() int { return r.after(" \t\r\n,:") }

// after is where the decoder stands, any of these characters skipped.
func (r *treeReader) after(skip string) int {
	i := int(r.dec.InputOffset())
	for i < len(r.data) && strings.IndexByte(skip, r.data[i]) >= 0 {
		i++
	}
	return i
}

// token reads the next token and tells where it stands.
func (r *treeReader) token() (json.Token, int, error) {
	at := r.next()
	token, err := r.dec.Token()
	if err == nil {
		return token, at, nil
	}
	problem := "is no JSON: " + printable(err.Error())
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		problem = "ends too early"
	}
	// The offset of a json.SyntaxError is not that of the mistake; where the
	// decoder stands is.
	at = r.after(" \t\r\n")
	return nil, at, factsErrorAt(r.data, at, "", problem)
}

// read reads a value with all that is in it.
func (r *treeReader) read(depth int) (*node, error) {
	token, at, err := r.token()
	if err != nil {
		return nil, err
	}
	if depth > maxFactsDepth {
		return nil, factsErrorAt(r.data, at, "", "is nested too deeply")
	}
	n := &node{offset: at, value: token}
	switch token {
	case json.Delim('{'):
		for r.dec.More() {
			key, at, err := r.token()
			if err != nil {
				return nil, err
			}
			name, _ := key.(string) // the decoder lets nothing else be a key
			value, err := r.read(depth + 1)
			if err != nil {
				return nil, err
			}
			n.members = append(n.members, member{name, at, value})
		}
	case json.Delim('['):
		for r.dec.More() {
			item, err := r.read(depth + 1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
	default:
		return n, nil
	}
	_, _, err = r.token() // the end of the object or list
	return n, err
}
