package redisstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

const (
	// putTogether bounds the entries of one transaction.
	putTogether = 200
	// topBatch is how many of a log's last entries are read at a time while they
	// cannot be read.
	topBatch = 100
)

// PutEntries adds entries; see [sta.Store].
func (s *Store) PutEntries(ctx context.Context, entries []ticket.Entry) error {
	if err := s.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-s.putting }()
	var forked, uncopied error
	for together := range slices.Chunk(entries, putTogether) {
		fork, err := s.putEntries(ctx, together, uncopied == nil)
		if fork != nil {
			forked = fork
		}
		switch {
		case errors.Is(err, sta.ErrNoCopy):
			uncopied = err // and the others need not wait for the same
		case err != nil:
			return errors.Join(forked, err)
		}
	}
	return errors.Join(forked, uncopied)
}

// takeTurn waits until nobody else of this process puts entries.
func (s *Store) takeTurn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	timer := time.NewTimer(s.timeout)
	defer timer.Stop()
	select {
	case s.putting <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("redis: %w: those before this one are not done", context.DeadlineExceeded)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// putEntries adds those that have no place yet. It waits for replicas also if
// there are none: who wrote them may not have waited.
func (s *Store) putEntries(ctx context.Context, entries []ticket.Entry, copied bool) (fork, err error) {
	var logs []string
	for i := range entries {
		if key := s.keys.entries(entries[i].Writer); !slices.Contains(logs, key) {
			logs = append(logs, key)
		}
	}
	there := make([]*redis.ZSliceCmd, len(entries))
	err = s.transact(ctx, transaction{
		watch: logs,
		look: func(ctx context.Context, p redis.Pipeliner) {
			for i := range entries {
				at := strconv.FormatUint(entries[i].Position, 10)
				there[i] = p.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
					Key: s.keys.entries(entries[i].Writer), ByScore: true, Start: at, Stop: at,
				})
			}
		},
		write: func(ctx context.Context, p redis.Pipeliner) error {
			fork = nil
			placed := make(map[ticket.Ref]string) // by this call
			for i := range entries {
				e := &entries[i]
				has, taken := placed[e.Ref()]
				if !taken {
					has, taken = occupant(e.Writer, there[i].Val())
				}
				switch {
				case !taken:
					placed[e.Ref()] = e.Signed
					s.place(ctx, p, e, there[i].Val())
				case has != e.Signed:
					fork = fmt.Errorf("%w: %s", sta.ErrFork, e.Ref())
				}
			}
			if p.Len() > 0 {
				p.Publish(ctx, s.keys.channel(), "")
			}
			return nil
		},
		copied: copied,
	})
	return fork, err
}

// place queues what gives e its place, in which there is nothing that can be
// read.
func (s *Store) place(ctx context.Context, p redis.Pipeliner, e *ticket.Entry, unreadable []redis.Z) {
	log := s.keys.entries(e.Writer)
	for _, z := range unreadable {
		p.ZRem(ctx, log, z.Member)
	}
	p.ZAdd(ctx, log, redis.Z{Score: float64(e.Position), Member: e.Signed})
	p.SAdd(ctx, s.keys.writers(), e.Writer)
}

// occupant gives the entry that has a place of a log: the first that can be read
// and belongs there, for all who look.
func occupant(writer string, there []redis.Z) (signed string, taken bool) {
	for _, z := range there {
		if signed, _, ok := readable(writer, z); ok {
			return signed, true
		}
	}
	return "", false
}

// readable tells whether what stands in a writer's log is an entry that belongs
// there. Whether it is genuine, others judge.
func readable(writer string, z redis.Z) (signed string, position uint64, ok bool) {
	signed, _ = z.Member.(string)
	e, err := ticket.ParseEntry(signed)
	ok = err == nil && e.Writer == writer && float64(e.Position) == z.Score
	return signed, e.Position, ok
}

// Entries gives signed entries; see [sta.Store]. When there is nothing new it
// takes two exchanges.
func (s *Store) Entries(ctx context.Context, after ticket.Positions, limit int) (map[string][]string, ticket.Positions, error) {
	last, err := s.last(ctx)
	if err != nil {
		return nil, nil, err
	}
	logs := make(map[string][]string)
	for _, writer := range slices.Sorted(maps.Keys(last)) {
		if last[writer] <= after[writer] || limit <= 0 {
			continue
		}
		entries, err := s.log(ctx, writer, after[writer], limit)
		if err != nil {
			return nil, nil, err
		}
		if len(entries) > 0 {
			logs[writer] = entries
			limit -= len(entries)
		}
	}
	return logs, last, nil
}

// log gives a writer's entries past a position, in order and up to limit.
func (s *Store) log(ctx context.Context, writer string, after uint64, limit int) (entries []string, err error) {
	for skipped := int64(0); len(entries) < limit; {
		n := limit - len(entries)
		zs, err := s.zrange(ctx, redis.ZRangeArgs{
			Key: s.keys.entries(writer), ByScore: true, Start: "(" + strconv.FormatUint(after, 10), Stop: "+inf",
			Offset: skipped, Count: int64(n),
		})
		if err != nil {
			return nil, err
		}
		for _, z := range zs {
			signed, position, ok := readable(writer, z)
			switch {
			case z.Score <= float64(after): // beside one that has the place
			case ok:
				entries, after, skipped = append(entries, signed), position, 0
			default:
				skipped++ // it stays between after and what comes next
			}
		}
		if len(zs) < n {
			break
		}
	}
	return entries, nil
}

func (s *Store) zrange(ctx context.Context, args redis.ZRangeArgs) (zs []redis.Z, err error) {
	err = s.do(ctx, func(ctx context.Context, node *redis.Client) error {
		zs, err = node.ZRangeArgsWithScores(ctx, args).Result()
		return err
	})
	return zs, err
}

// last gives each writer's last position.
func (s *Store) last(ctx context.Context) (ticket.Positions, error) {
	var writers []string
	tops := make(map[string]*redis.ZSliceCmd)
	err := s.do(ctx, func(ctx context.Context, node *redis.Client) (err error) {
		if writers, err = node.SMembers(ctx, s.keys.writers()).Result(); err != nil {
			return err
		}
		p := node.Pipeline()
		for _, writer := range writers {
			if ticket.CheckWriter(writer) == nil {
				tops[writer] = p.ZRangeArgsWithScores(ctx, s.fromTop(writer, 0, 1))
			}
		}
		return exec(ctx, p)
	})
	if err != nil {
		return nil, err
	}
	last := make(ticket.Positions)
	for writer, top := range tops {
		position, err := s.lastOf(ctx, writer, top.Val())
		if err != nil {
			return nil, err
		}
		if position > 0 {
			last[writer] = position
		}
	}
	return last, nil
}

func (s *Store) fromTop(writer string, skip, n int) redis.ZRangeArgs {
	return redis.ZRangeArgs{Key: s.keys.entries(writer), Rev: true, Start: skip, Stop: skip + n - 1}
}

// lastOf looks from the top of a log for the first entry that can be read. 0 if
// there is none.
func (s *Store) lastOf(ctx context.Context, writer string, top []redis.Z) (uint64, error) {
	for skipped := 0; len(top) > 0; {
		for _, z := range top {
			if _, position, ok := readable(writer, z); ok {
				return position, nil
			}
		}
		skipped += len(top)
		var err error
		if top, err = s.zrange(ctx, s.fromTop(writer, skipped, topBatch)); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// DropEntries removes entries up to a position; see [sta.Store].
func (s *Store) DropEntries(ctx context.Context, upTo ticket.Positions) error {
	for _, writer := range slices.Sorted(maps.Keys(upTo)) {
		log, position := s.keys.entries(writer), strconv.FormatUint(upTo[writer], 10)
		var left *redis.IntCmd
		err := s.transact(ctx, transaction{
			watch: []string{log},
			look:  func(ctx context.Context, p redis.Pipeliner) { left = p.ZCount(ctx, log, "("+position, "+inf") },
			write: func(ctx context.Context, p redis.Pipeliner) error {
				p.ZRemRangeByScore(ctx, log, "-inf", position)
				if left.Val() == 0 {
					p.SRem(ctx, s.keys.writers(), writer)
				}
				return nil
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}
