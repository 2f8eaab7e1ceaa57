//go:build unix

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is no file is refused, by its path, and neither waited for nor read for ever.
func TestOnlyFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/zero", link); err != nil {
		t.Fatal(err)
	}
	for kind, read := range map[string]func(string) error{
		"key":      func(path string) error { _, err := ReadKey(path); return err },
		"made key": func(path string) error { _, _, err := MakeKey(path); return err },
		"tickets":  func(path string) error { _, err := ParseEndpoint("https://gw:443?tickets=" + path); return err },
		"CA":       func(path string) error { _, err := ParseEndpoint("https://gw:443?ca=" + path); return err },
		"SLO":      func(path string) error { _, err := ReadObjectivesFile(path); return err },
	} {
		for _, path := range []string{fifo, dir, "/dev/zero", link} {
			refused := make(chan error, 1)
			go func() { refused <- read(path) }()
			select {
			case err := <-refused:
				if err == nil || !strings.Contains(err.Error(), path+" is not a regular file") {
					t.Errorf("%s, %s: %v", kind, path, err)
				}
			case <-time.After(long):
				t.Fatalf("%s: %s is waited for", kind, path)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, maxCA+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readFile(filepath.Join(dir, "large"), maxCA); err == nil || !strings.Contains(err.Error(), "large is larger than") {
		t.Errorf("%v", err)
	}
}

// A shell's <(…) and a pipe into /dev/stdin are read as they always were, but for secrets.
func TestPipesOfTheShell(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if _, err := write.WriteString("failures: 1%\n"); err != nil {
		t.Fatal(err)
	}
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/dev/fd/%d", read.Fd())
	if o, err := ReadObjectivesFile(path); err != nil || o.Count() != 1 {
		t.Errorf("%d objectives, %v", o.Count(), err)
	}
	if _, err := ReadKey(path); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("a key from a pipe: %v", err)
	}
}
