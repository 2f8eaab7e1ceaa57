package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile is the greatest size of a configuration file in bytes.
const maxFile = 1 << 20

// least is what one says to somebody with nothing in hand.
const least = "a file needs at least an sta or a gateway section, and certs"

// readTree returns the top mapping of a file, or nil with the reasons.
func (r *reader) readTree(data []byte) *yaml.Node {
	if len(data) > maxFile {
		r.add(1, 1, "", Error, "the file is larger than 1 MiB")
		return nil
	}
	if !r.checkText(data) {
		return nil
	}
	parser := yaml.NewDecoder(bytes.NewReader(data))
	document, err := nextDocument(parser)
	switch {
	case errors.Is(err, io.EOF):
		r.add(1, 1, "", Error, "the file is empty; "+least)
		return nil
	case err != nil:
		r.explain(data)
		return nil
	}
	if further, err := nextDocument(parser); err == nil {
		r.add(further.Line, further.Column, "", Error, "a second document begins here; one file holds one document")
	} else if !errors.Is(err, io.EOF) {
		r.explain(data)
	}
	top := document.Content[0]
	r.refuse(top)
	switch {
	case top.Kind == yaml.MappingNode:
		return top
	case isEmpty(top):
		r.add(1, 1, "", Error, "the file is empty; "+least)
	case top.Kind != yaml.AliasNode:
		r.add(top.Line, top.Column, "", Error, "needs keys with values, such as  node: gw-1")
	}
	return nil
}

// nextDocument returns the next document of a stream, or io.EOF. The parser is
// not ours, and a file that trips it is reported as one that cannot be read.
func nextDocument(parser *yaml.Decoder) (document *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			document, err = nil, fmt.Errorf("the YAML parser failed: %v", p)
		}
	}()
	document = new(yaml.Node)
	if err := parser.Decode(document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 {
		return nil, io.EOF
	}
	return document, nil
}

// checkText refuses what is no text, and the rare line ends, with which lines
// would not count as they do in an editor.
func (r *reader) checkText(data []byte) bool {
	line, column := 1, 1
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			r.add(line, column, "", Error, "this is not UTF-8; save the file as UTF-8")
			return false
		case c == '\ufeff' && i > 0, c == '\r' && !bytes.HasPrefix(data[i:], []byte("\r\n")),
			c == '\u2028', c == '\u2029', unicode.IsControl(c) && c != '\n' && c != '\r' && c != '\t':
			r.add(line, column, "", Error, "the file holds an invisible control character here; delete it")
			return false
		case c == '\n':
			line, column = line+1, 0
		}
		i += size
		column++
	}
	return true
}

// refuse reports what YAML can do and this file may not.
func (r *reader) refuse(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		r.add(n.Line, n.Column, "", Error, "an alias (*) is not used in this file; write the value out, or quote it if it begins with *")
	case n.Anchor != "":
		r.add(n.Line, n.Column, "", Error, "an anchor (&) is not used in this file; leave it out, or quote the value if it begins with &")
	case n.Style&yaml.TaggedStyle != 0:
		r.add(n.Line, n.Column, "", Error, "a tag (!) is not used in this file; leave it out, or quote the value if it begins with an exclamation mark")
	}
	for _, child := range n.Content {
		r.refuse(child)
	}
}

// isEmpty reports whether a key was left without a value.
func isEmpty(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Style&^yaml.FlowStyle != 0 {
		return false
	}
	switch n.Value {
	case "", "~", "null", "Null", "NULL":
		return true
	}
	return false
}

// lookahead is how many characters the parser has seen beyond the one that it
// stops at.
const lookahead = 4

// maxReread bounds how many bytes of a broken file are read again to find the
// place; a file that people write is read to the beginning many times with it.
const maxReread = 256 << 10

// explain reports a syntax error. The parser knows where it gave up, which is
// often far behind the mistake, and its words are for those who know YAML. So
// the place is found by reading again: it is on the line from which on no
// beginning of the file can be read.
func (r *reader) explain(data []byte) {
	stop := stopOf(data)
	line := firstBad(data, min(1+bytes.Count(data[:stop], []byte("\n")), lineCount(data)))
	if indentTab(lineOf(data, line+1)) >= 0 && indentTab(lineOf(data, line)) < 0 {
		line++ // a line indented by a tab may be read on into the one before
	}
	start, text := len(firstLines(data, line-1)), lineOf(data, line)
	at := -1
	if start <= stop && stop < start+len(text) {
		at = stop - start
	}
	column, message := explainLine(text, at)
	r.add(line, column, "", Error, message)
}

// firstBad goes up from a line to the one that begins the trouble: the lines
// above it can be read. It stays where it began if that costs too much.
func firstBad(data []byte, from int) int {
	reread := 0
	for line := from; line > 1; line-- {
		above := firstLines(data, line-1)
		if reread += len(above); reread > maxReread {
			return from
		}
		if readable(above) {
			return line
		}
	}
	return 1
}

// explainLine says what is wrong in a line that cannot be read; at is where
// the parser stopped, in bytes, if that is in this line, else -1.
func explainLine(text string, at int) (column int, message string) {
	body := strings.TrimLeft(text, " \t")
	indent := text[:len(text)-len(body)]
	place := func(i int) int { return utf8.RuneCountInString(text[:i]) + 1 }
	if i := indentTab(text); i >= 0 {
		return place(i), "the line is indented by a tab; indent by blanks"
	}
	if at >= 0 && at < len(text) {
		switch c := text[at]; c {
		case '\t':
			return place(at), "a tab stands here; use blanks"
		case '@', '`', '%', '*', '&', '!', '|', '>':
			return place(at), "a value that begins with " + string(rune(c)) + " must be quoted"
		case ':':
			if strings.Contains(strings.TrimRight(text[:at], " "), ": ") {
				return place(at), "a second colon with a blank behind it; quote the value, or begin a new line"
			}
		}
	}
	first := place(len(indent))
	_, value, found := strings.Cut(body, ": ")
	if value = strings.TrimLeft(value, " "); found && value != "" && strings.ContainsRune("@`%*&!|>", rune(value[0])) {
		return place(len(text) - len(value)), "a value that begins with " + value[:1] + " must be quoted"
	}
	switch {
	case strings.Count(text, `"`)%2 == 1 || strings.Count(text, `'`)%2 == 1:
		return place(strings.IndexAny(text, `"'`)), "a quotation mark is opened and never closed"
	case strings.Contains(text, `\`):
		return place(strings.Index(text, `\`)), "a backslash between double quotation marks begins an escape; use single ones"
	case strings.ContainsAny(text, "[]{}"):
		return place(strings.IndexAny(text, "[]{}")), "brackets do not match, or what stands between them lacks a comma or has one too many"
	case !strings.Contains(text, ":") && !strings.HasPrefix(body, "- "):
		return first, "this is no  key: value"
	case indent != "":
		return first, "the line cannot be read; is it indented like its neighbours?"
	}
	return first, "the line cannot be read as YAML"
}

// stopOf returns the offset at which the parser gives up, to within its
// lookahead. It is fed byte by byte so that it cannot read on. Line ends at
// the end of the data keep the lookahead full.
func stopOf(data []byte) int {
	source := &dripReader{data: append(bytes.Clone(data), "\n\n\n\n"...)}
	parser := yaml.NewDecoder(source)
	for {
		if _, err := nextDocument(parser); err != nil {
			break
		}
	}
	stop := min(source.next, len(source.data))
	for range lookahead {
		_, size := utf8.DecodeLastRune(source.data[:stop])
		stop -= size
	}
	return min(stop, len(data))
}

// readable reports whether all documents can be parsed.
func readable(data []byte) bool {
	parser := yaml.NewDecoder(bytes.NewReader(data))
	for {
		if _, err := nextDocument(parser); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// lineOf returns a line without its end; "" behind the last one.
func lineOf(data []byte, n int) string {
	text, _, _ := strings.Cut(string(data[len(firstLines(data, n-1)):]), "\n")
	return text
}

// indentTab returns where a line's indentation holds a tab, or -1.
func indentTab(line string) int {
	return strings.IndexByte(line[:len(line)-len(strings.TrimLeft(line, " \t"))], '\t')
}

func lineCount(data []byte) int {
	return max(1, len(bytes.Split(bytes.TrimRight(data, "\r\n"), []byte("\n"))))
}

// firstLines returns the first n lines, with their ends.
func firstLines(data []byte, n int) []byte {
	end := 0
	for range n {
		i := bytes.IndexByte(data[end:], '\n')
		if i < 0 {
			return data
		}
		end += i + 1
	}
	return data[:end]
}

// dripReader hands out a byte at a time.
type dripReader struct {
	data []byte
	next int
}

func (d *dripReader) Read(p []byte) (int, error) {
	if d.next == len(d.data) {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p[0] = d.data[d.next]
	d.next++
	return 1, nil
}
