package sta

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

const pemPrivateKey = "PRIVATE KEY"

// maxSecretFile bounds what is read of a file with a secret.
const maxSecretFile = 16 << 10

// WritePrivateKey writes a key as PEM (PKCS #8, RFC 8410), mode 0600, into a file
// that must not exist. It is durable on return. Missing folders are made, 0700.
func WritePrivateKey(path string, key ed25519.PrivateKey) error {
	data, err := encodePrivateKey(key)
	if err != nil {
		return err
	}
	return writeNew(path, data)
}

func encodePrivateKey(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("the key has no PKCS #8 form")
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der}), nil
}

// writeNew makes a file, 0600, and missing folders, 0700. It never takes a file
// that was there, and leaves none on an error. The file is durable on return.
func writeNew(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closed := file.Close(); err == nil {
			err = closed
		}
		if err != nil {
			_ = os.Remove(path) // half a key is of no use to anybody
		}
	}()
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a new name in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadPrivateKey reads a key that WritePrivateKey wrote. A file that anybody but
// its owner may read is refused: the key may be known already. Errors never show
// content.
func ReadPrivateKey(path string) (ed25519.PrivateKey, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	key, err := parsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

func parsePrivateKey(data []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != pemPrivateKey || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not one PEM block of type " + pemPrivateKey)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not a PKCS #8 private key")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("not an Ed25519 key")
	}
	return key, nil
}

// readSecret reads a file that nobody else may know.
func readSecret(path string) ([]byte, error) {
	return readPrivate(path, "can be read by others", "replace the secret if it may be known")
}

// readPrivate reads a small regular file that is its owner's alone; of one that
// is not, its error says what is wrong with that and what else to do. Mode and content are those of one open
// file: nobody can swap it in between. Whoever can open such a file owns it, or
// is root: its owner needs no look of its own.
func readPrivate(path, wrong, advice string) ([]byte, error) {
	// Without O_NONBLOCK, a FIFO by this name would hold up the start for ever.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s %s (mode %04o); chmod 600 it, and %s",
			path, wrong, info.Mode().Perm(), advice)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSecretFile {
		return nil, fmt.Errorf("%s is over %d bytes", path, maxSecretFile)
	}
	return data, nil
}
