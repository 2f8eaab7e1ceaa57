package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/boltstore"
	"github.com/sallyport/sallyport/sta/storetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string) *boltstore.Store {
	t.Helper()
	store, err := boltstore.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStore(t *testing.T) {
	paths := make(map[sta.Store]string)
	storetest.Suite{
		Open: func(t *testing.T) sta.Store {
			path := filepath.Join(t.TempDir(), "new", "sta.db")
			store := open(t, path)
			paths[store] = path
			return store
		},
		Reopen: func(t *testing.T, s sta.Store) sta.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, paths[s])
		},
	}.Run(t)
}

func TestFileIsItsOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "sta.db")
	defer open(t, path).Close()
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", name, got, want)
		}
	}
}

func TestSecondProcessIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sta.db")
	defer open(t, path).Close()
	// A second open file description stands for a second process: flock(2)
	// tells them apart in the same way.
	if _, err := boltstore.Open(path); !errors.Is(err, boltstore.ErrLocked) {
		t.Errorf("error is %v, want ErrLocked", err)
	}
}

func TestForeignFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sta.db")
	if err := os.WriteFile(path, make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	if store, err := boltstore.Open(path); err == nil {
		_ = store.Close()
		t.Error("a file of zeros was taken for a store")
	}
}

// Who can write the file decides which tickets are found, so only its owner may.
// What counts is the file itself, by whatever name it is reached.
func TestFileThatOthersMayWriteIsRefused(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "sta.db"), filepath.Join(dir, "link.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o640: true, 0o644: true, 0o620: false, 0o602: false, 0o666: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{path, link} {
			store, err := boltstore.Open(name)
			if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "chmod 600 "+name) {
				t.Errorf("%s with mode %04o: %v", filepath.Base(name), mode, err)
			}
			if err == nil {
				_ = store.Close()
			}
		}
	}
	if store, err := boltstore.Open("/dev/null"); err == nil {
		_ = store.Close()
		t.Error("a device was taken for a store")
	}
}
