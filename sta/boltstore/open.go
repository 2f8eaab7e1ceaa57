package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/sallyport/sallyport/sta"
)

var _ sta.Store = (*Store)(nil)

// ErrLocked: another process has the file open.
var ErrLocked = errors.New("another process has it open")

// schema is the layout that doc.go draws. Others are refused.
const schema = 2

// The buckets.
var (
	tickets = []byte("tickets")
	ids     = []byte("ids")
	hashes  = []byte("hashes")
	users   = []byte("users")
	devices = []byte("devices")
	expiry  = []byte("expiry")
	members = []byte("members")
	log     = []byte("log")
	meta    = []byte("meta")
)

var (
	schemaKey = []byte("schema")
	keySetKey = []byte("keyset")
)

// Store is a [sta.Store] in a file.
type Store struct {
	db *bolt.DB
	sta.Board
}

const (
	// lockWait is how long Open waits for another process: a predecessor that
	// is just ending may need a moment.
	lockWait = time.Second
	// gather is how long the first of several writers waits for others to share
	// its fsync. It is well under what an fsync takes on most disks.
	gather = time.Millisecond
	// addressSpace is set aside for the file to grow in. bbolt makes readers
	// wait while it maps a grown file anew; with this, it hardly ever must.
	// It is address space, not memory.
	addressSpace = 1 << 30
)

// Open opens the file, or makes it, mode 0600, and its folder, 0700. [ErrLocked]
// if another process has it open for longer than a second. A file that others
// may write is refused, and so is one of another layout.
func Open(path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         lockWait,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: addressSpace,
		OpenFile:        openFile,
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	db.MaxBatchDelay = gather
	if err := prepare(db); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return &Store{db: db}, nil
}

// openFile opens the file and refuses one that anybody but its owner may write:
// whoever can, decides which tickets are found. A symbolic link is followed, for
// it may well lead to another disk, and what counts is the file behind it, once
// it is open: whoever can plant a link beside it could replace the file as well.
func openFile(path string, flag int, mode os.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	case info.Mode().Perm()&0o022 != 0:
		err = fmt.Errorf("others may write it (mode %04o); make sure that nobody did, and chmod 600 %s",
			info.Mode().Perm(), path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// prepare makes the buckets of a new file, and checks the schema of an old one,
// which it does not write to.
func prepare(db *bolt.DB) error {
	fresh := false
	err := db.View(func(tx *bolt.Tx) error {
		old := tx.Bucket(meta)
		if old == nil {
			fresh = true
			return nil
		}
		return checkSchema(old.Get(schemaKey))
	})
	if err != nil || !fresh {
		return err
	}
	return db.Update(makeBuckets)
}

func checkSchema(found []byte) error {
	switch {
	case bytes.Equal(found, number(schema)):
		return nil
	case len(found) == 8:
		return fmt.Errorf("made by another version of this program: its layout is number %d, and this version reads number %d only",
			binary.BigEndian.Uint64(found), schema)
	}
	return errors.New("a database, but not one of an authority")
}

func makeBuckets(tx *bolt.Tx) error {
	if name, _ := tx.Cursor().First(); name != nil {
		return errors.New("a database, but not one of an authority")
	}
	for _, name := range [][]byte{
		tickets, ids, hashes, users, devices, expiry, members, log, meta,
	} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return tx.Bucket(meta).Put(schemaKey, number(schema))
}

// Close waits for readers and writers to end, and closes the file.
func (s *Store) Close() error { return s.db.Close() }
