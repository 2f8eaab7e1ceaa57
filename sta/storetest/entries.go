package storetest

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// newLog makes entries of one writer at positions 1 to n, signed with a key of
// their own: another log of the same writer has other entries.
func newLog(t *testing.T, writer string, n int) []ticket.Entry {
	t.Helper()
	positions := make([]uint64, n)
	for i := range positions {
		positions[i] = uint64(i) + 1
	}
	return newLogAt(t, writer, positions...)
}

func newLogAt(t *testing.T, writer string, positions ...uint64) []ticket.Entry {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ticket.NewSigner("STA01", key)
	if err != nil {
		t.Fatal(err)
	}
	log := make([]ticket.Entry, len(positions))
	var previous ticket.Hash
	for i, position := range positions {
		log[i], err = signer.SignEntry(writer, position, previous, ticket.Revocation{
			Time: epoch, By: "desk", User: "jürgen", Cut: epoch.Add(ticket.CutAhead), Forget: epoch.Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		previous = log[i].Hash()
	}
	return log
}

// logsOf gives what Entries should give of these, which are in order, and the
// positions.
func logsOf(entries []ticket.Entry) (logs map[string][]string, last ticket.Positions) {
	logs, last = make(map[string][]string), make(ticket.Positions)
	for _, e := range entries {
		logs[e.Writer] = append(logs[e.Writer], e.Signed)
		last[e.Writer] = e.Position
	}
	return logs, last
}

// plenty is a limit that is never reached.
const plenty = 100_000

// after checks what Entries gives past positions. entries is what is to come,
// last how far the logs go.
func after(t *testing.T, s sta.Store, from ticket.Positions, entries []ticket.Entry, last ticket.Positions) {
	t.Helper()
	logs, positions, err := s.Entries(t.Context(), from, plenty)
	if err != nil {
		t.Errorf("Entries: %v", err)
		return
	}
	expected, _ := logsOf(entries)
	if len(logs) > 0 || len(expected) > 0 {
		same(t, "logs past "+from.String(), logs, expected)
	}
	if len(positions) > 0 || len(last) > 0 {
		same(t, "last", positions, last)
	}
}

// stored checks that the store holds these entries and no more.
func stored(t *testing.T, s sta.Store, entries []ticket.Entry) {
	t.Helper()
	_, last := logsOf(entries)
	after(t, s, nil, entries, last)
}

// writers have names that begin alike, so that none is taken for another's.
var writers = []string{"g", "gw", "gw-1", "gw.1", "gw.10", "gw.2", "gw1", "GW", strings.Repeat("w", ticket.MaxWriter)}

func entriesAfter(t *testing.T, s sta.Store) {
	stored(t, s, nil)
	after(t, s, ticket.Positions{"gw": 7}, nil, nil)

	logs := make(map[string][]ticket.Entry)
	var all []ticket.Entry
	for i, writer := range writers {
		logs[writer] = newLog(t, writer, 3+i)
		all = append(all, logs[writer]...)
	}
	want(t, s.PutEntries(t.Context(), all), nil)
	stored(t, s, all)

	_, last := logsOf(all)
	after(t, s, last, nil, last)
	from, beyond := ticket.Positions{"nobody": 3}, ticket.Positions{}
	var rest []ticket.Entry
	for i, writer := range writers {
		from[writer], beyond[writer] = uint64(i), ticket.MaxPosition
		rest = append(rest, logs[writer][i:]...)
	}
	after(t, s, from, rest, last)
	after(t, s, beyond, nil, last)
	// Whoever has read one log to its end has not read the others.
	after(t, s, ticket.Positions{"gw": last["gw"]}, slices.DeleteFunc(all, func(e ticket.Entry) bool { return e.Writer == "gw" }), last)
}

func entriesInPieces(t *testing.T, s sta.Store) {
	all := slices.Concat(newLog(t, "a", 350), newLog(t, "b", 1), newLog(t, "c", 149))
	want(t, s.PutEntries(t.Context(), all), nil)
	logs, last := logsOf(all)
	for _, limit := range []int{500, 499, 150, 64} {
		read, from := make(map[string][]string), make(ticket.Positions)
		for {
			piece, there, err := s.Entries(t.Context(), from, limit)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "last", there, last)
			n := 0
			for writer, entries := range piece {
				if len(entries) == 0 {
					t.Errorf("a log of %s without entries", writer)
				}
				n += len(entries)
				read[writer] = append(read[writer], entries...)
				from[writer] += uint64(len(entries))
			}
			if n > limit {
				t.Fatalf("%d entries, want at most %d", n, limit)
			}
			if n == 0 {
				break
			}
		}
		same(t, "read in pieces", read, logs)
	}
}

func entriesAgain(t *testing.T, s sta.Store) {
	want(t, s.PutEntries(t.Context(), nil), nil)
	log := newLog(t, "gw", 4)
	want(t, s.PutEntries(t.Context(), log[:2]), nil)
	want(t, s.PutEntries(t.Context(), log[:2]), nil)
	want(t, s.PutEntries(t.Context(), log[1:]), nil)
	want(t, s.PutEntries(t.Context(), slices.Concat(log, log)), nil)
	stored(t, s, log)
}

func entriesOutOfOrder(t *testing.T, s sta.Store) {
	log := newLog(t, "gw", 5)
	want(t, s.PutEntries(t.Context(), log[4:]), nil)
	stored(t, s, log[4:])
	want(t, s.PutEntries(t.Context(), []ticket.Entry{log[2], log[0]}), nil)
	gaps := []ticket.Entry{log[0], log[2], log[4]}
	stored(t, s, gaps)
	after(t, s, ticket.Positions{"gw": 2}, gaps[1:], ticket.Positions{"gw": 5})
	want(t, s.PutEntries(t.Context(), []ticket.Entry{log[3], log[1]}), nil)
	stored(t, s, log)
}

// entriesFarApart: positions are numbers of up to 2⁵³, and sort as such.
func entriesFarApart(t *testing.T, s sta.Store) {
	log := newLogAt(t, "gw", 1, 2, 9, 10, 255, 256, 1<<31, 1<<32, 1<<48, ticket.MaxPosition-1, ticket.MaxPosition)
	mixed := slices.Clone(log)
	slices.Reverse(mixed)
	want(t, s.PutEntries(t.Context(), mixed), nil)
	stored(t, s, log)
	for i := range log {
		after(t, s, ticket.Positions{"gw": log[i].Position}, log[i+1:], ticket.Positions{"gw": ticket.MaxPosition})
	}
	end := len(log) - 1
	want(t, s.DropEntries(t.Context(), ticket.Positions{"gw": log[end-1].Position}), nil)
	stored(t, s, log[end:])
}

// forks: the first entry in a place stays, and one that finds its place taken
// does not hold up those beside it.
func forks(t *testing.T, s sta.Store) {
	log, forged, other := newLog(t, "gw", 5), newLog(t, "gw", 2)[1], newLog(t, "other", 2)
	want(t, s.PutEntries(t.Context(), log[:3]), nil)
	want(t, s.PutEntries(t.Context(), []ticket.Entry{forged}), sta.ErrFork)
	stored(t, s, log[:3])
	want(t, s.PutEntries(t.Context(), []ticket.Entry{log[3], forged, other[0]}), sta.ErrFork)
	stored(t, s, slices.Concat(log[:4], other[:1]))
	// Of two in one call, at most one is there.
	want(t, s.PutEntries(t.Context(), []ticket.Entry{log[4], newLog(t, "gw", 5)[4], other[1]}), sta.ErrFork)
	got, _, err := s.Entries(t.Context(), nil, plenty)
	want(t, err, nil)
	if n := len(got["gw"]); n > 5 || len(got["other"]) != 2 {
		t.Errorf("%d entries in 5 places, and %d of 2 beside them", n, len(got["other"]))
	}
	want(t, s.PutEntries(t.Context(), log[:4]), nil)
}

func dropEntries(t *testing.T, s sta.Store) {
	drop := func(upTo ticket.Positions) {
		t.Helper()
		want(t, s.DropEntries(t.Context(), upTo), nil)
	}
	a, b, c := newLog(t, "gw", 6), newLog(t, "gw.1", 4), newLog(t, "gx", 2)
	want(t, s.PutEntries(t.Context(), slices.Concat(a[:5], b, c)), nil)
	drop(nil)
	drop(ticket.Positions{"nobody": 7, "gw": 0})
	stored(t, s, slices.Concat(a[:5], b, c))
	drop(ticket.Positions{"gw": 3, "gx": 1})
	stored(t, s, slices.Concat(a[3:5], b, c[1:]))
	drop(ticket.Positions{"gw": 2})
	stored(t, s, slices.Concat(a[3:5], b, c[1:]))
	// A writer of whom nothing is left is not known any more.
	drop(ticket.Positions{"gw": 5, "gx": ticket.MaxPosition})
	stored(t, s, b)
	// It may go on all the same.
	want(t, s.PutEntries(t.Context(), a[5:]), nil)
	stored(t, s, slices.Concat(a[5:], b))
}

// entriesAtOnce: each log is put by several who know different parts of it, as
// nodes do that write back what the store has lost.
func entriesAtOnce(t *testing.T, one, other sta.Store) {
	const length, copies = 20, 4
	var all []ticket.Entry
	var wg sync.WaitGroup
	for _, writer := range []string{"a", "b", "c"} {
		log := newLog(t, writer, length)
		all = append(all, log...)
		for i := range copies {
			store := []sta.Store{one, other}[i%2]
			wg.Go(func() {
				for at := i; at < length; at += 3 {
					end := min(at+5, length)
					want(t, store.PutEntries(t.Context(), log[at:end]), nil)
					// What was put is there, whatever the others do.
					got, _, err := store.Entries(t.Context(), ticket.Positions{writer: uint64(end - 1)}, plenty)
					if err != nil || !slices.Contains(got[writer], log[end-1].Signed) {
						t.Errorf("%s was put, and is not there: %v", log[end-1].Ref(), err)
					}
				}
			})
		}
	}
	wg.Wait()
	stored(t, one, all)
	stored(t, other, all)
}

// forksAtOnce: two fight for one place. Both may be refused, but who is not has
// it.
func forksAtOnce(t *testing.T, one, other sta.Store) {
	const length = 30
	logs := [][]ticket.Entry{newLog(t, "gw", length), newLog(t, "gw", length)}
	var won [2][length]bool
	var wg sync.WaitGroup
	for i, store := range []sta.Store{one, other} {
		wg.Go(func() {
			for at := range length {
				err := store.PutEntries(t.Context(), logs[i][at:at+1])
				won[i][at] = err == nil
				if err != nil && !errors.Is(err, sta.ErrFork) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, _, err := one.Entries(t.Context(), nil, plenty)
	want(t, err, nil)
	for at := range length {
		if won[0][at] && won[1][at] {
			t.Errorf("both have place %d", at+1)
		}
		for i := range logs {
			if there := slices.Contains(got["gw"], logs[i][at].Signed); won[i][at] != there {
				t.Errorf("place %d: %d won is %v, and it is there is %v", at+1, i, won[i][at], there)
			}
		}
	}
}
