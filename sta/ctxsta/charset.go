package ctxsta

import (
	"bytes"
	"mime"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/sta/ticket"
)

// charset is how a document's bytes become characters. Names with umlauts must
// come out right or not at all, so what is not known for sure is refused.
type charset int

const (
	unstated charset = iota // UTF-8, as XML says
	utf8Charset
	asciiCharset
	latin1Charset // ISO-8859-1
)

// charsetOf knows a charset by its name (RFC 2978), in any case. Windows-1252 is
// not among them: what calls itself by another's name, as it often does, would be
// read wrong, and only its €, in ISO-8859-1 a control character, gives it away.
func charsetOf(name string) (charset, bool) {
	switch strings.ToLower(name) {
	case "":
		return unstated, true
	case "utf-8", "utf8":
		return utf8Charset, true
	case "us-ascii", "ascii":
		return asciiCharset, true
	case "iso-8859-1", "latin1":
		return latin1Charset, true
	}
	return unstated, false
}

// isXML takes the media types that XML comes as, and the charset that one states
// (RFC 7303 §3). The last of them is what curl says of a body when nobody told
// it: what a browser can be made to send is no danger at a door whose key stands
// in a header of its own.
func isXML(contentType []string) (stated charset, ok bool) {
	if len(contentType) != 1 {
		return unstated, false
	}
	media, parameters, err := mime.ParseMediaType(contentType[0])
	if err != nil {
		return unstated, false
	}
	switch media {
	case "text/xml", "application/xml", "application/x-www-form-urlencoded":
	default:
		return unstated, false
	}
	return charsetOf(parameters["charset"])
}

// declaration is that of a document (XML 1.0 §2.8); its second group is the
// encoding in quotes.
var declaration = regexp.MustCompile(`^<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:"1\.0"|'1\.0')` +
	`([ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*("[A-Za-z0-9._-]{1,40}"|'[A-Za-z0-9._-]{1,40}'))?` +
	`([ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*("(?:yes|no)"|'(?:yes|no)'))?[ \t\r\n]*\?>`)

// maxDeclaration bounds where a declaration is looked for.
const maxDeclaration = 256

// cutDeclaration takes the space before a document, which strictly must not be
// there and often is, and its declaration off it. A declaration that is none is
// left for the parser to stumble over.
func cutDeclaration(data []byte) (encoding string, rest []byte) {
	data = bytes.TrimLeft(data, space)
	found := declaration.FindSubmatchIndex(data[:min(len(data), maxDeclaration)])
	if found == nil {
		return "", data
	}
	if found[4] >= 0 {
		encoding = string(data[found[4]+1 : found[5]-1])
	}
	return encoding, data[found[1]:]
}

// byteOrderMark is that of UTF-8.
const byteOrderMark = "\ufeff"

// toUTF8 gives a document's characters without its declaration. Byte order mark,
// Content-Type and declaration must not contradict one another: if one of them
// is wrong, nobody knows which.
func toUTF8(data []byte, stated charset) ([]byte, error) {
	says := []charset{stated}
	data, marked := bytes.CutPrefix(data, []byte(byteOrderMark))
	if marked {
		says = append(says, utf8Charset)
	}
	encoding, text := cutDeclaration(data)
	declared, known := charsetOf(encoding)
	if !known {
		return nil, ticket.Refuse(ticket.Invalid, "an encoding other than UTF-8, US-ASCII and ISO-8859-1")
	}
	use := unstated
	for _, said := range append(says, declared) {
		if said == unstated {
			continue
		}
		if use != unstated && use != said {
			return nil, ticket.Refuse(ticket.Invalid, "two encodings are stated")
		}
		use = said
	}
	return convert(text, use)
}

func convert(text []byte, from charset) ([]byte, error) {
	switch from {
	case latin1Charset:
		wide := make([]rune, len(text))
		for i, b := range text {
			wide[i] = rune(b)
		}
		return []byte(string(wide)), nil
	case asciiCharset:
		if bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
			return nil, ticket.Refuse(ticket.Invalid, "not the US-ASCII that it says it is")
		}
	}
	if !utf8.Valid(text) {
		return nil, ticket.Refuse(ticket.Invalid, "not valid UTF-8")
	}
	return text, nil
}
