package auditlog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// dyingDisk fails, while it is bad, at all that changes the file: a write gets
// half through, and nothing can be cut off.
type dyingDisk struct {
	file
	bad    bool
	whole  bool // writes get through whole, and fail at the fsync
	noCut  bool
	noSync bool
}

func (d *dyingDisk) Write(p []byte) (int, error) {
	if !d.bad || d.whole {
		return d.file.Write(p)
	}
	n, _ := d.file.Write(p[:len(p)/2])
	return n, syscall.EIO
}

func (d *dyingDisk) Truncate(size int64) error {
	if d.bad && d.noCut {
		return syscall.EIO
	}
	return d.file.Truncate(size)
}

func (d *dyingDisk) Sync() error {
	if d.bad && d.noSync {
		return syscall.EIO
	}
	return d.file.Sync()
}

func TestTornGroupSpoilsNoOther(t *testing.T) {
	for name, disk := range map[string]*dyingDisk{
		"torn, and not to be cut":       {noCut: true},
		"whole but refused, not cut":    {noCut: true, whole: true, noSync: true},
		"cut, but not durably":          {noSync: true},
		"cut off at once, as a control": {},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			l := openLog(t, path)
			disk.file = l.file
			l.file = disk
			add(t, l, "before")
			disk.bad = true
			for range 2 {
				if err := l.Append(t.Context(), event("lost")); !errors.Is(err, syscall.EIO) {
					t.Errorf("error is %v", err)
				}
			}
			disk.bad = false
			add(t, l, "after")
			if users, torn := usersIn(t, path); strings.Join(users, " ") != "before after" || torn != 0 {
				t.Errorf("lines of %v, %d torn; want before and after", users, torn)
			}
		})
	}
}

// While the file is torn, a rotation may cut it short, move it away, or leave it
// where it is.
func TestTornFileIsRotated(t *testing.T) {
	tear := func(t *testing.T) (*Log, *dyingDisk, string) {
		path := filepath.Join(t.TempDir(), "audit.log")
		l := openLog(t, path)
		add(t, l, "before")
		disk := &dyingDisk{file: l.file, bad: true, noCut: true}
		l.file = disk
		if err := l.Append(t.Context(), event("lost")); err == nil {
			t.Fatal("written")
		}
		return l, disk, path
	}
	after := func(t *testing.T, l *Log, path, want string) {
		t.Helper()
		add(t, l, "after")
		if users, torn := usersIn(t, path); strings.Join(users, " ") != want || torn != 0 {
			t.Errorf("lines of %v, %d torn; want %s", users, torn, want)
		}
	}
	t.Run("cut short", func(t *testing.T) {
		l, disk, path := tear(t)
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		disk.bad = false
		after(t, l, path, "after")
	})
	t.Run("moved away", func(t *testing.T) {
		l, _, path := tear(t)
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		after(t, l, path, "after")
	})
	t.Run("left in place", func(t *testing.T) {
		l, disk, path := tear(t)
		if err := l.Reopen(); !errors.Is(err, syscall.EIO) {
			t.Errorf("Reopen: %v; want that it is still torn", err)
		}
		disk.bad = false
		after(t, l, path, "before after")
	})
	t.Run("left in place, and better again", func(t *testing.T) {
		l, disk, path := tear(t)
		disk.bad = false
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		after(t, l, path, "before after")
	})
}

// Lines in a file that has no name any more are lost; so none is taken there.
func TestRemovedFileTakesNoLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := openLog(t, path)
	add(t, l, "before")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	add(t, l, "moved away") // which is no loss: rotations do so
	if err := os.Remove(path + ".1"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.Append(t.Context(), event("lost")); !errors.Is(err, ErrRemoved) {
			t.Fatalf("error is %v, want ErrRemoved", err)
		}
		// Nor does another file by its name make up for it.
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	add(t, l, "after")
	if users, torn := usersIn(t, path); strings.Join(users, " ") != "after" || torn != 0 {
		t.Errorf("lines of %v, %d torn; want after", users, torn)
	}
}

func TestLogThatOthersMayWriteIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	add(t, openLog(t, path), "before")
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o640: true, 0o644: true, 0o660: false, 0o606: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		l, err := Open(path)
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "chmod go-w") {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if err == nil {
			_ = l.Close()
		}
	}
}
