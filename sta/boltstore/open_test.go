package boltstore

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// A file of another layout is not read as if it were one of this, and stays as
// it is.
func TestAnotherSchemaIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		schema []byte
		want   string
	}{
		"older":   {number(1), "layout is number 1, and this version reads number 2"},
		"newer":   {number(schema + 1), "layout is number 3, and this version reads number 2"},
		"none":    {nil, "not one of an authority"},
		"no such": {[]byte("2"), "not one of an authority"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sta.db")
			s, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			alter(t, s, func(tx *bolt.Tx) error {
				if test.schema == nil {
					return tx.Bucket(meta).Delete(schemaKey)
				}
				return tx.Bucket(meta).Put(schemaKey, test.schema)
			})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			before := content(t, path)
			s, err = Open(path)
			if err == nil {
				_ = s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v; want one that names the file, and says %q", err, test.want)
			}
			if !bytes.Equal(before, content(t, path)) {
				t.Error("the file has changed")
			}
		})
	}
}

// Opening a file that is in order writes nothing.
func TestOpenWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sta.db")
	var before []byte
	for range 3 {
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if before == nil {
			if err := s.Put(t.Context(), record("k1")); err != nil {
				t.Fatal(err)
			}
			if err := s.PutEntries(t.Context(), newLog(t, "gw", 2)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		after := content(t, path)
		if before != nil && !bytes.Equal(before, after) {
			t.Error("the file has changed")
		}
		before = after
	}
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
