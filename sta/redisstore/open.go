package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/sallyport/sallyport/sta"
)

var _ sta.Store = (*Store)(nil)

// Why Redis turns us away.
var (
	// ErrLogin: the user or the password is wrong.
	ErrLogin = errors.New("the user or the password is wrong")
	// ErrForbidden: the user may not do all that is needed.
	ErrForbidden = errors.New("the user may not do all that is needed")
)

// Store is a [sta.Store] in Redis.
type Store struct {
	keys        keys
	timeout     time.Duration
	keep        time.Duration
	replicas    int
	replicaWait time.Duration

	client  redis.UniversalClient
	cluster *redis.ClusterClient // client, where it is one

	// putting is held by who puts entries. They watch the same keys: two from one
	// process would only make each other start anew.
	putting chan struct{}

	done    chan struct{} // closed by Close
	watches sync.WaitGroup
	mu      sync.Mutex // guards closed
	closed  bool
}

// Open finds the server, logs in, and tries every command that a Store needs:
// [ErrLogin], and [ErrForbidden] with the commands that are missing. It also
// stops the library from writing to stderr, for the whole process: what it tells
// there, calls return as errors.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	logging.Disable() // there is no way to say so for one client only
	s := &Store{
		keys: keys(prefix(c.Authority)), timeout: c.Timeout, keep: c.Keep,
		replicas: c.Replicas, replicaWait: c.ReplicaWait,
		putting: make(chan struct{}, 1), done: make(chan struct{}),
	}
	switch options := c.options(); {
	case c.Cluster:
		s.cluster = redis.NewClusterClient(options.Cluster())
		s.client = s.cluster
	case c.MasterName != "":
		s.client = redis.NewFailoverClient(options.Failover())
	default:
		s.client = redis.NewClient(options.Simple())
	}
	if err := s.try(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends all watches and closes the connections.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.done)
	s.watches.Wait()
	return s.client.Close()
}

// try does everything once that a Store does, with keys of no meaning.
func (s *Store) try(ctx context.Context) error {
	var missing []string
	var refusal error
	err := s.do(ctx, func(ctx context.Context, node *redis.Client) error {
		missing, refusal = nil, nil
		p := node.Pipeline()
		s.tryAll(ctx, p)
		cmds, _ := p.Exec(ctx) // every command has its own error
		var failure error
		for _, cmd := range cmds {
			err := cmd.Err()
			switch {
			case redis.IsPermissionError(err), redis.IsExecAbortError(err): // the latter for want of EXEC
				missing, refusal = append(missing, cmd.Name()), err
			case failure == nil && !errors.Is(err, redis.Nil):
				failure = err
			}
		}
		if missing != nil {
			return nil // the others may have failed for want of these
		}
		return failure
	})
	if err == nil {
		err = s.trySubscribe(ctx)
		if redis.IsPermissionError(err) {
			missing, refusal, err = append(missing, "subscribe"), err, nil
		}
	}
	switch {
	case redis.IsAuthError(err):
		return fmt.Errorf("%w: %w", ErrLogin, err)
	case redis.IsPermissionError(err): // before anything could be tried
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	case missing != nil:
		return fmt.Errorf("%w: %s: redis: %w", ErrForbidden, strings.Join(missing, ", "), refusal)
	}
	return err
}

// tryAll queues each command once. Publishing gives a hint for nothing, which
// harms nobody.
func (s *Store) tryAll(ctx context.Context, p redis.Pipeliner) {
	text, number, set, sorted := s.keys.of("try"), s.keys.of("try:n"), s.keys.of("try:s"), s.keys.of("try:z")
	p.Ping(ctx)
	p.Time(ctx)
	p.Do(ctx, "watch", text)
	p.Do(ctx, "unwatch")
	p.Do(ctx, "multi")
	p.Do(ctx, "exec")
	p.SetArgs(ctx, text, "", redis.SetArgs{TTL: time.Minute})
	p.Get(ctx, text)
	p.MGet(ctx, text)
	p.Exists(ctx, text)
	p.Incr(ctx, number)
	p.Do(ctx, "expireat", number, time.Now().Add(time.Minute).Unix(), "nx")
	p.SAdd(ctx, set, "")
	p.SMembers(ctx, set)
	p.SRem(ctx, set, "")
	p.ZAdd(ctx, sorted, redis.Z{Member: ""})
	p.ZRange(ctx, sorted, 0, 0)
	p.ZCount(ctx, sorted, "0", "0")
	p.ZRem(ctx, sorted, "")
	p.ZRemRangeByScore(ctx, sorted, "0", "0")
	p.Publish(ctx, s.keys.channel(), "")
	if s.replicas > 0 {
		p.Do(ctx, "wait", 0, 1)
	}
	p.Del(ctx, text, number, set, sorted)
}

func (s *Store) trySubscribe(ctx context.Context) error {
	subscription := s.client.Subscribe(ctx, s.keys.channel())
	defer subscription.Close()
	_, err := subscription.ReceiveTimeout(ctx, s.timeout)
	return err
}
