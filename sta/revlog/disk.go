package revlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/sallyport/sallyport/sta/ticket"
)

// ErrLocked: another process has the file open.
var ErrLocked = errors.New("another process has it open")

// DamagedError: the file holds what no log of ours would.
type DamagedError struct {
	What string
	Err  error
}

func (e *DamagedError) Error() string {
	return "the revocation log is damaged (" + e.What + "): " + e.Err.Error() +
		"; put a good copy in its place, or move it away: what the store and other nodes know comes back"
}
func (e *DamagedError) Unwrap() error { return e.Err }

// The buckets of the file. The sum is the XOR of SHA-256 over each record of the
// first three, so that none goes missing, appears or changes unnoticed: entries
// name one another, but nothing names the last of a log.
//
//	entries   writer NUL position (8 bytes, big endian) → the signed entry
//	from      writer → position up to which it is forgotten (8 bytes), hash there (32),
//	                   when the last of what is forgotten could be (8, Unix seconds)
//	notes     name → value
//	meta      schema → "1"
//	          sum → 32 bytes
var (
	entries = []byte("entries")
	from    = []byte("from")
	notes   = []byte("notes")
	meta    = []byte("meta")

	schemaKey = []byte("schema")
	schema    = []byte("1")
	sumKey    = []byte("sum")
)

// lockWait is how long a predecessor that is just ending may take.
const lockWait = time.Second

// disk is the log's file. Its methods are called one at a time.
type disk struct {
	db   *bolt.DB
	file *os.File
	// broken is set when bbolt or the memory behind it gave way in the midst of
	// something: it holds locks then, and nobody knows in what state.
	broken error
}

func openDisk(path string) (*disk, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	d := &disk{}
	err := d.open(path)
	if err == nil {
		err = d.guard(d.prepare)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), d.close())
	}
	return d, nil
}

func (d *disk) open(path string) error {
	err := d.guard(func() (err error) {
		d.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout: lockWait, FreelistType: bolt.FreelistMapType, OpenFile: d.openFile,
		})
		return err
	})
	var errno syscall.Errno
	switch {
	case err == nil:
	case errors.Is(err, berrors.ErrTimeout):
		return ErrLocked
	case d.file == nil, d.broken != nil, errors.As(err, &errno):
		return err
	default: // bbolt does not like what it read
		return &DamagedError{"the file", err}
	}
	if err := checkPages(d.file); err != nil {
		return &DamagedError{"the file", err}
	}
	return nil
}

// openFile opens the file and refuses one that is not for its owner alone: by
// who may read it, names of users get out, and who may write it decides what is
// revoked.
func (d *disk) openFile(path string, flag int, mode os.FileMode) (*os.File, error) {
	made := false
	file, err := os.OpenFile(path, flag&^os.O_CREATE, mode)
	if errors.Is(err, os.ErrNotExist) {
		made = true
		file, err = os.OpenFile(path, flag|os.O_CREATE|os.O_EXCL, mode)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	case info.Size() == 0 && !made: // bbolt would begin anew
		err = &DamagedError{"the file", errors.New("it is empty")}
	case info.Mode().Perm()&0o077 != 0:
		err = fmt.Errorf("others may read or write it (mode %04o); chmod 600", info.Mode().Perm())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	d.file = file
	return file, nil
}

// guard turns a panic into an error. bbolt has the file mapped into memory, so a
// disk that cannot be read is a fault; and a revocation must be in force whatever
// the disk does. What gave way keeps the lock on the file until the process ends.
func (d *disk) guard(f func() error) (err error) {
	if d.broken != nil {
		return d.broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			d.broken = &DamagedError{"the file", fmt.Errorf("%v", p)}
			err = d.broken
		}
	}()
	return f()
}

// prepare makes the buckets of a new file, and checks the schema of an old one.
func (d *disk) prepare() error {
	fresh := false
	err := d.db.View(func(tx *bolt.Tx) error {
		if fresh = tx.ID() < 2; fresh { // nothing was ever committed to it
			return nil
		}
		for _, name := range [][]byte{entries, from, notes, meta} {
			if tx.Bucket(name) == nil {
				return &DamagedError{"bucket " + string(name), errors.New("it is missing, or the file is none of ours")}
			}
		}
		if !bytes.Equal(tx.Bucket(meta).Get(schemaKey), schema) {
			return &DamagedError{"schema", errors.New("written by another version")}
		}
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	err = d.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{entries, from, notes, meta} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		var empty sum
		return errors.Join(tx.Bucket(meta).Put(schemaKey, schema), tx.Bucket(meta).Put(sumKey, empty[:]))
	})
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(d.db.Path()))
}

// syncFolder makes a new file's name outlive a power failure.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func (d *disk) close() error {
	if d.broken == nil && d.db != nil {
		return d.db.Close()
	}
	if d.file == nil {
		return nil
	}
	if err := d.file.Close(); !errors.Is(err, os.ErrClosed) { // bbolt may have closed it
		return err
	}
	return nil
}

// update makes a change, wholly or not at all, and keeps the sum.
func (d *disk) update(f func(*change) error) error {
	return d.guard(func() error {
		return d.db.Update(func(tx *bolt.Tx) error {
			c := &change{tx: tx}
			copy(c.sum[:], tx.Bucket(meta).Get(sumKey))
			if err := f(c); err != nil {
				return err
			}
			return tx.Bucket(meta).Put(sumKey, c.sum[:])
		})
	})
}

// put writes entries, each writer's in order.
func (d *disk) put(list []ticket.Entry) error {
	return d.update(func(c *change) error {
		for i := range list {
			e := &list[i]
			if e.Position > 1 && c.tx.Bucket(entries).Get(place(e.Writer, e.Position-1)) == nil && !c.begins(e) {
				// What was before it is forgotten: it begins the log here.
				w := writer{from: e.Position - 1, last: e.Previous}
				if err := errors.Join(c.clear(e.Writer, e.Position), c.putFrom(e.Writer, &w)); err != nil {
					return err
				}
			}
			if err := c.put(entries, place(e.Writer, e.Position), []byte(e.Signed)); err != nil {
				return err
			}
		}
		return nil
	})
}

// drop removes what was forgotten of some writers: of those that are not known
// any longer, everything.
func (d *disk) drop(writers map[string]*writer, names []string) error {
	return d.update(func(c *change) error {
		for _, name := range names {
			var err error
			if w := writers[name]; w != nil {
				err = errors.Join(c.clear(name, w.from+1), c.putFrom(name, w))
			} else {
				err = errors.Join(c.clear(name, ticket.MaxPosition+1), c.remove(from, []byte(name)))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *disk) note(name string, value []byte) error {
	return d.update(func(c *change) error { return c.put(notes, []byte(name), value) })
}

func (d *disk) noted(name string) (value []byte, err error) {
	err = d.guard(func() error {
		return d.db.View(func(tx *bolt.Tx) error {
			value = bytes.Clone(tx.Bucket(notes).Get([]byte(name)))
			return nil
		})
	})
	return value, err
}

// load reads every log and checks that each is whole.
func (d *disk) load() (writers map[string]*writer, err error) {
	err = d.guard(func() error {
		return d.db.View(func(tx *bolt.Tx) error {
			l := loader{writers: make(map[string]*writer)}
			err := errors.Join(
				tx.Bucket(from).ForEach(l.from),
				tx.Bucket(notes).ForEach(l.note))
			if err == nil {
				err = tx.Bucket(entries).ForEach(l.entry)
			}
			if err == nil && !bytes.Equal(l.sum[:], tx.Bucket(meta).Get(sumKey)) {
				err = &DamagedError{"sum", errors.New("the records are not those that were written")}
			}
			writers = l.writers
			return err
		})
	})
	return writers, err
}

// place is the key of an entry. No writer's name holds a NUL.
func place(name string, position uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(name), 0), position)
}
