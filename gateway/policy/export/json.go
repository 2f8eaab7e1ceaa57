package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// format is the version of all four forms. A reader refuses any other.
const format = 1

// JSON writes the settings as one JSON object (RFC 8259), in ASCII. What is not
// set is left out. Errors are *Error.
func JSON(s Settings) ([]byte, error) {
	s, err := s.Normal()
	if err != nil {
		return nil, err
	}
	return bounded(append(object(&s), '\n'))
}

// object is the JSON of settings in their one spelling.
func object(s *Settings) []byte {
	whole := map[string]any{"format": format}
	for _, f := range fields {
		v := f.value(s)
		if v == nil {
			continue
		}
		group, leaf, nested := strings.Cut(f.key, ".")
		if !nested {
			whole[f.key] = v
			continue
		}
		inner, ok := whole[group].(map[string]any)
		if !ok {
			inner = make(map[string]any)
			whole[group] = inner
		}
		inner[leaf] = v
	}
	return asciiJSON(whole)
}

// asciiJSON marshals what cannot fail to marshal. Beyond what encoding/json
// escapes it escapes everything that is not ASCII, which stands in strings only:
// so no reader's idea of encodings or line ends matters.
func asciiJSON(v any) []byte {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("export: " + err.Error()) // strings, lists, numbers and booleans
	}
	var b bytes.Buffer
	for {
		plain := bytes.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
		if plain < 0 {
			b.Write(text)
			return b.Bytes()
		}
		b.Write(text[:plain])
		r, size := utf8.DecodeRune(text[plain:])
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
		text = text[plain+size:]
	}
}

func bounded(file []byte) ([]byte, error) {
	if len(file) > MaxBytes {
		return nil, &Error{Err: errTooLong}
	}
	return file, nil
}

var errTooLong = fmt.Errorf("the file is longer than %d bytes", MaxBytes)

// ParseJSON reads what JSON writes. Order and white space are free; unknown
// keys, keys in another case, keys that stand twice, null, and anything behind
// the object are mistakes. Errors are *Error.
func ParseJSON(file []byte) (Settings, error) {
	r := jsonReader{file: file}
	if err := r.read(); err != nil {
		return Settings{}, err
	}
	return r.settings.Normal()
}

type jsonReader struct {
	file      []byte
	decoder   *json.Decoder
	settings  Settings
	formatted bool // "format" was there
}

func (r *jsonReader) read() error {
	if len(r.file) > MaxBytes {
		return &Error{Err: errTooLong}
	}
	if !utf8.Valid(r.file) {
		return &Error{Err: errors.New("is not UTF-8")}
	}
	// Tokens are taken from what is known to be one JSON value.
	var syntax *json.SyntaxError
	if err := json.Unmarshal(r.file, new(json.RawMessage)); errors.As(err, &syntax) {
		return &Error{Line: line(r.file, syntax.Offset), Err: errors.New("is not JSON")}
	}
	r.decoder = json.NewDecoder(bytes.NewReader(r.file))
	r.decoder.UseNumber()
	if t, _ := r.decoder.Token(); t != json.Delim('{') {
		return r.fail("", errors.New("needs an object"))
	}
	if err := r.object(""); err != nil {
		return err
	}
	if !r.formatted {
		return &Error{Key: "format", Err: errors.New("is missing")}
	}
	return nil
}

func (r *jsonReader) fail(key string, err error) error {
	return &Error{Key: key, Line: line(r.file, r.decoder.InputOffset()), Err: err}
}

// object reads on behind a '{'. Only the groups of settings nest, so it goes
// two deep at most.
func (r *jsonReader) object(prefix string) error {
	seen := make(map[string]bool)
	for r.decoder.More() {
		name, _ := r.next().(string)
		key := prefix + name
		if seen[key] {
			return r.fail(key, errors.New("stands twice"))
		}
		seen[key] = true
		if strings.Contains(name, ".") {
			return r.unknown(key) // a path is not a key
		}
		if err := r.member(key); err != nil {
			return err
		}
	}
	r.next() // '}'
	return nil
}

// next cannot fail: the value is known to be whole.
func (r *jsonReader) next() json.Token {
	t, _ := r.decoder.Token()
	return t
}

func (r *jsonReader) member(key string) error {
	switch f, known := fieldOf(key); {
	case known:
		return r.setting(f)
	case key == "format":
		r.formatted = true
		if r.next() != json.Number(strconv.Itoa(format)) {
			return r.fail(key, errFormat)
		}
		return nil
	case key == "match" || key == "policy":
		if r.next() != json.Delim('{') {
			return r.fail(key, errors.New("needs an object"))
		}
		return r.object(key + ".")
	}
	return r.unknown(key)
}

func (r *jsonReader) unknown(key string) error {
	return r.fail("", errors.New("unknown key "+quote(key)))
}

var errFormat = fmt.Errorf("needs format %d; this is from another version", format)

func (r *jsonReader) setting(f field) error {
	var err error
	switch at, t := f.at(&r.settings), r.next(); at.(type) {
	case *[]string:
		if t != json.Delim('[') {
			return r.fail(f.key, errors.New("needs a list"))
		}
		for err == nil && r.decoder.More() {
			err = r.text(f, r.next())
		}
		if err == nil {
			r.next() // ']'
		}
	case *bool:
		v, is := t.(bool)
		if !is {
			return r.fail(f.key, errors.New("needs true or false"))
		}
		err = f.put(&r.settings, strconv.FormatBool(v))
	case *int:
		v, is := t.(json.Number)
		if !is {
			return r.fail(f.key, errors.New("needs a whole number"))
		}
		err = f.put(&r.settings, v.String())
	default:
		err = r.text(f, t)
	}
	if err != nil {
		return r.fail(f.key, err)
	}
	return nil
}

func (r *jsonReader) text(f field, t json.Token) error {
	v, is := t.(string)
	if !is {
		return errors.New("needs text")
	}
	return f.put(&r.settings, v)
}

// line counts from 1.
func line(file []byte, offset int64) int {
	return 1 + bytes.Count(file[:min(offset, int64(len(file)))], []byte{'\n'})
}

// quote shows a piece of a file in an error: bounded, printable ASCII.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	return strconv.QuoteToASCII(s)
}
