package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/gateway/policy"
)

// maxShownList is the longest corrected list that a message shows, in bytes.
const maxShownList = 2000

// checkServices judges the allow-list, and points into it.
func (r *reader) checkServices(g *Gateway) {
	const path = "gateway.policy.background_services"
	if r.bad("gateway.policy") || r.bad(path) {
		return
	}
	services, err := policy.ParseServices(g.Policy.BackgroundServices)
	switch {
	case err != nil:
		r.sayInList(path, g.Policy.BackgroundServices, err)
	case len(services) == 0:
		r.sayAs(Warning, path, "nothing is listed, so every tunnel will be refused")
	}
}

// sayInList reports a mistake of an allow-list, at the very character where
// the list stands on one line as it is, else at its beginning.
func (r *reader) sayInList(path, list string, err error) {
	var mistake *policy.ListError
	if !errors.As(err, &mistake) {
		r.say(path, err.Error())
		return
	}
	p := r.places[path]
	column := p.column
	if start, ok := r.startOf(p, list); ok {
		column = start + mistake.Column - 1
	}
	message := fmt.Sprintf("entry %d %s", mistake.Entry, mistake.Problem)
	if mistake.Corrected != "" && len(mistake.Corrected) <= maxShownList {
		message += "; the corrected list is " + mistake.Corrected
	}
	r.add(p.line, column, path, Error, message)
}

// startOf returns the column of a value's first character, past a quotation
// mark. It fails for a value that is written otherwise than it reads: over
// several lines, or with escapes.
func (r *reader) startOf(p place, value string) (column int, ok bool) {
	if p.line < 1 || p.line > len(r.lines) {
		return 0, false
	}
	text := strings.TrimPrefix(r.lines[p.line-1], "\ufeff")
	for range p.column - 1 {
		_, size := utf8.DecodeRuneInString(text)
		text = text[size:]
	}
	for _, quotes := range []string{"", `"`, `'`} {
		if strings.HasPrefix(text, quotes+value) {
			return p.column + len(quotes), true
		}
	}
	return 0, false
}
