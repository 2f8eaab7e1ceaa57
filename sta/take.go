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
		if err := a.leaveExpired(ctx, logs); err != nil {
			return err
		}
		_, err = a.log.Take(a.Keys(), logs, append(a.peerHeads(), a.beginnings(logs))...)
		if err != nil && !revlog.IsUnsaved(err) {
			err = fmt.Errorf("the store's revocations: %w", err)
			if err := a.dispensable(err); err != nil {
				return err
			}
		}
		if maps.Equal(own, a.log.Positions()) {
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

// beginnings says of logs that nobody here knows that what the store has of them
// is where they begin: what came before was swept, as far as anybody can tell.
func (a *Authority) beginnings(logs map[string][]string) *ticket.Head {
	known, tips := a.log.Positions(), make(map[string]ticket.Tip)
	for writer, signed := range logs {
		strange := func(h *ticket.Head) bool { _, knows := h.Tips[writer]; return knows }
		if known[writer] > 0 || slices.ContainsFunc(a.peerHeads(), strange) {
			continue
		}
		if e, err := ticket.ParseEntry(signed[0]); err == nil {
			tips[writer] = ticket.Tip{From: e.Position - 1}
		}
	}
	return &ticket.Head{Tips: tips}
}

// leaveExpired takes logs out of which every entry is past its time: they end no
// ticket that anybody has, and what came before them may be gone. The store is
// rid of them.
func (a *Authority) leaveExpired(ctx context.Context, logs map[string][]string) error {
	past, expired := a.now().Add(-a.keep), make(ticket.Positions)
	for writer, signed := range logs {
		var last uint64
		over := true
		for _, text := range signed {
			e, err := ticket.ParseEntry(text)
			if over = err == nil && e.Forget.Before(past); !over {
				break
			}
			last = e.Position
		}
		if over {
			expired[writer] = last
			delete(logs, writer)
		}
	}
	if len(expired) == 0 {
		return nil
	}
	if err := a.store.DropEntries(ctx, expired); err != nil {
		return fmt.Errorf("dropping old revocations: %w", err)
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
