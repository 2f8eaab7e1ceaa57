package sta

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// RotateRequest says how to change the set of signing keys. At least one of New
// and Drop is given.
type RotateRequest struct {
	// Root is the file of the root key, which signs the set.
	Root string
	// New is where a new signing key goes, its pin beside it; "" makes none.
	New string
	// Drop names keys to take out. Their tickets end: gateways cut the tunnels as
	// soon as they hear of the set.
	Drop []string
}

// ErrNoSuchKey: a key that is to be taken out is not in the set.
var ErrNoSuchKey = errors.New("no such key in the set")

// Rotate puts a new version of the key set into the store. The new key's files
// come first: a set that names a key which nobody has would be worse than a key
// that no set names. It refuses to take out the last key.
func Rotate(ctx context.Context, store Store, authority string, req RotateRequest, now time.Time) (*ticket.KeySet, error) {
	if req.New == "" && len(req.Drop) == 0 {
		return nil, errors.New("nothing to change: neither a new key nor one to drop")
	}
	root, err := ReadPrivateKey(req.Root)
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	pin := ticket.Pin(root.Public().(ed25519.PublicKey))
	stored, err := store.KeySet(ctx)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNotInitialised
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key set: %w", err)
	}
	old, err := ticket.VerifyKeySet(stored.Signed, authority, pin)
	if err != nil {
		return nil, fmt.Errorf("the stored key set was not signed by the root in %s: %w", req.Root, err)
	}
	keys, retired, err := divide(old, req.Drop)
	if err != nil {
		return nil, err
	}
	var made []string
	if req.New != "" {
		public, paths, err := newSigningKey(req.New, pin)
		if err != nil {
			return nil, err
		}
		keys, made = append(keys, public), paths
	}
	signed, err := ticket.SignKeySet(root, authority, old.Version+1, now, keys, retired...)
	if err == nil {
		err = store.PutKeySet(ctx, SignedKeySet{Version: old.Version + 1, Signed: signed})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the key set could not be replaced: %w", err), remove(made))
	}
	return ticket.VerifyKeySet(signed, authority, pin)
}

// divide gives the keys of a set but those to drop, and those that were taken out,
// now or before: the ones dropped now first, and no more than a set may have.
func divide(set *ticket.KeySet, drop []string) (keys, retired []ed25519.PublicKey, err error) {
	for _, id := range drop {
		if !set.Names(id) {
			return nil, nil, fmt.Errorf("%w: version %d has no %q", ErrNoSuchKey, set.Version, id)
		}
	}
	for _, id := range set.KeyIDs() {
		if slices.Contains(drop, id) {
			retired = append(retired, set.Key(id))
		} else {
			keys = append(keys, set.Key(id))
		}
	}
	before := set.Retired()
	for _, id := range slices.Sorted(maps.Keys(before)) {
		retired = append(retired, before[id])
	}
	return keys, retired[:min(len(retired), ticket.MaxRetired)], nil
}

// newSigningKey makes a signing key's files.
func newSigningKey(path, pin string) (ed25519.PublicKey, []string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	text, err := encodePrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	if err := writeNew(path, text); err != nil {
		return nil, nil, fmt.Errorf("new signing key: %w", err)
	}
	if err := writeNew(PinPath(path), []byte(pin+"\n")); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("its pin: %w", err), os.Remove(path))
	}
	return public, []string{path, PinPath(path)}, nil
}
