package sta

import (
	"cmp"
	"context"
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
		byID:     make(map[string]*numbered),
		byHash:   make(map[ticket.Hash]*numbered),
		families: make(map[string]ticket.Revocation),
	}
}

type memoryStore struct {
	mu sync.RWMutex // guards everything below

	sequence uint64
	order    []*numbered // oldest first
	byID     map[string]*numbered
	byHash   map[ticket.Hash]*numbered

	serial      uint64
	revocations []ticket.Revocation // by serial
	families    map[string]ticket.Revocation

	keySet *SignedKeySet
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
	if _, revoked := s.families[r.Family]; revoked {
		return ErrFamilyRevoked
	}
	s.sequence++
	n := &numbered{s.sequence, r.Clone()}
	n.record.Revoked = nil
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

// read gives a copy with Revoked filled in. The caller holds the lock.
func (s *memoryStore) read(ctx context.Context, n *numbered) (*Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if n == nil {
		return nil, ErrNotFound
	}
	r := n.record.Clone()
	if revocation, revoked := s.families[r.Family]; revoked {
		r.Revoked = &revocation
	}
	return r, nil
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

func (s *memoryStore) Revoke(ctx context.Context, r ticket.Revocation) (ticket.Revocation, bool, error) {
	if err := ctx.Err(); err != nil {
		return ticket.Revocation{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first, already := s.families[r.Family]; already {
		return first, true, nil
	}
	for _, n := range s.order {
		if n.record.Family == r.Family && n.record.Expires.After(r.Forget) {
			r.Forget = n.record.Expires
		}
	}
	s.serial++
	r.Serial = s.serial
	s.revocations = append(s.revocations, r)
	s.families[r.Family] = r
	return r, false, nil
}

func (s *memoryStore) Revocations(ctx context.Context, after uint64, limit int) ([]ticket.Revocation, uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	from := slices.IndexFunc(s.revocations, func(r ticket.Revocation) bool { return r.Serial > after })
	if from < 0 {
		return nil, s.serial, nil
	}
	to := min(from+limit, len(s.revocations))
	return slices.Clone(s.revocations[from:to]), s.serial, nil
}

func (s *memoryStore) Sweep(ctx context.Context, before time.Time, limit int) (Swept, error) {
	if err := ctx.Err(); err != nil {
		return Swept{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var swept Swept
	s.order = slices.DeleteFunc(s.order, func(n *numbered) bool {
		gone := swept.Tickets < limit && !n.record.Expires.After(before)
		if gone {
			swept.Tickets++
			s.forget(n)
		}
		return gone
	})
	s.revocations = slices.DeleteFunc(s.revocations, func(r ticket.Revocation) bool {
		gone := swept.Revocations < limit && !r.Forget.After(before)
		if gone {
			swept.Revocations++
			delete(s.families, r.Family)
		}
		return gone
	})
	return swept, nil
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
	return nil
}

func (s *memoryStore) Close() error { return nil }
