package sta

import (
	"bytes"
	"context"
	"sync"
	"time"
)

// Board is the part of a Store by which nodes leave word for one another, for
// stores that one process has to itself. The zero value is an empty board.
type Board struct {
	mu       sync.Mutex
	notices  map[string]posted
	watchers map[chan struct{}]struct{}
}

type posted struct {
	notice []byte
	until  time.Time
}

// PostNotice leaves word; see [Store].
func (b *Board) PostNotice(ctx context.Context, name string, notice []byte, life time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	if b.notices == nil {
		b.notices = make(map[string]posted)
	}
	b.notices[name] = posted{bytes.Clone(notice), time.Now().Add(life)}
	if life <= 0 {
		delete(b.notices, name)
	}
	b.mu.Unlock()
	b.Changed()
	return nil
}

// Notices gives all words left; see [Store].
func (b *Board) Notices(ctx context.Context) (map[string][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string][]byte, len(b.notices))
	for name, p := range b.notices {
		if !time.Now().Before(p.until) {
			delete(b.notices, name)
			continue
		}
		all[name] = bytes.Clone(p.notice)
	}
	return all, nil
}

// Watch tells of changes; see [Store].
func (b *Board) Watch(ctx context.Context) <-chan struct{} {
	hint := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers == nil {
		b.watchers = make(map[chan struct{}]struct{})
	}
	b.watchers[hint] = struct{}{}
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, hint)
		close(hint)
	})
	return hint
}

// Changed gives everyone who watches a hint.
func (b *Board) Changed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for hint := range b.watchers {
		select {
		case hint <- struct{}{}:
		default: // there is one already
		}
	}
}

// Clock is the process's own; see [Store].
func (b *Board) Clock(ctx context.Context) (time.Time, error) { return time.Now(), ctx.Err() }
