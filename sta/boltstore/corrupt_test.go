package boltstore

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

var now = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func record(id string) *sta.Record {
	return &sta.Record{
		ID: id, Hash: ticket.NewHandle().Hash(), Family: "f-" + id, User: "u", Device: "d",
		Issued: now, Expires: now.Add(time.Hour), Client: "c", Statement: "a.b.c",
	}
}

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "sta.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// alter writes to the file behind the store's back.
func alter(t *testing.T, s *Store, f func(*bolt.Tx) error) {
	t.Helper()
	if err := s.db.Update(f); err != nil {
		t.Fatal(err)
	}
}

// damage changes what stands under a ticket's reference.
func damage(t *testing.T, s *Store, id string, change func([]byte) []byte) {
	t.Helper()
	alter(t, s, func(tx *bolt.Tx) error {
		ref := bytes.Clone(tx.Bucket(ids).Get([]byte(id)))
		return tx.Bucket(tickets).Put(ref, change(bytes.Clone(tx.Bucket(tickets).Get(ref))))
	})
}

// Nobody gets in by a record that cannot be read; but it hides no other, and what
// is needed to revoke its ticket is known.
func TestCorruptRecord(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"empty": func([]byte) []byte { return nil },
		"short": func(b []byte) []byte { return b[:3] },
		"torn":  func(b []byte) []byte { return b[:len(b)/2] },
		"a flipped bit where JSON still reads": func(b []byte) []byte {
			b[strings.Index(string(b), "a.b.c")] ^= 1
			return b
		},
		"no record": func([]byte) []byte { return append([]byte{0, 0, 0, 0}, "null"...) },
		"another's": func([]byte) []byte { b, _ := encode(record("other")); return b },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			r := record("k3")
			if err := s.Put(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			damage(t, s, "k3", change)
			if err := s.Put(t.Context(), record("k4")); err != nil {
				t.Fatal(err)
			}
			var corrupt *CorruptError
			if _, err := s.ByHash(t.Context(), r.Hash); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), `"k3"`) {
				t.Errorf("by its hash: %v; want an error that names the ticket", err)
			}
			for _, f := range []sta.Filter{{Limit: 10}, {User: "u", Limit: 10}, {Device: "d", Limit: 10}} {
				listed, _, err := s.List(t.Context(), f, now)
				if err != nil || len(listed) != 2 || listed[0].ID != "k4" || listed[1].ID != "k3" {
					t.Errorf("listed %+v, %v; want both", listed, err)
				}
			}
			found, err := s.ByID(t.Context(), "k3")
			want := &sta.Record{
				ID: "k3", Family: r.Family, User: "u", Device: "d", Expires: r.Expires, Client: damaged,
			}
			if err != nil || !reflect.DeepEqual(found, want) {
				t.Fatalf("by its id: %+v, %v\nwant %+v", found, err, want)
			}
			// Without its family it is not taken for a member of none.
			alter(t, s, func(tx *bolt.Tx) error {
				return tx.Bucket(members).Delete(join(prefix(r.Family), reference(1, "k3")))
			})
			if _, err := s.ByID(t.Context(), "k3"); !errors.As(err, &corrupt) {
				t.Errorf("without its family: %v", err)
			}
			if listed, _, err := s.List(t.Context(), sta.Filter{Limit: 10}, now); err != nil || len(listed) != 2 {
				t.Errorf("without its family: listed %+v, %v", listed, err)
			}
			// It can be got rid of, and stops no sweep.
			if swept, err := s.Sweep(t.Context(), now.Add(2*time.Hour), 10); err != nil || swept != 2 {
				t.Errorf("swept %d, %v", swept, err)
			}
			if _, err := s.ByHash(t.Context(), r.Hash); !errors.Is(err, sta.ErrNotFound) {
				t.Errorf("after the sweep: %v", err)
			}
			for _, f := range []sta.Filter{{Limit: 10}, {User: "u", Limit: 10}, {Device: "d", Limit: 10}} {
				if found, _, err := s.List(t.Context(), f, now); err != nil || len(found) != 0 {
					t.Errorf("listed after the sweep: %d, %v", len(found), err)
				}
			}
		})
	}
}

func FuzzDecodeRecord(f *testing.F) {
	good, err := encode(record("k3"))
	if err != nil {
		f.Fatal(err)
	}
	ref := reference(1, "k3")
	f.Add(ref, good)
	f.Add(ref, good[:len(good)-1])
	f.Add(ref[:3], good)
	f.Add([]byte{}, []byte{})
	f.Add(ref, append([]byte{0, 0, 0, 0}, "{}"...))
	f.Add(reference(1, "another"), good)
	f.Fuzz(func(t *testing.T, ref, data []byte) {
		r, err := decode(ref, data)
		if err != nil {
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Errorf("error is %v", err)
			}
			return
		}
		if r.ID != idOf(ref) {
			t.Errorf("record of %q under %q", r.ID, idOf(ref))
		}
		if _, err := encode(r); err != nil {
			t.Error(err)
		}
	})
}
