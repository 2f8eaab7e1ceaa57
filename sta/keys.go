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

// KeyFiles says where Init writes private keys. The pin of the root goes beside
// the signing key; see [PinPath].
type KeyFiles struct {
	Root    string // signs key sets; to be kept off the node afterwards
	Signing string // signs tickets; the authority reads it at every start
}

// Init makes the keys of a new authority: a root, a signing key, the root's pin
// beside it, and version 1 of the key set, signed by the root, in the store. It
// returns the pin.
//
// The files come first and the store last, for the set is what makes keys count:
// until it is there, nothing was signed with them. So an Init that was cut short
// leaves files that the next one names in its [ErrHalfInitialised] and does not
// touch; removing them loses nothing. [ErrInitialised] changes nothing either.
func Init(ctx context.Context, store Store, authority string, files KeyFiles, now time.Time) (pin string, err error) {
	if err := ticket.CheckAuthorityID(authority); err != nil {
		return "", err
	}
	if files.Root == files.Signing || files.Root == PinPath(files.Signing) {
		return "", errors.New("root key, signing key and pin need a file each")
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
	pin = ticket.Pin(rootPublic)
	if err := files.write(root, signing, pin); err != nil {
		return "", err
	}
	set := SignedKeySet{Version: 1, Signed: signed}
	if err := store.PutKeySet(ctx, set); err != nil {
		if err := undoInit(ctx, store, set, files, err); err != nil {
			return "", err
		}
	}
	return pin, nil
}

// paths gives every file, in the order of their making.
func (f KeyFiles) paths() []string { return []string{f.Root, f.Signing, PinPath(f.Signing)} }

// write makes the files, all or none.
func (f KeyFiles) write(root, signing ed25519.PrivateKey, pin string) error {
	rootPEM, err := encodePrivateKey(root)
	if err != nil {
		return err
	}
	signingPEM, err := encodePrivateKey(signing)
	if err != nil {
		return err
	}
	paths := f.paths()
	for i, data := range [][]byte{rootPEM, signingPEM, []byte(pin + "\n")} {
		if err := writeNew(paths[i], data); err != nil {
			// Those before it are ours: writeNew never takes a file that was there.
			return errors.Join(fmt.Errorf("key files: %w", err), remove(paths[:i]))
		}
	}
	return nil
}

func remove(paths []string) error {
	var errs []error
	for _, path := range paths {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
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
	return checkAbsent(files.paths())
}

// checkAbsent refuses files that are left of keys whose set is not there.
func checkAbsent(paths []string) error {
	for _, path := range paths {
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
	return errors.Join(fmt.Errorf("storing the key set: %w", cause), remove(files.paths()))
}

// Keys is what an authority signs with, and what judges that.
type Keys struct {
	Signer *ticket.Signer
	Set    *ticket.KeySet
	Pin    string // of the root that signed the set
}

// OpenKeys reads what an Authority signs with. The set in the store is verified
// as a gateway elsewhere does, against a pin that the store has no part in: the
// one that Init wrote beside the signing key. Otherwise whoever can write the
// store could put a root and a key of his own there. It refuses a set of another
// authority and one that does not name the signing key, for every ticket would
// be refused at the gateways. [ErrNotInitialised] and [ErrHalfInitialised] as
// for Init, and [ErrNoPin].
func OpenKeys(ctx context.Context, store Store, authority, signingPath string) (Keys, error) {
	stored, err := store.KeySet(ctx)
	if errors.Is(err, ErrNotFound) {
		if err := checkAbsent([]string{signingPath, PinPath(signingPath)}); err != nil {
			return Keys{}, err
		}
		return Keys{}, ErrNotInitialised
	}
	if err != nil {
		return Keys{}, fmt.Errorf("reading the key set: %w", err)
	}
	k := Keys{}
	if k.Pin, err = readPin(PinPath(signingPath)); err != nil {
		return Keys{}, err
	}
	if k.Set, err = ticket.VerifyKeySet(stored.Signed, authority, k.Pin); err != nil {
		return Keys{}, fmt.Errorf("the stored key set is not one of %s by the pin in %s: %w",
			authority, PinPath(signingPath), err)
	}
	if k.Set.Version != stored.Version {
		return Keys{}, fmt.Errorf("the store says version %d of a key set that says %d", stored.Version, k.Set.Version)
	}
	key, err := ReadPrivateKey(signingPath)
	if err != nil {
		return Keys{}, fmt.Errorf("signing key: %w", err)
	}
	if k.Signer, err = ticket.NewSigner(authority, key); err != nil {
		return Keys{}, err
	}
	if !k.Set.Names(k.Signer.KeyID()) {
		return Keys{}, fmt.Errorf("%s: key %s is not in key set version %d: gateways would refuse its tickets",
			signingPath, k.Signer.KeyID(), k.Set.Version)
	}
	return k, nil
}
