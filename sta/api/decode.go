package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// maxDepth is how deep objects and arrays may stand in one another. The deepest
// that is asked for is 3: a value among the data of a request.
const maxDepth = 4

// decode reads one JSON object into v, strictly. encoding/json alone would take
// members in any case, members that stand twice, and null for anything. open
// names the members whose values are objects with names that nobody knows before.
func decode(data []byte, v any, open ...string) error {
	if !utf8.Valid(data) {
		return ticket.Refuse(ticket.Invalid, "the body is not UTF-8")
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return ticket.Refuse(ticket.Invalid, "the body is not a JSON object")
	}
	s := scanner{json.NewDecoder(bytes.NewReader(data)), open}
	s.dec.UseNumber()
	if err := s.value("", 0); err != nil {
		return err
	}
	if _, err := s.dec.Token(); !errors.Is(err, io.EOF) {
		return ticket.Refuse(ticket.Invalid, "there is something behind the JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return refusalOf(dec.Decode(v))
}

// scanner walks through JSON and refuses what could be read in two ways.
type scanner struct {
	dec  *json.Decoder
	open []string
}

// value takes one value, that of a member with this name.
func (s scanner) value(member string, depth int) error {
	token, err := s.dec.Token()
	if err != nil {
		return ticket.Refuse(ticket.Invalid, "the body is not valid JSON")
	}
	switch token {
	case nil:
		return ticket.Refuse(ticket.Invalid, "member %s is null; leave it out", quoted(member))
	case json.Delim('{'), json.Delim('['):
		if depth++; depth > maxDepth {
			return ticket.Refuse(ticket.Invalid, "the body is nested too deeply")
		}
	}
	switch token {
	case json.Delim('{'):
		return s.object(depth, slices.Contains(s.open, member))
	case json.Delim('['):
		return s.array(member, depth)
	}
	return nil
}

func (s scanner) object(depth int, open bool) error {
	seen := make(map[string]bool)
	for s.dec.More() {
		token, err := s.dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return ticket.Refuse(ticket.Invalid, "the body is not valid JSON")
		}
		if !open && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return unknownMember(name)
		}
		if seen[name] {
			return ticket.Refuse(ticket.Invalid, "member %s stands twice", quoted(name))
		}
		seen[name] = true
		if err := s.value(name, depth); err != nil {
			return err
		}
	}
	return s.end()
}

func (s scanner) array(member string, depth int) error {
	for s.dec.More() {
		if err := s.value(member, depth); err != nil {
			return err
		}
	}
	return s.end()
}

func (s scanner) end() error {
	if _, err := s.dec.Token(); err != nil {
		return ticket.Refuse(ticket.Invalid, "the body is not valid JSON")
	}
	return nil
}

func unknownMember(name string) error {
	return ticket.Refuse(ticket.Invalid, "member %s is not known here", quoted(name))
}

// quoted makes a member's name fit for a detail. What looks like a ticket's
// handle is left out: details go into answers and logs.
func quoted(name string) string {
	const most = 64
	name = sta.Redact(name)
	if len(name) > most {
		return strconv.QuoteToASCII(name[:most]) + "…"
	}
	return strconv.QuoteToASCII(name)
}

// refusalOf gives encoding/json's errors a text of ours. Its own would repeat
// values. An unknown member has no error type there, and is all that is left.
func refusalOf(err error) error {
	var wrongType *json.UnmarshalTypeError
	var refusal *ticket.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal): // of a text with a form of its own
		return ticket.Refuse(ticket.Invalid, "%s", refusal.Text)
	case errors.As(err, &wrongType):
		return ticket.Refuse(ticket.Invalid, "member %s has the wrong type", quoted(wrongType.Field))
	default:
		return ticket.Refuse(ticket.Invalid, "the body has a member that is not known here")
	}
}
