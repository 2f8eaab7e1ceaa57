package bench

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// openRegular opens a regular file, and nothing else: a FIFO would hold up whoever opens
// it, and a device could be read for ever. What this process was started with may be
// anything but a folder, where handed says so.
func openRegular(path string, handed bool) (*os.File, os.FileInfo, error) {
	// Without O_NONBLOCK, opening a FIFO would wait for somebody to write into it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !(handed && handedOver(path) && !info.IsDir()) {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// handedOver is whether a path is of something that this process was started with: its
// input, or what a shell makes of <(…).
func handedOver(path string) bool { return path == "/dev/stdin" || strings.HasPrefix(path, "/dev/fd/") }

// readFile reads a file of at most limit bytes that holds no secret.
func readFile(path string, limit int64) ([]byte, error) {
	f, _, err := openRegular(path, true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, limit)
}

func readAll(r io.Reader, path string, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return text, err
}

// readSecret reads a file that holds a secret, and refuses one that others can read.
// What is looked at is the opened file, so that nobody can exchange it in between.
func readSecret(path string, limit int64) ([]byte, error) {
	f, info, err := openRegular(path, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return readAll(f, path, limit)
}
