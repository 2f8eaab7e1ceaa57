package redisstore

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// forgetNames is how long after a notice's life its name is kept. What lives is
// the notice's own key, by the server's clock; the names are only to find it, and
// the clocks of nodes may differ.
const forgetNames = time.Minute

// PostNotice leaves word; see [sta.Store]. A life is rounded up to milliseconds.
func (s *Store) PostNotice(ctx context.Context, name string, notice []byte, life time.Duration) error {
	return s.do(ctx, func(ctx context.Context, node *redis.Client) error {
		key, names, now := s.keys.notice(name), s.keys.notices(), time.Now()
		p := node.TxPipeline()
		if life > 0 {
			life = (life + time.Millisecond - 1).Truncate(time.Millisecond)
			p.SetArgs(ctx, key, notice, redis.SetArgs{TTL: life})
			p.ZAdd(ctx, names, redis.Z{Score: float64(now.Add(life).UnixMilli()), Member: name})
		} else {
			p.Del(ctx, key)
			p.ZRem(ctx, names, name)
		}
		p.ZRemRangeByScore(ctx, names, "-inf", strconv.FormatInt(now.Add(-forgetNames).UnixMilli(), 10))
		p.Publish(ctx, s.keys.channel(), "")
		return exec(ctx, p)
	})
}

// Notices gives all words left; see [sta.Store].
func (s *Store) Notices(ctx context.Context) (all map[string][]byte, err error) {
	err = s.do(ctx, func(ctx context.Context, node *redis.Client) error {
		all = make(map[string][]byte)
		names, err := node.ZRange(ctx, s.keys.notices(), 0, -1).Result()
		if err != nil || len(names) == 0 {
			return err
		}
		keys := make([]string, len(names))
		for i, name := range names {
			keys[i] = s.keys.notice(name)
		}
		values, err := node.MGet(ctx, keys...).Result()
		for i, value := range values {
			if notice, there := value.(string); there {
				all[names[i]] = []byte(notice)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Watch tells of changes; see [sta.Store]. It also gives a hint whenever it has
// connected, for what happened before was not told.
func (s *Store) Watch(ctx context.Context) <-chan struct{} {
	hints := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		close(hints)
		return hints
	}
	s.watches.Add(1)
	go s.watch(ctx, hints)
	return hints
}

func (s *Store) watch(ctx context.Context, hints chan<- struct{}) {
	defer s.watches.Done()
	// Closing the subscription waits if it is just connecting: nobody else need.
	subscription := s.client.Subscribe(ctx, s.keys.channel())
	defer subscription.Close()
	defer close(hints)
	// It asks the server every few seconds whether it is still there, and
	// connects anew if not.
	changes := subscription.ChannelWithSubscriptions()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.done:
			return
		case _, open := <-changes:
			if !open {
				return
			}
			select {
			case hints <- struct{}{}:
			default: // there is one already
			}
		}
	}
}

// Clock is the server's; see [sta.Store].
func (s *Store) Clock(ctx context.Context) (now time.Time, err error) {
	err = s.do(ctx, func(ctx context.Context, node *redis.Client) error {
		now, err = node.Time(ctx).Result()
		return err
	})
	return now, err
}
