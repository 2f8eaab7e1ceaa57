package revlog

import (
	"errors"
	"maps"
	"slices"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Take judges signed entries, by writer, and puts those that are new here into
// force and onto the disk. It gives them in order, each writer's together. The
// heads are verified ones: they vouch for entries, and for what was forgotten.
// Errors: [ErrFork], [ErrGap], a *[ticket.Error], or an [*UnsavedError]; what was
// taken before one is in force, and is given.
func (l *Log) Take(keys *ticket.KeySet, logs map[string][]string, heads ...*ticket.Head) ([]ticket.Entry, error) {
	var runs [][]ticket.Entry
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(logs)) {
		run, err := keys.VerifyRun(logs[name], heads...)
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(run) == 0:
		case run[0].Writer != name:
			errs = append(errs, ticket.Refuse(ticket.Malformed, "entries of another writer than the one named"))
		default:
			runs = append(runs, run)
		}
	}
	added, err := l.takeRuns(runs, heads)
	return added, errors.Join(append(errs, err...)...)
}

// takeRuns takes runs of entries that were verified. One write serves them all.
func (l *Log) takeRuns(runs [][]ticket.Entry, heads []*ticket.Head) (added []ticket.Entry, errs []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, run := range runs {
		name := run[0].Writer
		w := l.writers[name]
		if w == nil {
			w = &writer{}
		}
		fresh, err := w.fresh(run, heads)
		if err != nil {
			errs = append(errs, err)
		}
		if len(fresh) == 0 {
			continue
		}
		l.writers[name] = w
		l.add(w, fresh)
		added = append(added, fresh...)
	}
	if len(added) > 0 {
		errs = append(errs, l.save())
	}
	return added, errs
}
