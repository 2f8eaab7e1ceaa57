package follow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/sta/ticket"
)

// ErrOldKeys: a key set older than one that was seen. Somebody may have put a
// key back that was taken out.
var ErrOldKeys = errors.New("an older key set than one that was seen")

// ErrTwoKeySets: another key set with the version of the one in force.
var ErrTwoKeySets = errors.New("two key sets with one version")

// keysNote is the name under which the key set is kept.
const keysNote = "follow.keys"

// trust is the key set in force, and what judges statements by it.
type trust struct {
	set      *ticket.KeySet
	verifier *ticket.Verifier
}

// trusted gives the keys in force, nil while none are known.
func (f *Follower) trusted() *trust {
	t := f.trust.Load()
	if f.config.Keys == nil {
		return t
	}
	if set := f.config.Keys(); t == nil || set != t.set {
		// An older set is told of by Run; the newer one stays.
		_ = f.adopt(set)
		t = f.trust.Load()
	}
	return t
}

// KeyGone tells whether the key with this id is not, or no longer, one of the
// authority's: what it signed counts for nothing.
func (f *Follower) KeyGone(keyID string) bool {
	t := f.trusted()
	return t == nil || !t.set.Names(keyID)
}

// adopt puts a verified key set in force, if it is newer than the one that is.
func (f *Follower) adopt(set *ticket.KeySet) error {
	f.keying.Lock()
	defer f.keying.Unlock()
	if set == nil || set.Authority != f.config.Authority {
		return ticket.Refuse(ticket.WrongAuthority, "a key set of another authority")
	}
	now := f.trust.Load()
	if now != nil {
		switch {
		case set.Version < now.set.Version:
			return fmt.Errorf("%w: version %d, seen %d", ErrOldKeys, set.Version, now.set.Version)
		case set.Version == now.set.Version && set.String() != now.set.String():
			return fmt.Errorf("%w: %d", ErrTwoKeySets, set.Version)
		}
	}
	verifier, err := ticket.NewVerifier(set, f.config.Audience, f.config.Now)
	if err != nil {
		return err
	}
	f.trust.Store(&trust{set, verifier})
	if now == nil || set.Version != now.set.Version {
		select {
		case f.rekeyed <- struct{}{}:
		default: // Run has not seen to the last one yet, and will see this one
		}
	}
	return nil
}

// applyKeys does what a new key set asks for, after it was put in force.
func (f *Follower) applyKeys() {
	set := f.trust.Load().set
	if f.config.CutKeys != nil {
		f.config.CutKeys(set)
	}
	if f.config.Hooks.Keys != nil {
		f.config.Hooks.Keys(set)
	}
	if err := f.config.Log.Note(keysNote, []byte(set.String())); err != nil {
		f.alarm("", fmt.Errorf("the key set could not be kept: %w", err))
	}
}

// recallKeys reads the key set that was kept. One that is not of the pinned root
// counts for nothing: the authority was set up anew.
func (f *Follower) recallKeys() error {
	if f.config.Keys != nil {
		return f.adopt(f.config.Keys())
	}
	signed, err := f.config.Log.Noted(keysNote)
	if err != nil || signed == nil {
		return err
	}
	set, err := ticket.VerifyKeySet(string(signed), f.config.Authority, f.config.Pin)
	if err != nil {
		return nil
	}
	return f.adopt(set)
}

// fetchKeys asks a node for the key set, unless it is in this process.
func (f *Follower) fetchKeys(ctx context.Context, n *node) error {
	if f.config.Keys != nil {
		return nil
	}
	signed, err := n.Source.SignedKeys(ctx)
	if err != nil {
		return fmt.Errorf("asking for the key set: %w", err)
	}
	set, err := ticket.VerifyKeySet(signed, f.config.Authority, f.config.Pin)
	if err == nil {
		err = f.adopt(set)
	}
	if errors.Is(err, ErrOldKeys) && n.keys {
		return nil // it has yet to hear of the new one, which its heads show, too
	}
	if err != nil {
		return &DisbeliefError{fmt.Errorf("the key set: %w", err)}
	}
	return nil
}

// verifyHead judges the signature of a head. The keys may have changed: then they
// are fetched, and it is judged once more. nil for a node that has no head.
func (f *Follower) verifyHead(ctx context.Context, n *node, signed string) (*ticket.Head, error) {
	if signed == "" {
		return nil, nil
	}
	head, err := f.trusted().set.VerifyHead(signed)
	switch {
	case ticket.ReasonOf(err) == ticket.BadSignature, err == nil && head.Keys > f.trusted().set.Version:
		if err := f.fetchKeys(ctx, n); err != nil {
			return nil, err
		}
		head, err = f.trusted().set.VerifyHead(signed)
	}
	if err != nil {
		return nil, &DisbeliefError{fmt.Errorf("its head: %w", err)}
	}
	if have := f.trusted().set.Version; head.Keys > have {
		return nil, &DisbeliefError{fmt.Errorf("its head goes by key set version %d, and it gives %d", head.Keys, have)}
	}
	return head, nil
}
