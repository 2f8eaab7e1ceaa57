package ticket

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// RevokedSet is a set of revocations that tells at once whether a ticket is ended.
// The zero value is empty. It is safe for concurrent use; reading neither
// allocates nor waits for whoever reads beside it.
type RevokedSet struct {
	some atomic.Bool // false while the set is empty
	mu   sync.RWMutex

	tickets, families map[string]ladder
	users, devices    map[string]ladder
	pairs             map[pair]ladder
	all               ladder
	staged            []*Revocation
}

// ladder is revocations of one scope, each with an earlier cut than the one
// before and a later time to be forgotten. So the first ends all that the others
// end, as long as it is remembered, and the next is there when it no longer is.
type ladder []*Revocation

// with gives the ladder with one more revocation, without those that it makes
// needless.
func (l ladder) with(r *Revocation) ladder {
	at := 0
	for at < len(l) && !r.Cut.After(l[at].Cut) {
		if !r.Forget.After(l[at].Forget) {
			return l // there is one that ends as much for as long
		}
		at++
	}
	if at > 0 && l[at-1].Cut.Equal(r.Cut) {
		at-- // it is remembered longer than the one with the same cut
	}
	end := at
	for end < len(l) && !l[end].Forget.After(r.Forget) {
		end++
	}
	return slices.Replace(l, at, end, r)
}

// without gives the ladder without those that are past, which stand first.
func (l ladder) without(past func(*Revocation) bool) ladder {
	for len(l) > 0 && past(l[0]) {
		l = l[1:]
	}
	return l
}

// covers gives the first if it ends the ticket: no other does if it does not.
func (l ladder) covers(t *Subject, now time.Time) *Revocation {
	if len(l) > 0 && l[0].Covers(t, now) {
		return l[0]
	}
	return nil
}

func (l ladder) cut() time.Time {
	if len(l) > 0 {
		return l[0].Cut
	}
	return time.Time{}
}

// Add puts a revocation into the set, for good until Forget. The caller does not
// change it afterwards. One that ends no more than another with the same scope,
// and for no longer, is not kept.
func (s *RevokedSet) Add(r *Revocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Ticket != "":
		keep(&s.tickets, r.Ticket, r)
	case r.Family != "":
		keep(&s.families, r.Family, r)
	case r.User != "" && r.Device != "":
		keep(&s.pairs, pair{r.User, r.Device}, r)
	case r.User != "":
		keep(&s.users, r.User, r)
	case r.Device != "":
		keep(&s.devices, r.Device, r)
	case r.Stage > 0:
		s.staged = append(s.staged, r)
	default:
		s.all = s.all.with(r)
	}
	s.some.Store(true)
}

type pair struct{ user, device string }

func keep[K comparable](m *map[K]ladder, key K, r *Revocation) {
	if *m == nil {
		*m = make(map[K]ladder)
	}
	(*m)[key] = (*m)[key].with(r)
}

// Find gives a revocation that ends the ticket at a moment, or nil. One that ends
// it for good goes before one with a Stage.
func (s *RevokedSet) Find(t *Subject, now time.Time) *Revocation {
	if !s.some.Load() {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, l := range [...]ladder{
		s.tickets[t.ID], s.families[t.Family], s.users[t.User], s.devices[t.Device],
		s.pairs[pair{t.User, t.Device}], s.all,
	} {
		if r := l.covers(t, now); r != nil {
			return r
		}
	}
	for _, r := range s.staged {
		if r.Covers(t, now) {
			return r
		}
	}
	return nil
}

// LastCut is the last iat that ends a ticket of this user and device, or the
// zero time: a new one has to be stamped later.
func (s *RevokedSet) LastCut(user, device string) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var last time.Time
	for _, l := range [...]ladder{s.users[user], s.devices[device], s.pairs[pair{user, device}], s.all} {
		if cut := l.cut(); cut.After(last) {
			last = cut
		}
	}
	for _, r := range s.staged {
		if r.Cut.After(last) {
			last = r.Cut
		}
	}
	return last
}

// Forget drops the revocations whose last ticket expired before a moment, less
// the skew that verifiers allow, and those whose stage is over.
func (s *RevokedSet) Forget(before time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	past := func(r *Revocation) bool { return r.Forget.Add(Skew).Before(before) }
	for _, m := range [...]map[string]ladder{s.tickets, s.families, s.users, s.devices} {
		shorten(m, past)
	}
	shorten(s.pairs, past)
	s.all = s.all.without(past)
	s.staged = slices.DeleteFunc(s.staged, past)
}

func shorten[K comparable](m map[K]ladder, past func(*Revocation) bool) {
	for key, l := range m {
		switch rest := l.without(past); {
		case len(rest) == 0:
			delete(m, key)
		case len(rest) < len(l):
			m[key] = rest
		}
	}
}
