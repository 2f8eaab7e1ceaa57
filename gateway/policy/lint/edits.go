package lint

import (
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// maxShownList bounds the corrected list in a fix, in bytes. Of a longer one
// the fix names the change only.
const maxShownList = 2048

// edits are the changes to background_services that findings ask for, together.
// The zero edits change nothing.
type edits struct {
	out     map[int]bool           // entries to leave out, from 1
	instead map[int]policy.Service // entries to write otherwise
	more    []policy.Service       // entries to add
}

// add puts an entry behind the list.
func (e *edits) add(s policy.Service) { e.more = append(e.more, s) }

// leaveOut takes an entry out. For an entry of another key it does nothing.
func (e *edits) leaveOut(t target) {
	if t.entry == 0 {
		return
	}
	if e.out == nil {
		e.out = make(map[int]bool)
	}
	e.out[t.entry] = true
}

// write puts an entry in the place of another one.
func (e *edits) write(t target, s policy.Service) {
	if t.entry == 0 {
		return
	}
	if e.instead == nil {
		e.instead = make(map[int]policy.Service)
	}
	e.instead[t.entry] = s
}

// apply returns the list with the changes, each entry in its one spelling and
// only once.
func (e *edits) apply(list []target) string {
	var entries []string
	seen := make(map[policy.Service]bool)
	put := func(s policy.Service) {
		if !seen[s] {
			seen[s] = true
			entries = append(entries, s.String())
		}
	}
	for _, t := range list {
		if e.out[t.entry] {
			continue
		}
		if s, ok := e.instead[t.entry]; ok {
			put(s)
			continue
		}
		put(t.Service)
	}
	for _, s := range e.more {
		put(s)
	}
	return strings.Join(entries, ",")
}
