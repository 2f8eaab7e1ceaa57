package follow

import (
	"context"
	"sync"
	"time"
)

// watchEvery is how often it is looked at what only time changes.
const watchEvery = time.Second

// Run follows the authority until ctx ends, and returns nil then. What fails is
// told to the hooks and tried again.
func (f *Follower) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { f.watch(ctx) })
	for ctx.Err() == nil {
		nodes, inUse, leave := f.enter(ctx)
		var tending sync.WaitGroup
		for _, n := range nodes.list {
			tending.Go(func() { f.tend(inUse, nodes, n) })
		}
		tending.Wait()
		leave()
	}
	all.Wait()
	f.judging.Lock()
	defer f.judging.Unlock()
	f.noteGrace(true)
	return nil
}

// tend asks one node whenever it is its turn, until ctx ends: the one that is
// followed all the time, the others now and then.
func (f *Follower) tend(ctx context.Context, s *nodeSet, n *node) {
	for ctx.Err() == nil {
		due, wait, changed := s.turn(n, f.config.Bypass)
		if pause := time.Until(due); pause > 0 {
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
			case <-changed: // it may be its turn now
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		f.ask(ctx, s, n, wait)
	}
}

// watch sees to what only time changes, and to new keys, until ctx ends.
func (f *Follower) watch(ctx context.Context) {
	turn := time.NewTicker(watchEvery)
	defer turn.Stop()
	forget := time.Now().Add(forgetEvery)
	var oldKeys bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.rekeyed:
			f.applyKeys()
			continue
		case <-turn.C:
		}
		if f.config.Keys != nil {
			err := f.adopt(f.config.Keys())
			if err != nil && !oldKeys {
				f.alarm("", err)
			}
			oldKeys = err != nil
		}
		// Also notices, and remembers, a clock that was set back.
		_ = f.sighted(f.config.Now())
		f.endBlind()
		f.save()
		f.tellLost()
		if time.Now().After(forget) {
			forget = time.Now().Add(forgetEvery)
			f.tidy()
		}
	}
}

// save tries again to write what could not be written.
func (f *Follower) save() {
	f.judging.Lock()
	defer f.judging.Unlock()
	f.unwritten = f.unwritten && f.config.Log.Save() != nil
}

// tidy drops what is past its time.
func (f *Follower) tidy() {
	f.judging.Lock()
	defer f.judging.Unlock()
	if f.heads.good == nil {
		return
	}
	if err := f.forget(f.heads.good); err != nil {
		f.alarm("", err)
	}
}
