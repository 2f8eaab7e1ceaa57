package follow

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Why a node is not believed. It is wrapped in a [*DisbeliefError].
var (
	// ErrRegress: a head came with a lower serial than the one before. The node, or
	// who stands before it, goes back in time.
	ErrRegress = errors.New("a head with a lower serial than one before")
	// ErrRepeat: two heads of one node have one serial.
	ErrRepeat = errors.New("two heads with one serial")
)

// Why a head that is what it says is no good. A node with such heads is followed
// only while there is no better one.
var (
	// ErrNoHead: the node could not look into its store yet.
	ErrNoHead = errors.New("the node gives no head")
	// ErrWithheld: the head names entries that the node does not give.
	ErrWithheld = errors.New("its head names entries that it does not give")
	// ErrBehind: the head lacks entries that are in force here. It lost them, or
	// somebody took them away.
	ErrBehind = errors.New("its head lacks entries that are in force here")
	// ErrStale: the head is older than another node's by too much.
	ErrStale = errors.New("its head is older than another node's")
	// ErrAhead: the head is dated too far ahead of the clock here.
	ErrAhead = errors.New("its head is dated ahead of the clock here")
)

// DisbeliefError: a node said what a node that is in order never says. Nothing of
// it is trusted.
type DisbeliefError struct{ Err error }

func (e *DisbeliefError) Error() string { return "not to be believed: " + e.Err.Error() }
func (e *DisbeliefError) Unwrap() error { return e.Err }

const (
	// maxStale is by how much nodes that look into one store every few seconds may
	// differ.
	maxStale = 10 * time.Second
	// maxSeen bounds the lives of nodes whose last head is remembered.
	maxSeen = 1024
)

// heads is the last head of each node, in each life of its process, and the newest
// good one.
type heads struct {
	seen map[string]seen
	good *ticket.Head
}

type seen struct {
	serial uint64
	sum    [sha256.Size]byte
	at     time.Time // when it was taken
}

// take notes a head. Serials grow. One that was asked for before a newer one was
// taken has been overtaken on the way, which is no wonder where two ways lead to
// one node: then it counts for nothing.
func (h *heads) take(head *ticket.Head, signed string, asked time.Time) (overtaken bool, err error) {
	last, known := h.seen[head.Node]
	sum := sha256.Sum256([]byte(signed))
	switch {
	case known && head.Serial == last.serial && sum != last.sum:
		return false, &DisbeliefError{fmt.Errorf("%w: %d of %s", ErrRepeat, head.Serial, head.Node)}
	case known && head.Serial == last.serial:
		return false, nil
	case known && head.Serial < last.serial && asked.Before(last.at):
		return true, nil
	case known && head.Serial < last.serial:
		return false, &DisbeliefError{fmt.Errorf("%w: %d of %s after %d", ErrRegress, head.Serial, head.Node, last.serial)}
	}
	if !known && len(h.seen) >= maxSeen {
		h.dropOldest()
	}
	h.seen[head.Node] = seen{head.Serial, sum, time.Now()}
	return false, nil
}

func (h *heads) dropOldest() {
	var name string
	for n, s := range h.seen {
		if name == "" || s.at.Before(h.seen[name].at) {
			name = n
		}
	}
	delete(h.seen, name)
}

// judgeHead counts the grace from a verified head if it is a good one, or says
// why it is of no use. The caller holds judging. A *[DisbeliefError] is for a
// history that was rewritten.
func (f *Follower) judgeHead(head *ticket.Head, keys *ticket.KeySet) (good bool, err error) {
	if head == nil {
		return false, ErrNoHead
	}
	lacks, err := f.config.Log.Lacks(head)
	newest := f.HeadTime()
	switch {
	case err != nil:
		return false, &DisbeliefError{err}
	case lacks != nil:
		return false, ErrWithheld
	case f.behind(head) != nil:
		return false, ErrBehind
	case head.Keys < keys.Version:
		return false, ErrOldKeys
	case head.Time.Sub(f.config.Now()) > maxBehind:
		return false, ErrAhead
	case newest.Sub(head.Time) > maxStale:
		return false, ErrStale
	case head.Time.Before(newest):
		return false, nil // another node was a little faster
	}
	f.renew(head)
	return true, nil
}

// behind gives the positions from which a head lacks entries that are in force
// here, nil if it lacks none. What no longer need be remembered may be gone.
func (f *Follower) behind(head *ticket.Head) ticket.Positions {
	lacking := f.config.Log.Behind(head)
	if lacking == nil {
		return nil
	}
	from := f.config.Log.Positions()
	for writer := range lacking {
		from[writer] = head.Tips[writer].Position
	}
	entries := f.config.Log.Entries(from)
	for i := range entries {
		if !entries[i].Forget.Before(head.Time) {
			return from
		}
	}
	return nil
}

// forget drops what the authority no longer holds. What it does hold stays: it
// would be told again.
func (f *Follower) forget(head *ticket.Head) error {
	before := head.Time
	f.config.Log.Each(func(e *ticket.Entry) bool {
		if tip := head.Tips[e.Writer]; e.Position > tip.From && e.Position <= tip.Position {
			if until := e.Forget.Add(ticket.Skew); until.Before(before) {
				before = until
			}
		}
		return true
	})
	_, err := f.config.Log.Forget(before)
	return err
}
