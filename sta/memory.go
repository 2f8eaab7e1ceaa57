package sta

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// NewMemoryStore gives a Store that lives as long as the process: for the demo,
// for tests, and as the plainest statement of what a Store must do.
func NewMemoryStore() Store {
	return &memoryStore{
		byID:   make(map[string]*numbered),
		byHash: make(map[ticket.Hash]*numbered),
		logs:   make(map[string]map[uint64]string),
	}
}

type memoryStore struct {
	mu sync.RWMutex // guards everything below

	sequence uint64
	order    []*numbered // oldest first
	byID     map[string]*numbered
	byHash   map[ticket.Hash]*numbered

	logs map[string]map[uint64]string // writer → position → signed entry

	keySet *SignedKeySet
	Board
}

// numbered is a record with its place in the order; cursors are such numbers.
type numbered struct {
	sequence uint64
	record   *Record
}

func (s *memoryStore) Put(ctx context.Context, r *Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[r.ID] != nil || s.byHash[r.Hash] != nil {
		return ErrExists
	}
	s.sequence++
	n := &numbered{s.sequence, r.Clone()}
	s.order = append(s.order, n)
	s.byID[r.ID], s.byHash[r.Hash] = n, n
	return nil
}

func (s *memoryStore) ByHash(ctx context.Context, hash ticket.Hash) (*Record, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.read(ctx, s.byHash[hash])
}

func (s *memoryStore) ByID(ctx context.Context, id string) (*Record, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.read(ctx, s.byID[id])
}

// read gives a copy. The caller holds the lock.
func (s *memoryStore) read(ctx context.Context, n *numbered) (*Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if n == nil {
		return nil, ErrNotFound
	}
	return n.record.Clone(), nil
}

func (s *memoryStore) List(ctx context.Context, f Filter, now time.Time) ([]*Record, string, error) {
	after := uint64(math.MaxUint64)
	if f.After != "" {
		var err error
		if after, err = strconv.ParseUint(f.After, 10, 64); err != nil {
			return nil, "", ErrCursor
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	end, _ := slices.BinarySearchFunc(s.order, after, bySequence)
	stop := max(0, end-MaxScan)
	var found []*Record
	for i := end - 1; i >= stop; i-- {
		r, err := s.read(ctx, s.order[i])
		if err != nil {
			return nil, "", err
		}
		if f.Matches(r, now) {
			found = append(found, r)
		}
		if i > 0 && (len(found) == f.Limit || i == stop) {
			return found, strconv.FormatUint(s.order[i].sequence, 10), nil
		}
	}
	return found, "", nil
}

func bySequence(n *numbered, sequence uint64) int { return cmp.Compare(n.sequence, sequence) }

func (s *memoryStore) Delete(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.byID[id]; n != nil {
		at, _ := slices.BinarySearchFunc(s.order, n.sequence, bySequence)
		s.order = slices.Delete(s.order, at, at+1)
		s.forget(n)
	}
	return nil
}

// forget removes n from the maps; the caller holds the lock and sees to order.
func (s *memoryStore) forget(n *numbered) {
	delete(s.byID, n.record.ID)
	delete(s.byHash, n.record.Hash)
}

func (s *memoryStore) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	removed := 0
	s.order = slices.DeleteFunc(s.order, func(n *numbered) bool {
		gone := removed < limit && !n.record.Expires.After(before)
		if gone {
			removed++
			s.forget(n)
		}
		return gone
	})
	return removed, nil
}

func (s *memoryStore) PutEntries(ctx context.Context, entries []ticket.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for i := range entries {
		e := &entries[i]
		log := s.logs[e.Writer]
		if log == nil {
			log = make(map[uint64]string)
			s.logs[e.Writer] = log
		}
		if there, taken := log[e.Position]; taken && there != e.Signed {
			err = ErrFork
			continue
		}
		log[e.Position] = e.Signed
	}
	s.Changed()
	return err
}

func (s *memoryStore) Entries(ctx context.Context, after ticket.Positions, limit int) (map[string][]string, ticket.Positions, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	logs, last := make(map[string][]string), make(ticket.Positions)
	for _, writer := range slices.Sorted(maps.Keys(s.logs)) {
		for _, position := range slices.Sorted(maps.Keys(s.logs[writer])) {
			last[writer] = position
			if position > after[writer] && limit > 0 {
				logs[writer] = append(logs[writer], s.logs[writer][position])
				limit--
			}
		}
	}
	return logs, last, nil
}

func (s *memoryStore) DropEntries(ctx context.Context, upTo ticket.Positions) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for writer, position := range upTo {
		maps.DeleteFunc(s.logs[writer], func(at uint64, _ string) bool { return at <= position })
		if len(s.logs[writer]) == 0 {
			delete(s.logs, writer)
		}
	}
	return nil
}

func (s *memoryStore) KeySet(ctx context.Context) (SignedKeySet, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.keySet == nil {
		return SignedKeySet{}, ErrNotFound
	}
	return *s.keySet, ctx.Err()
}

func (s *memoryStore) PutKeySet(ctx context.Context, set SignedKeySet) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keySet != nil && set.Version <= s.keySet.Version || set.Version == 0 {
		return ErrVersion
	}
	s.keySet = &set
	s.Changed()
	return nil
}

func (s *memoryStore) Close() error { return nil }
