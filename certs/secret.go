package certs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxFile bounds what is read of any file, in bytes.
const maxFile = 64 << 10

// ErrExposed is the cause when others than its owner can read a secret file.
var ErrExposed = errors.New("it is readable by group or others")

// ReadSecretFile reads a file that holds a secret. It must be a regular file,
// which a symbolic link may lead to, not accessible to group or others, and
// hold 1 byte to 64 KiB. Errors name the file and never what is in it; one
// about the mode is ErrExposed and says how to mend it.
func ReadSecretFile(path string) ([]byte, error) {
	return readFile(path, func(info os.FileInfo) error {
		if info.Mode().Perm()&0o077 != 0 {
			return fmt.Errorf("%s: %w; run: chmod 600 %s", path, ErrExposed, path)
		}
		return nil
	})
}

// readFile reads a bounded regular file. The file that is judged is the one
// that is read, since both go by the descriptor.
func readFile(path string, judge func(os.FileInfo) error) ([]byte, error) {
	// Non-blocking, because opening a named pipe would otherwise wait for
	// somebody to write to it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is no regular file", path)
	}
	if err := judge(info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) == 0:
		return nil, fmt.Errorf("%s: it is empty", path)
	case len(data) > maxFile:
		return nil, fmt.Errorf("%s: it is longer than 64 KiB", path)
	}
	return data, nil
}

func readPublicFile(path string) ([]byte, error) {
	return readFile(path, func(os.FileInfo) error { return nil })
}
