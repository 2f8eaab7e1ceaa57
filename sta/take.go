package sta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// takeEntries reads what is new in the logs, and writes back what the store does
// not have.
func (a *Authority) takeEntries(ctx context.Context) error {
	var last ticket.Positions
	for {
		own := a.log.Positions()
		logs, there, err := a.store.Entries(ctx, own, lookPage)
		if err != nil {
			return fmt.Errorf("reading the revocations: %w", err)
		}
		last = there
		var unsaved error
		if len(logs) > 0 {
			_, err = a.log.Take(a.Keys(), logs, a.peerHeads()...)
			if err != nil && !isUnsaved(err) {
				err = fmt.Errorf("the store's revocations: %w", err)
				if err := a.dispensable(err); err != nil {
					return err
				}
			} else {
				unsaved = err
			}
		}
		if maps.Equal(own, a.log.Positions()) {
			if unsaved != nil {
				return unsaved
			}
			break
		}
	}
	s := &a.sight
	if s.lapsed.Swap(false) {
		s.all = false
	}
	lacks := last
	if !s.all {
		lacks = nil // once, for what is missing in the midst of a log
	}
	// What another node has swept already is not put back.
	past := a.now().Add(-a.keep)
	entries := slices.DeleteFunc(a.log.Entries(lacks), func(e ticket.Entry) bool { return e.Forget.Before(past) })
	if len(entries) > 0 {
		// Without a replica they are there all the same, and here, too.
		switch err := a.store.PutEntries(ctx, entries); {
		case errors.Is(err, ErrFork):
			a.alarm(fmt.Errorf("writing revocations back: %w", err))
		case err != nil && !errors.Is(err, ErrNoCopy):
			return fmt.Errorf("writing revocations back: %w", err)
		}
	}
	s.all = true
	lost := 0
	for i := range entries {
		if ref := entries[i].Ref(); s.stored.Covers(ref) && !last.Covers(ref) {
			lost++
		}
	}
	s.stored = a.log.Positions()
	if lost > 0 && a.hooks.WroteBack != nil {
		a.hooks.WroteBack(lost)
	}
	return nil
}

// dispensable decides on entries in the store that cannot be believed. Somebody
// who can write there must not stop the authority with them. But if another node
// has signed that it knows what this one cannot get, or something is missing in
// the midst of a log, this node does not know enough to sign a head.
func (a *Authority) dispensable(err error) error {
	if errors.Is(err, revlog.ErrGap) {
		return err
	}
	for _, head := range a.peerHeads() {
		if lacks, other := a.log.Lacks(head); len(lacks) > 0 || other != nil {
			return err
		}
	}
	a.alarm(err)
	return nil
}

// alarm tells what somebody should look at; the same again after a while.
func (a *Authority) alarm(err error) {
	s := &a.sight
	if text := err.Error(); a.hooks.Alarm != nil && time.Since(s.alarmed[text]) > alarmEvery {
		if s.alarmed == nil || len(s.alarmed) > maxAlarms {
			s.alarmed = make(map[string]time.Time)
		}
		s.alarmed[text] = time.Now()
		a.hooks.Alarm(err)
	}
}

// takeKeys takes a newer key set over, and writes back one that the store lost.
func (a *Authority) takeKeys(ctx context.Context) error {
	if a.pin == "" {
		return nil
	}
	own := a.Keys()
	stored, err := a.store.KeySet(ctx)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return fmt.Errorf("reading the key set: %w", err)
	case err != nil || stored.Version < own.Version:
		err := a.store.PutKeySet(ctx, SignedKeySet{Version: own.Version, Signed: own.String()})
		if err != nil && !errors.Is(err, ErrVersion) {
			return fmt.Errorf("writing the key set back: %w", err)
		}
		return nil
	case stored.Version == own.Version:
		return nil
	}
	set, err := ticket.VerifyKeySet(stored.Signed, a.id, a.pin)
	if err == nil && set.Version != stored.Version {
		err = fmt.Errorf("version %d calls itself %d", stored.Version, set.Version)
	}
	if err != nil {
		a.alarm(fmt.Errorf("the key set in the store is not one of this authority: %w", err))
		return nil
	}
	a.sight.keys.Store(set)
	a.noteKeys(set)
	if a.hooks.KeysChanged != nil {
		a.hooks.KeysChanged(set)
	}
	return nil
}
