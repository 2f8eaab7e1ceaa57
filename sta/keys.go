package sta

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// How an authority's keys may stand when they are not in order.
var (
	// ErrInitialised: there are keys already.
	ErrInitialised = errors.New("the authority has keys already")
	// ErrNotInitialised: there are none yet, neither here nor in the store.
	ErrNotInitialised = errors.New("the authority has no keys yet")
	// ErrHalfInitialised: there are key files but the store knows nothing of
	// them. An Init was interrupted, or the store is a new one.
	ErrHalfInitialised = errors.New("there are key files, but the store has no key set")
)

// KeyFiles says where Init writes private keys.
type KeyFiles struct {
	Root    string // signs key sets; to be kept off the node afterwards
	Signing string // signs tickets; the authority reads it at every start
}

// Init makes the keys of a new authority: a root, a signing key, and version 1
// of the key set, signed by the root, in the store. It returns the root's pin.
//
// The files come first and the store last, for the set is what makes keys count:
// until it is there, nothing was signed with them. So an Init that was cut short
// leaves files that the next one names in its [ErrHalfInitialised] and does not
// touch; removing them loses nothing. [ErrInitialised] changes nothing either.
func Init(ctx context.Context, store Store, authority string, files KeyFiles, now time.Time) (pin string, err error) {
	if err := ticket.CheckAuthorityID(authority); err != nil {
		return "", err
	}
	if files.Root == files.Signing {
		return "", errors.New("root and signing key need a file each")
	}
	if err := checkFresh(ctx, store, files); err != nil {
		return "", err
	}
	rootPublic, root, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	signingPublic, signing, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	signed, err := ticket.SignKeySet(root, authority, 1, now, []ed25519.PublicKey{signingPublic})
	if err != nil {
		return "", err
	}
	if err := WritePrivateKey(files.Root, root); err != nil {
		return "", fmt.Errorf("root key: %w", err)
	}
	if err := WritePrivateKey(files.Signing, signing); err != nil {
		// Ours: WritePrivateKey never takes a file that was there.
		return "", errors.Join(fmt.Errorf("signing key: %w", err), os.Remove(files.Root))
	}
	set := SignedKeySet{Version: 1, Signed: signed, Pin: ticket.Pin(rootPublic)}
	if err := store.PutKeySet(ctx, set); err != nil {
		if err := undoInit(ctx, store, set, files, err); err != nil {
			return "", err
		}
	}
	return set.Pin, nil
}

// checkFresh refuses where there are keys or parts of them.
func checkFresh(ctx context.Context, store Store, files KeyFiles) error {
	_, err := store.KeySet(ctx)
	switch {
	case err == nil:
		return ErrInitialised
	case !errors.Is(err, ErrNotFound):
		return fmt.Errorf("reading the key set: %w", err)
	}
	for _, path := range []string{files.Root, files.Signing} {
		if _, err := os.Lstat(path); err == nil {
			return halfInitialised(path)
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func halfInitialised(path string) error {
	return fmt.Errorf("%w: %s is there. If an earlier init was interrupted, remove the key files and run it again; "+
		"if tickets were ever issued with this key, restore the store that belongs to it", ErrHalfInitialised, path)
}

// undoInit removes the key files after the store refused their set — unless the
// store has it after all, or cannot say.
func undoInit(ctx context.Context, store Store, set SignedKeySet, files KeyFiles, cause error) error {
	ctx = context.WithoutCancel(ctx)
	stored, err := store.KeySet(ctx)
	switch {
	case err == nil && stored == set:
		return nil
	case err == nil: // somebody else was first
		cause = ErrInitialised
	case !errors.Is(err, ErrNotFound):
		return fmt.Errorf("storing the key set: %w; the key files were left in place", cause)
	}
	return errors.Join(fmt.Errorf("storing the key set: %w", cause), os.Remove(files.Root), os.Remove(files.Signing))
}

// OpenKeys reads what an Authority signs with. The set in the store is verified
// against the pin that Init stored beside it: an authority trusts its own store
// that far, and a gateway elsewhere does not. It refuses a set of another
// authority and one that does not name the signing key, for every ticket would
// be refused at the gateways. [ErrNotInitialised] and [ErrHalfInitialised] as
// for Init.
func OpenKeys(ctx context.Context, store Store, authority, signingPath string) (*ticket.Signer, *ticket.KeySet, error) {
	stored, err := store.KeySet(ctx)
	if errors.Is(err, ErrNotFound) {
		if _, err := os.Lstat(signingPath); err == nil {
			return nil, nil, halfInitialised(signingPath)
		}
		return nil, nil, ErrNotInitialised
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the key set: %w", err)
	}
	set, err := ticket.VerifyKeySet(stored.Signed, authority, stored.Pin)
	if err != nil {
		return nil, nil, fmt.Errorf("the stored key set is not one of %s: %w", authority, err)
	}
	if set.Version != stored.Version {
		return nil, nil, fmt.Errorf("the store says version %d of a key set that says %d", stored.Version, set.Version)
	}
	key, err := ReadPrivateKey(signingPath)
	if err != nil {
		return nil, nil, fmt.Errorf("signing key: %w", err)
	}
	signer, err := ticket.NewSigner(authority, key)
	if err != nil {
		return nil, nil, err
	}
	if !set.Names(signer.KeyID()) {
		return nil, nil, fmt.Errorf("%s: key %s is not in key set version %d: gateways would refuse its tickets",
			signingPath, signer.KeyID(), set.Version)
	}
	return signer, set, nil
}
