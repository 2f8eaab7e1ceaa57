package sta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// keysNote is the name under which a node notes the key set beside its log.
const keysNote = "keyset"

// noteKeys keeps the key set, for a store that may lose it. A disk that fails now
// is no reason to stop: the store has it.
func (a *Authority) noteKeys(set *ticket.KeySet) {
	data, err := json.Marshal(SignedKeySet{Version: set.Version, Signed: set.String()})
	if err == nil {
		_ = a.log.Note(keysNote, data)
	}
}

// RestoreKeySet puts back the key set that this node has noted, if the store has
// none, or an older one: it was flushed, or restored from an old copy. What it
// puts back counts by the pin, as everything in the store.
func RestoreKeySet(ctx context.Context, store Store, log *revlog.Log) error {
	data, err := log.Noted(keysNote)
	if err != nil || data == nil {
		return err
	}
	var noted SignedKeySet
	if err := json.Unmarshal(data, &noted); err != nil {
		return fmt.Errorf("the key set beside the revocation log: %w", err)
	}
	stored, err := store.KeySet(ctx)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return fmt.Errorf("reading the key set: %w", err)
	case err == nil && stored.Version >= noted.Version:
		return nil
	}
	if err := store.PutKeySet(ctx, noted); err != nil && !errors.Is(err, ErrVersion) {
		return fmt.Errorf("putting the key set back: %w", err)
	}
	return nil
}

// recallLifetime finds out how long tickets may live that were issued before the
// bound was lowered: so long must what ends them all be remembered.
func (a *Authority) recallLifetime() error {
	data, err := a.log.Noted("lifetime")
	if err != nil {
		return err
	}
	before, _ := time.ParseDuration(string(data))
	a.longest = max(a.lifetime, before)
	return a.log.Note("lifetime", []byte(a.longest.String()))
}
