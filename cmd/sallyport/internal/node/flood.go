package node

import (
	"sync"
	"time"
)

// maxStrangerLines bounds the log lines a second about clients that never showed
// a good ticket. They cost nothing to make, and the disk that they would fill
// may be the audit file's.
const maxStrangerLines = 200

// flood lets so many lines a second through and counts the others.
type flood struct {
	mu     sync.Mutex
	second time.Time // the one that passed and held are about
	passed int
	held   int
}

// pass tells whether a line may be written now, and how many were held back in
// an earlier second that nobody has been told of yet.
func (f *flood) pass(now time.Time) (ok bool, held int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.second) >= time.Second {
		held = f.held
		f.second, f.passed, f.held = now, 0, 0
	}
	if f.passed >= maxStrangerLines {
		f.held++
		return false, 0
	}
	f.passed++
	return true, held
}

// oncePerMinute keeps a condition that lasts from being told all the time.
type oncePerMinute struct {
	mu   sync.Mutex
	last time.Time
}

func (o *oncePerMinute) due(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.last.IsZero() && now.Sub(o.last) < time.Minute {
		return false
	}
	o.last = now
	return true
}
