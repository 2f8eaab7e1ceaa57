package export

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// namespace is that of the elements and attributes that are ours.
const namespace = "urn:sallyport:policy:1"

// prefix stands for the namespace. Readers want it so and no other way: what is
// ours and what is the vendor's is then seen without resolving anything.
const prefix = "sp"

// element is one of the vendor's, or one that looks like it.
type element struct {
	name string
	// title is what the manuals call the policy, fit for a comment; "" has none.
	title string
	// key is the setting that the element carries; a list is joined by commas.
	key string
	// words are the vendor's for ours; none if the value is written as it is.
	words []word
	// standard is what holds if nothing is set, in the vendor's words; nil is
	// nothing. It is then written, and marked as not set.
	standard func(*Settings) string
}

type word struct{ ours, theirs string }

func constant(s string) func(*Settings) string { return func(*Settings) string { return s } }

// form is an XML form: its root, and which settings have elements of their own,
// which are bare, as logs have them. The rest stands in elements of ours:
//
//	<sp:setting key="policy.mailboxes">hybrid</sp:setting>
//
// Before an element with a value that nobody has set there is another one:
//
//	<sp:default key="policy.split_tunnel"/>
type form struct {
	root     string
	elements []element
}

func (f form) carries(key string) bool {
	for _, e := range f.elements {
		if e.key == key {
			return true
		}
	}
	return false
}

func (f form) write(s Settings) ([]byte, error) {
	s, err := s.Normal()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%s xmlns:%s=%q %s:format=\"%d\">\n",
		f.root, prefix, namespace, prefix, format)
	for _, e := range f.elements {
		e.write(&b, &s)
	}
	for _, setting := range fields {
		if f.carries(setting.key) {
			continue
		}
		for _, text := range setting.texts(&s) {
			fmt.Fprintf(&b, "  <%s:setting key=%q>%s</%s:setting>\n", prefix, setting.key, escape(text), prefix)
		}
	}
	fmt.Fprintf(&b, "</%s>\n", f.root)
	return bounded(b.Bytes())
}

func (e element) write(b *bytes.Buffer, s *Settings) {
	setting, _ := fieldOf(e.key)
	text := strings.Join(setting.texts(s), ",")
	for _, w := range e.words {
		if w.ours == text {
			text = w.theirs
			break
		}
	}
	if e.title != "" {
		b.WriteString("  <!-- " + e.title + " -->\n")
	}
	if text == "" && e.standard != nil {
		text = e.standard(s)
		fmt.Fprintf(b, "  <%s:default key=%q/>\n", prefix, e.key)
	}
	b.WriteString("  <" + e.name + ">" + escape(text) + "</" + e.name + ">\n")
}

// escape writes text for the inside of an element or of an attribute: ASCII
// only, so that no encoding can be mistaken and nothing invisible stands there.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case strings.ContainsRune(`<>&"'`, r) || r < ' ' || r >= utf8.RuneSelf:
			b.WriteString("&#" + strconv.Itoa(int(r)) + ";")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
