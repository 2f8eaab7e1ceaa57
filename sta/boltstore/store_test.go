package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
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
