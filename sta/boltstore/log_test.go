package boltstore

import (
	"bytes"
	"crypto/ed25519"
	"reflect"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport/sallyport/sta/ticket"
)

// newLog makes entries of one writer at positions 1 to n.
func newLog(t testing.TB, writer string, n uint64) (log []ticket.Entry) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ticket.NewSigner("STA01", key)
	if err != nil {
		t.Fatal(err)
	}
	var previous ticket.Hash
	for position := range n {
		e, err := signer.SignEntry(writer, position+1, previous, ticket.Revocation{
			Time: now, By: "desk", Family: "f", Forget: now.Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		log, previous = append(log, e), e.Hash()
	}
	return log
}

// spoil changes what stands in the place of an entry.
func spoil(t *testing.T, s *Store, e *ticket.Entry, how func([]byte) []byte) {
	t.Helper()
	alter(t, s, func(tx *bolt.Tx) error {
		key := place(e.Writer, e.Position)
		return tx.Bucket(log).Put(key, how(bytes.Clone(tx.Bucket(log).Get(key))))
	})
}

// given checks what the store gives past positions.
func given(t *testing.T, s *Store, after ticket.Positions, want map[string][]ticket.Entry, last ticket.Positions) {
	t.Helper()
	logs := make(map[string][]string)
	for writer, entries := range want {
		for _, e := range entries {
			logs[writer] = append(logs[writer], e.Signed)
		}
	}
	got, there, err := s.Entries(t.Context(), after, 100)
	if err != nil || !reflect.DeepEqual(got, logs) || !reflect.DeepEqual(there, last) {
		t.Errorf("past %v: %d logs, last %v, %v\nwant %d logs, last %v", after, len(got), there, err, len(logs), last)
	}
}

// An entry that cannot be read, or stands in a place that is not its own, is left
// out and hides no other; and its place is free for whoever has it.
func TestDamagedEntry(t *testing.T) {
	type entries = map[string][]ticket.Entry
	for name, how := range map[string]func(mine, others []ticket.Entry) func([]byte) []byte{
		"empty": func(_, _ []ticket.Entry) func([]byte) []byte { return func([]byte) []byte { return nil } },
		"torn":  func(_, _ []ticket.Entry) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)/2] } },
		"a flipped bit": func(_, _ []ticket.Entry) func([]byte) []byte {
			return func(b []byte) []byte { b[len(b)/3] ^= 0x80; return b }
		},
		"too long": func(_, _ []ticket.Entry) func([]byte) []byte {
			return func([]byte) []byte { return bytes.Repeat([]byte("a"), ticket.MaxEntry+1) }
		},
		"another's place": func(mine, _ []ticket.Entry) func([]byte) []byte {
			return func([]byte) []byte { return []byte(mine[0].Signed) }
		},
		"another writer's": func(_, others []ticket.Entry) func([]byte) []byte {
			return func([]byte) []byte { return []byte(others[1].Signed) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			mine, others := newLog(t, "gw", 3), newLog(t, "gw.1", 3)
			put := func(all ...ticket.Entry) {
				t.Helper()
				if err := s.PutEntries(t.Context(), all); err != nil {
					t.Errorf("PutEntries: %v", err)
				}
			}
			put(append(mine, others...)...)
			full := ticket.Positions{"gw": 3, "gw.1": 3}

			spoil(t, s, &mine[1], how(mine, others))
			given(t, s, nil, entries{"gw": {mine[0], mine[2]}, "gw.1": others}, full)
			given(t, s, ticket.Positions{"gw": 1, "gw.1": 3}, entries{"gw": mine[2:]}, full)
			put(mine[1])
			given(t, s, nil, entries{"gw": mine, "gw.1": others}, full)

			// At the end of a log it is as if it had never been there.
			spoil(t, s, &mine[2], how(mine, others))
			given(t, s, nil, entries{"gw": mine[:2], "gw.1": others}, ticket.Positions{"gw": 2, "gw.1": 3})
			put(mine[2])
			given(t, s, nil, entries{"gw": mine, "gw.1": others}, full)

			// So it is with a whole log, and at the end of all.
			for i := range others {
				spoil(t, s, &others[i], func([]byte) []byte { return []byte("{}") })
			}
			given(t, s, nil, entries{"gw": mine}, ticket.Positions{"gw": 3})
			put(others...)
			given(t, s, nil, entries{"gw": mine, "gw.1": others}, full)

			// It goes with the others.
			spoil(t, s, &mine[1], how(mine, others))
			if err := s.DropEntries(t.Context(), ticket.Positions{"gw": 3}); err != nil {
				t.Error(err)
			}
			alter(t, s, func(tx *bolt.Tx) error {
				if n := tx.Bucket(log).Stats().KeyN; n != len(others) {
					t.Errorf("%d are left, want the other writer's %d", n, len(others))
				}
				return nil
			})
		})
	}
}

func FuzzEntryAt(f *testing.F) {
	good := newLog(f, "gw", 2)
	for _, e := range good {
		f.Add(place("gw", e.Position), []byte(e.Signed))
	}
	f.Add(place("gw", 2), []byte(good[0].Signed))
	f.Add(place("gw.1", 1), []byte(good[0].Signed))
	f.Add([]byte("gw"), []byte(good[0].Signed))
	f.Add([]byte{}, []byte{})
	f.Add(place("gw", 1), []byte("e30.e30."))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		e, ok := entryAt(key, value)
		if !ok {
			return
		}
		writer, position, found := strings.Cut(string(key), "\x00")
		if !found || writer != e.Writer || position != string(number(e.Position)) || e.Signed != string(value) {
			t.Errorf("entry %s under %q", e.Ref(), key)
		}
	})
}
