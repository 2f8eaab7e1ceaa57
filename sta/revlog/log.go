package revlog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// How a log refuses what it is given.
var (
	// ErrFork: two entries claim one place, or one does not follow the one that
	// is here. Somebody rewrote a log.
	ErrFork = errors.New("two histories of one log")
	// ErrGap: entries are missing that nobody vouches to be forgotten.
	ErrGap = ticket.ErrGap
	// ErrReadOnly: the log has no writer of its own.
	ErrReadOnly = errors.New("the log has no writer of its own")
)

// UnsavedError: a revocation is in force here, and not on this disk.
type UnsavedError struct{ Err error }

func (e *UnsavedError) Error() string {
	return "the revocation log could not be written: " + e.Err.Error()
}

// IsUnsaved tells whether that is all that went wrong, or part of it.
func IsUnsaved(err error) bool {
	var unsaved *UnsavedError
	return errors.As(err, &unsaved)
}

func (e *UnsavedError) Unwrap() error { return e.Err }

// Log is every writer's log of one authority as far as it is known here. It is
// safe for concurrent use.
type Log struct {
	set ticket.RevokedSet

	mu      sync.Mutex // guards everything below; held while the disk is written
	disk    *disk      // nil for one in memory only
	writer  string     // its own; "" when it only takes
	writers map[string]*writer
	unsaved []ticket.Entry // in force, and still to be written
	news    chan struct{}  // closed, and replaced, when entries come
}

// WriterName draws the name under which a node writes in this life of its
// process: the node's own name, shortened if need be, a dot, and 40 random bits.
func WriterName(node string) string {
	const most = ticket.MaxWriter - 1 - 8
	name := strings.Map(func(r rune) rune {
		if ticket.CheckWriter(string(r)) != nil {
			return '-'
		}
		return r
	}, node)
	return name[:min(len(name), most)] + "." + strings.ToLower(rand.Text()[:8])
}

// Open opens the log at a path, or makes it, mode 0600, and its folder, 0700. With
// an empty path it is in memory only. writer is the name for entries of its own,
// "" for none.
func Open(path, writerName string) (*Log, error) {
	l := &Log{writer: writerName, writers: make(map[string]*writer), news: make(chan struct{})}
	if writerName != "" {
		if err := ticket.CheckWriter(writerName); err != nil {
			return nil, err
		}
	}
	if path == "" {
		return l, nil
	}
	d, err := openDisk(path)
	if err != nil {
		return nil, err
	}
	if l.writers, err = d.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), d.close())
	}
	l.disk = d
	for _, w := range l.writers {
		l.enforce(w.entries)
	}
	return l, nil
}

// Close gives the file back. The log must not be used afterwards.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.disk == nil {
		return nil
	}
	return l.disk.close()
}

// Writer is the name under which Append writes.
func (l *Log) Writer() string { return l.writer }

// Find gives a revocation that ends a ticket at a moment, or nil. It does no I/O
// and does not wait for any.
func (l *Log) Find(s *ticket.Subject, now time.Time) *ticket.Revocation { return l.set.Find(s, now) }

// LastCut is the last iat of this user and device that is ended.
func (l *Log) LastCut(user, device string) time.Time { return l.set.LastCut(user, device) }

// Append puts a revocation at the end of the own log and in force. When it
// returns without an error the entry is on the disk. With an [*UnsavedError] it
// is in force, and the disk is tried again with the next entry.
func (l *Log) Append(s *ticket.Signer, r ticket.Revocation) (ticket.Entry, error) {
	if l.writer == "" {
		return ticket.Entry{}, ErrReadOnly
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.writers[l.writer]
	if w == nil {
		w = &writer{}
	}
	e, err := s.SignEntry(l.writer, w.position()+1, w.last, r)
	if err != nil {
		return ticket.Entry{}, err
	}
	l.writers[l.writer] = w
	l.add(w, []ticket.Entry{e})
	return e, l.save()
}

// add puts entries that follow into force, and down to be written. The caller
// holds the lock until it has called save.
func (l *Log) add(w *writer, entries []ticket.Entry) {
	w.entries = append(w.entries, entries...)
	w.last = entries[len(entries)-1].Hash()
	l.enforce(entries)
	if l.disk != nil {
		l.unsaved = append(l.unsaved, entries...)
	}
	close(l.news)
	l.news = make(chan struct{})
}

// enforce adds entries to the set. Each has a place of its own there: one that is
// remembered for long shall not keep the whole log in memory.
func (l *Log) enforce(entries []ticket.Entry) {
	for i := range entries {
		r := entries[i].Revocation
		l.set.Add(&r)
	}
}

// Save tries again to write what could not be written.
func (l *Log) Save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.save()
}

// save writes what is still to be written. The caller holds the lock.
func (l *Log) save() error {
	if len(l.unsaved) == 0 {
		return nil
	}
	if err := l.disk.put(l.unsaved); err != nil {
		return &UnsavedError{err}
	}
	l.unsaved = nil
	return nil
}

// Lacks tells what of a head's logs is not here, nil if nothing is, and
// [ErrFork] if both have an entry in one place that differ.
func (l *Log) Lacks(h *ticket.Head) (ticket.Positions, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lacks ticket.Positions
	for name, tip := range h.Tips {
		w := l.writers[name]
		if w == nil {
			w = &writer{}
		}
		switch at := tip.Position; {
		case at > w.position() && tip.From < at:
			if lacks == nil {
				lacks = make(ticket.Positions)
			}
			lacks[name] = at
		case w.differs(at, tip.Hash):
			return nil, fmt.Errorf("%w: at %s", ErrFork, ticket.Ref{Writer: name, Position: at})
		}
	}
	return lacks, nil
}

// Behind tells which writers' entries, in force here, a head does not have, nil
// if it has all. Who signed it does not know all that is known.
func (l *Log) Behind(h *ticket.Head) ticket.Positions {
	l.mu.Lock()
	defer l.mu.Unlock()
	var behind ticket.Positions
	for name, w := range l.writers {
		if len(w.entries) > 0 && h.Tips[name].Position < w.position() {
			if behind == nil {
				behind = make(ticket.Positions)
			}
			behind[name] = w.position()
		}
	}
	return behind
}

// Tips gives how far each writer's log is known.
func (l *Log) Tips() map[string]ticket.Tip {
	l.mu.Lock()
	defer l.mu.Unlock()
	tips := make(map[string]ticket.Tip, len(l.writers))
	for name, w := range l.writers {
		if w.position() > 0 {
			tips[name] = w.tip()
		}
	}
	return tips
}

// Positions gives how far each writer's log is known.
func (l *Log) Positions() ticket.Positions {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := make(ticket.Positions, len(l.writers))
	for name, w := range l.writers {
		if w.position() > 0 {
			p[name] = w.position()
		}
	}
	return p
}

// News gives a channel that is closed when the next entries come.
func (l *Log) News() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.news
}

// After gives up to limit signed entries past the positions, by writer.
func (l *Log) After(p ticket.Positions, limit int) map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var logs map[string][]string
	limit = max(limit, 0)
	for _, name := range slices.Sorted(maps.Keys(l.writers)) {
		past := l.writers[name].past(p[name])
		past = past[:min(len(past), limit)]
		limit -= len(past)
		if len(past) == 0 {
			continue
		}
		if logs == nil {
			logs = make(map[string][]string)
		}
		for i := range past {
			logs[name] = append(logs[name], past[i].Signed)
		}
	}
	return logs
}

// Entries gives the entries past the positions, to be written back to a store
// that lacks them.
func (l *Log) Entries(p ticket.Positions) []ticket.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var entries []ticket.Entry
	for _, name := range slices.Sorted(maps.Keys(l.writers)) {
		entries = append(entries, l.writers[name].past(p[name])...)
	}
	return entries
}

// Each calls f for every revocation here until f returns false. f must not call
// the log.
func (l *Log) Each(f func(*ticket.Entry) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.writers {
		for i := range w.entries {
			if !f(&w.entries[i]) {
				return
			}
		}
	}
}

// Forget drops what need not be remembered after a moment, from the beginning of
// each log up to the first that must. It gives the place up to which each writer
// is forgotten now, for the store to do the same. How far a log without entries
// was is known for three more days, and of the own one always.
func (l *Log) Forget(before time.Time) (ticket.Positions, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dropped := make(ticket.Positions)
	var changed []string
	for name, w := range l.writers {
		switch n := w.forget(before); {
		case n > 0:
			dropped[name] = w.from
		case len(w.entries) == 0 && name != l.writer && w.forgot.Add(keepEmpty).Before(before):
			delete(l.writers, name)
		default:
			continue
		}
		changed = append(changed, name)
	}
	l.set.Forget(before)
	l.unsaved = slices.DeleteFunc(l.unsaved, func(e ticket.Entry) bool {
		w := l.writers[e.Writer]
		return w == nil || e.Position <= w.from
	})
	if len(changed) == 0 || l.disk == nil {
		return dropped, nil
	}
	if err := l.disk.drop(l.writers, changed); err != nil {
		return dropped, fmt.Errorf("the revocation log could not be shortened: %w", err)
	}
	return dropped, nil
}

// Note keeps a value beside the log, under a name, on the disk; Noted gives it
// back, nil if there is none.
func (l *Log) Note(name string, value []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.disk == nil {
		return nil
	}
	return l.disk.note(name, value)
}

// Noted gives a value that Note kept.
func (l *Log) Noted(name string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.disk == nil {
		return nil, nil
	}
	return l.disk.noted(name)
}
