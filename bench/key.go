package bench

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	keyBytes   = 32 // the least that a key may have
	maxKeyFile = 4 << 10
)

// Key is the secret that the hosts of a run share. Whoever has it may make the hosts
// send traffic to anybody, so it is worth guarding. It prints as [secret].
type Key struct{ secret []byte }

// String hides the key.
func (Key) String() string { return "[secret]" }

// GoString hides it from %#v.
func (Key) GoString() string { return "[secret]" }

// ReadKey reads a key file: one line of base64, of at least 32 random bytes, that
// nobody but its owner may read.
func ReadKey(path string) (Key, error) {
	text, err := readSecret(path, maxKeyFile)
	if err != nil {
		return Key{}, err
	}
	secret := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(secret, bytes.TrimSpace(text))
	if err != nil || n < keyBytes {
		return Key{}, fmt.Errorf("%s is not a key: it must be one line of base64 of at least %d random bytes", path, keyBytes)
	}
	return Key{secret[:n]}, nil
}

// MakeKey reads a key file, and makes it first if there is none. It says whether it
// made it.
func MakeKey(path string) (key Key, made bool, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		key, err = ReadKey(path)
		return key, false, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // 0600
	if err != nil {
		return Key{}, false, fmt.Errorf("cannot make the key file: %w", err)
	}
	defer os.Remove(f.Name())
	secret := make([]byte, keyBytes)
	rand.Read(secret)
	_, err = fmt.Fprintln(f, base64.StdEncoding.EncodeToString(secret))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Key{}, false, fmt.Errorf("cannot make the key file: %w", err)
	}
	// A link, unlike a rename, never takes the place of a key that somebody else made
	// in the meantime.
	err = os.Link(f.Name(), path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Key{}, false, fmt.Errorf("cannot make the key file: %w", err)
	}
	made = err == nil
	key, err = ReadKey(path)
	return key, made, err
}
