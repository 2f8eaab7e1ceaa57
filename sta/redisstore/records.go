package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Put adds a record; see [sta.Store]. The first exchange takes a number and looks
// whether id and hash are free, the second writes it. A number that is taken and
// not used leaves a gap, which nobody minds.
func (s *Store) Put(ctx context.Context, r *sta.Record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	byHash, byID := s.keys.ticket(r.Hash), s.keys.id(r.ID)
	var number, taken *redis.IntCmd
	return s.transact(ctx, transaction{
		watch: []string{byHash, byID},
		look: func(ctx context.Context, p redis.Pipeliner) {
			number, taken = p.Incr(ctx, s.keys.sequence()), p.Exists(ctx, byHash, byID)
		},
		write: func(ctx context.Context, p redis.Pipeliner) error {
			if taken.Val() > 0 {
				return sta.ErrExists
			}
			c := cardOf(r, uint64(number.Val()))
			ends := s.ends(r.Expires)
			p.SetArgs(ctx, byHash, data, redis.SetArgs{ExpireAt: ends})
			p.SetArgs(ctx, byID, c.text, redis.SetArgs{ExpireAt: ends})
			for _, place := range s.places(c) {
				p.ZAdd(ctx, place.key, redis.Z{Score: place.score, Member: place.member})
				// An index lasts as long as the ticket in it that lasts longest.
				p.Do(ctx, "expireat", place.key, ends.Unix(), "nx")
				p.Do(ctx, "expireat", place.key, ends.Unix(), "gt")
			}
			return nil
		},
		copied: true,
	})
}

// ends is when what belongs to a ticket goes by itself.
func (s *Store) ends(expires time.Time) time.Time {
	if now := time.Now(); expires.Before(now) {
		expires = now
	}
	return expires.Add(s.keep).Truncate(time.Second)
}

// place is where an index names a ticket.
type place struct {
	key    string
	score  float64
	member string
}

// places are all of a ticket's.
func (s *Store) places(c *card) []place {
	ref := c.reference()
	all := []place{
		{s.keys.tickets(), 0, ref},
		{s.keys.expiry(), float64(c.Expires), c.text},
	}
	if c.User != "" {
		all = append(all, place{s.keys.user(c.User), 0, ref})
	}
	if c.Device != "" {
		all = append(all, place{s.keys.device(c.Device), 0, ref})
	}
	return all
}

// ByHash finds a record; see [sta.Store]. [ErrDamaged] for one that cannot be
// read: nobody gets in by it.
func (s *Store) ByHash(ctx context.Context, hash ticket.Hash) (*sta.Record, error) {
	data, err := s.get(ctx, s.keys.ticket(hash))
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(data)
	if err == nil && r.Hash != hash {
		err = ErrDamaged
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// get reads a key. [sta.ErrNotFound].
func (s *Store) get(ctx context.Context, key string) (value string, err error) {
	err = s.do(ctx, func(ctx context.Context, node *redis.Client) error {
		value, err = node.Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			return sta.ErrNotFound
		}
		return err
	})
	return value, err
}

// ByID finds a record; see [sta.Store]. Of one that cannot be read it gives what
// is known from elsewhere.
func (s *Store) ByID(ctx context.Context, id string) (*sta.Record, error) {
	text, err := s.get(ctx, s.keys.id(id))
	if err != nil {
		return nil, err
	}
	c, err := parseCard(text)
	if err != nil || c.ID != id {
		return nil, ErrDamaged
	}
	r, err := s.ByHash(ctx, c.Hash)
	switch {
	case errors.Is(err, ErrDamaged), err == nil && r.ID != id:
		return c.salvage(), nil
	case err != nil:
		return nil, err
	}
	return r, nil
}

// Delete removes a record; see [sta.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	byID := s.keys.id(id)
	var text *redis.StringCmd
	return s.transact(ctx, transaction{
		watch: []string{byID},
		look:  func(ctx context.Context, p redis.Pipeliner) { text = p.Get(ctx, byID) },
		write: func(ctx context.Context, p redis.Pipeliner) error {
			if errors.Is(text.Err(), redis.Nil) {
				return nil
			}
			c, err := parseCard(text.Val())
			if err != nil || c.ID != id {
				// What it leaves behind leads nowhere, and goes when it expires.
				p.Del(ctx, byID)
				return nil
			}
			s.remove(ctx, p, c)
			return nil
		},
	})
}

// remove queues what takes a ticket away. The answer is 1 if it was on the list
// by expiry, as all are.
func (s *Store) remove(ctx context.Context, p redis.Pipeliner, c *card) (gone *redis.IntCmd) {
	p.Del(ctx, s.keys.ticket(c.Hash), s.keys.id(c.ID))
	for _, place := range s.places(c) {
		cmd := p.ZRem(ctx, place.key, place.member)
		if place.key == s.keys.expiry() {
			gone = cmd
		}
	}
	return gone
}

// sweepTogether bounds the tickets that one transaction removes: meanwhile the
// server serves nobody else.
const sweepTogether = 200

// Sweep removes what is past its time; see [sta.Store]. Of two that sweep at once,
// one removes a ticket, and counts it.
func (s *Store) Sweep(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	for removed < limit {
		n := min(limit-removed, sweepTogether)
		due, gone, err := s.sweep(ctx, before, n)
		removed += gone
		if err != nil || due < n {
			return removed, err
		}
	}
	return removed, nil
}

func (s *Store) sweep(ctx context.Context, before time.Time, limit int) (due, removed int, err error) {
	err = s.do(ctx, func(ctx context.Context, node *redis.Client) error {
		texts, err := node.ZRangeArgs(ctx, redis.ZRangeArgs{
			Key: s.keys.expiry(), ByScore: true, Start: "-inf", Stop: strconv.FormatInt(before.Unix(), 10), Count: int64(limit),
		}).Result()
		if due = len(texts); err != nil || due == 0 {
			return err
		}
		p := node.TxPipeline()
		var gone []*redis.IntCmd
		for _, text := range texts {
			c, err := parseCard(text)
			if err != nil {
				gone = append(gone, p.ZRem(ctx, s.keys.expiry(), text))
				continue
			}
			gone = append(gone, s.remove(ctx, p, c))
		}
		err = exec(ctx, p)
		removed = len(slices.DeleteFunc(gone, func(cmd *redis.IntCmd) bool { return err != nil || cmd.Val() == 0 }))
		return err
	})
	return due, removed, err
}
