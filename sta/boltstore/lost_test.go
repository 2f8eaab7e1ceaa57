package boltstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// alter writes to the file behind the store's back.
func alter(t *testing.T, s *Store, f func(*bolt.Tx) error) {
	t.Helper()
	if err := s.db.Update(f); err != nil {
		t.Fatal(err)
	}
}

// revoked gives a store with three tickets, each revoked; serials are 1 to 3.
func revoked(t *testing.T, s *Store) (records []*sta.Record, revocations []ticket.Revocation) {
	t.Helper()
	for _, id := range []string{"k1", "k2", "k3"} {
		r := record(id)
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		revocation, _, err := s.Revoke(t.Context(), ticket.Revocation{Family: r.Family, Time: now, By: "desk", Forget: now})
		if err != nil {
			t.Fatal(err)
		}
		records, revocations = append(records, r), append(revocations, revocation)
	}
	return records, revocations
}

// spoiled is what may become of a revocation's record.
func spoiled(t *testing.T) map[string]func([]byte) []byte {
	return map[string]func([]byte) []byte{
		"empty": func([]byte) []byte { return nil },
		"short": func(b []byte) []byte { return b[:3] },
		"torn":  func(b []byte) []byte { return b[:len(b)/2] },
		"a flipped bit in the family, where JSON still reads": func(b []byte) []byte {
			b[bytes.Index(b, []byte("f-k2"))] ^= 1
			return b
		},
		"another's": func([]byte) []byte {
			b, err := encodeRevocation(&ticket.Revocation{Serial: 3, Family: "f-k3"})
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	}
}

func spoil(t *testing.T, s *Store, serial uint64, how func([]byte) []byte) {
	t.Helper()
	alter(t, s, func(tx *bolt.Tx) error {
		b := tx.Bucket(revocations)
		return b.Put(number(serial), how(bytes.Clone(b.Get(number(serial)))))
	})
}

// A revocation whose record cannot be read is in force all the same, and holds
// up neither those before it nor those behind it.
func TestDamagedRevocationIsInForce(t *testing.T) {
	for name, how := range spoiled(t) {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			records, want := revoked(t, s)
			spoil(t, s, 2, how)
			want[1].Time, want[1].By = time.Time{}, damaged
			for after := range uint64(3) {
				got, last, err := s.Revocations(t.Context(), after, 10)
				if err != nil || last != 3 || !reflect.DeepEqual(got, want[after:]) {
					t.Errorf("past %d: %+v, %d, %v\nwant %+v", after, got, last, err, want[after:])
				}
			}
			for _, find := range []func() (*sta.Record, error){
				func() (*sta.Record, error) { return s.ByID(t.Context(), "k2") },
				func() (*sta.Record, error) { return s.ByHash(t.Context(), records[1].Hash) },
			} {
				if r, err := find(); err != nil || r.Revoked == nil || *r.Revoked != want[1] {
					t.Errorf("found %+v, %v; want it revoked", r, err)
				}
			}
			again, already, err := s.Revoke(t.Context(), ticket.Revocation{Family: "f-k2", Time: now})
			if err != nil || !already || again != want[1] {
				t.Errorf("revoked again: %+v, %v, %v", again, already, err)
			}
			if err := s.Put(t.Context(), &sta.Record{ID: "new", Family: "f-k2"}); !errors.Is(err, sta.ErrFamilyRevoked) {
				t.Errorf("a new member: %v", err)
			}
			// It goes when its time has come, and nothing of it stays.
			if swept, err := s.Sweep(t.Context(), now.Add(time.Hour), 10); err != nil || swept != (sta.Swept{Tickets: 3, Revocations: 3}) {
				t.Errorf("swept %+v, %v", swept, err)
			}
			alter(t, s, func(tx *bolt.Tx) error {
				for _, name := range [][]byte{revocations, families, forget} {
					if key, _ := tx.Bucket(name).Cursor().First(); key != nil {
						t.Errorf("%s is left with %x", name, key)
					}
				}
				return nil
			})
		})
	}
}

// When nothing says whom a revocation ended, that is told beside the others, and
// the file is not opened again.
func TestLostRevocationIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sta.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_, want := revoked(t, s)
	spoil(t, s, 2, func([]byte) []byte { return []byte("{") })
	alter(t, s, func(tx *bolt.Tx) error { return tx.Bucket(families).Delete([]byte("f-k2")) })

	named := func(err error) {
		t.Helper()
		var lost *sta.LostError
		if !errors.As(err, &lost) || !reflect.DeepEqual(lost.Serials, []uint64{2}) {
			t.Errorf("error is %v; want one that names revocation 2", err)
		}
	}
	got, last, err := s.Revocations(t.Context(), 0, 10)
	named(err)
	if last != 3 || !reflect.DeepEqual(got, []ticket.Revocation{want[0], want[2]}) {
		t.Errorf("beside it: %+v, last %d", got, last)
	}
	if got, _, err = s.Revocations(t.Context(), 0, 1); err != nil || len(got) != 1 {
		t.Errorf("before it: %+v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path); err == nil {
		_ = s.Close()
	}
	named(err)
}

// A revocation of which nobody knows when to forget it is not forgotten.
func TestDamagedRevocationWithoutATime(t *testing.T) {
	s := newStore(t)
	_, want := revoked(t, s)
	spoil(t, s, 1, func([]byte) []byte { return nil })
	alter(t, s, func(tx *bolt.Tx) error { return tx.Bucket(forget).Delete(join(unix(want[0].Forget), number(1))) })
	got, _, err := s.Revocations(t.Context(), 0, 1)
	if err != nil || len(got) != 1 || got[0].Family != "f-k1" || got[0].Forget.Before(now.AddDate(1000, 0, 0)) {
		t.Errorf("%+v, %v", got, err)
	}
	if data, err := json.Marshal(got); err != nil {
		t.Errorf("it cannot be told: %s, %v", data, err)
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
			revoked(t, s)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && !bytes.Equal(before, after) {
			t.Error("the file has changed")
		}
		before = after
	}
}
