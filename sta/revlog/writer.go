package revlog

import (
	"fmt"
	"slices"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// keepEmpty is for how much longer it is known how far a log was that has been
// forgotten to its end. Nodes do not forget at the same moment, and its writer may
// go on with it: who no longer knew where it was would find a gap there, and who
// did not know that it was would be given it once more.
const keepEmpty = 72 * time.Hour

// writer is one writer's log: the entries past from, without gaps.
type writer struct {
	from    uint64
	forgot  time.Time   // the last Forget of those up to from, as far as known
	last    ticket.Hash // of the entry at the tip
	entries []ticket.Entry
}

// before is the hash of the entry at from.
func (w *writer) before() ticket.Hash {
	if len(w.entries) > 0 {
		return w.entries[0].Previous
	}
	return w.last
}

// differs tells whether another entry than the one with this hash is known to be
// at a position.
func (w *writer) differs(position uint64, hash ticket.Hash) bool {
	switch {
	case position == 0, position < w.from, position > w.position():
		return false
	case position == w.from:
		return w.before() != hash
	}
	return w.entries[position-w.from-1].Hash() != hash
}

func (w *writer) position() uint64 { return w.from + uint64(len(w.entries)) }

func (w *writer) tip() ticket.Tip {
	return ticket.Tip{From: w.from, Position: w.position(), Hash: w.last}
}

// past gives the entries after a position.
func (w *writer) past(position uint64) []ticket.Entry {
	if position >= w.position() {
		return nil
	}
	return w.entries[max(position, w.from)-w.from:]
}

// forget drops entries from the beginning, and says how many.
func (w *writer) forget(before time.Time) int {
	n := 0
	for ; n < len(w.entries) && w.entries[n].Forget.Add(ticket.Skew).Before(before); n++ {
		if at := w.entries[n].Forget; at.After(w.forgot) {
			w.forgot = at
		}
	}
	if n > 0 {
		w.from += uint64(n)
		w.entries = slices.Clone(w.entries[n:])
	}
	return n
}

// fresh gives what of a run comes after the tip, after comparing the rest with
// what is here. It moves from where a head vouches that what is missing is
// forgotten.
func (w *writer) fresh(run []ticket.Entry, heads []*ticket.Head) ([]ticket.Entry, error) {
	for len(run) > 0 && run[0].Position <= w.position() {
		if w.differs(run[0].Position, run[0].Hash()) {
			return nil, fmt.Errorf("%w: at %s", ErrFork, run[0].Ref())
		}
		run = run[1:]
	}
	if len(run) == 0 {
		return nil, nil
	}
	first := &run[0]
	switch {
	case first.Position == w.position()+1 && first.Previous == w.last:
		return run, nil
	case first.Position == w.position()+1:
		return nil, fmt.Errorf("%w: at %s", ErrFork, first.Ref())
	case !forgotten(heads, first.Writer, first.Position-1):
		return nil, fmt.Errorf("%w: before %s", ErrGap, first.Ref())
	}
	w.from, w.entries = first.Position-1, nil
	return run, nil
}

// forgotten tells whether a head says that everything up to a position may be.
func forgotten(heads []*ticket.Head, writer string, position uint64) bool {
	return slices.ContainsFunc(heads, func(h *ticket.Head) bool { return h.Tips[writer].From >= position })
}
