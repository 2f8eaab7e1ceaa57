package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sta"
)

// moves is how often a call follows keys that have moved to another node.
const moves = 3

// do runs f against the node that has our keys, within the timeout. Everything
// goes to this one node, also in a Cluster, and so reads see earlier writes.
func (s *Store) do(ctx context.Context, f func(context.Context, *redis.Client) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for turn := 1; ; turn++ {
		node, err := s.node(ctx)
		if err == nil {
			err = f(ctx, node)
		}
		if err == nil || isAnswer(err) {
			return err
		}
		if s.cluster != nil {
			s.cluster.ReloadState(ctx) // in the background, and not more often than it helps
		}
		if _, moved := redis.IsMovedError(err); !moved || turn == moves || !pause(ctx, turn) {
			return fmt.Errorf("redis: %w", err)
		}
	}
}

// node is the server, or the node of the Cluster that has our keys.
func (s *Store) node(ctx context.Context) (*redis.Client, error) {
	if s.cluster != nil {
		return s.cluster.MasterForKey(ctx, string(s.keys))
	}
	return s.client.(*redis.Client), nil
}

// pause waits a little longer each turn. It tells whether there is time left.
func pause(ctx context.Context, turn int) bool {
	timer := time.NewTimer(time.Duration(turn) * 50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// isAnswer tells what a Store answers from how it fails.
func isAnswer(err error) bool {
	for _, answer := range []error{
		sta.ErrNotFound, sta.ErrExists, sta.ErrCursor, sta.ErrVersion, sta.ErrFork, sta.ErrNoCopy,
	} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// exec runs a pipeline. That a key is not there is no failure; and Exec gives
// the first error only, behind which there may be a worse one.
func exec(ctx context.Context, p redis.Pipeliner) error {
	cmds, err := p.Exec(ctx)
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}

// transaction is a change that depends on what is there:
//
//	WATCH, look ──► write decides ──► MULTI, what it queued, EXEC ──► WAIT
//
// in two exchanges, or three with replicas, on one connection.
type transaction struct {
	watch []string
	// look queues questions. What watch names does not change between their
	// answers and EXEC, else all begins anew.
	look func(context.Context, redis.Pipeliner)
	// write queues what is to be done, all or nothing. An error, or nothing
	// queued, changes nothing.
	write func(context.Context, redis.Pipeliner) error
	// copied waits for the replicas that are configured.
	copied bool
}

// errOutrun: somebody else changed what was watched.
var errOutrun = errors.New("others write the same all the time")

// transact does t.
func (s *Store) transact(ctx context.Context, t transaction) error {
	return s.do(ctx, func(ctx context.Context, node *redis.Client) error {
		for broken := 0; ; {
			begun, err := s.attempt(ctx, node, &t)
			switch {
			case errors.Is(err, redis.TxFailedErr):
				if ctx.Err() != nil {
					return fmt.Errorf("%w: %w", errOutrun, ctx.Err())
				}
			case err == nil, begun, broken == retries, !brokenBefore(err):
				return err
			default:
				broken++ // nothing was written, so another connection may try
			}
		}
	})
}

// brokenBefore tells that the pool gave out a connection that had broken
// meanwhile, which it cannot see of one with TLS, or whose server is a replica now.
func brokenBefore(err error) bool {
	var said redis.Error
	return !isAnswer(err) && (!errors.As(err, &said) || redis.IsReadOnlyError(err))
}

// attempt does t once. begun tells that it may be done although there is an
// error.
func (s *Store) attempt(ctx context.Context, node *redis.Client, t *transaction) (begun bool, err error) {
	conn := node.Conn()
	defer conn.Close()
	// A connection goes back to the pool only when it is known to watch nothing
	// any more, and to lead to a server that takes writes.
	defer func() {
		if err != nil && !isAnswer(err) && !errors.Is(err, redis.TxFailedErr) {
			discard(conn)
		}
	}()
	first := conn.Pipeline()
	args := []any{"watch"}
	for _, key := range t.watch {
		args = append(args, key)
	}
	first.Do(ctx, args...)
	t.look(ctx, first)
	if err := exec(ctx, first); err != nil {
		return false, err
	}
	second := conn.TxPipeline()
	if err := t.write(ctx, second); err != nil || second.Len() == 0 {
		if unwatch := conn.Do(ctx, "unwatch").Err(); unwatch != nil {
			return false, unwatch
		}
		if err != nil {
			return false, err
		}
	} else if err := exec(ctx, second); err != nil {
		return true, err
	}
	if t.copied {
		return true, s.confirm(ctx, conn)
	}
	return true, nil
}

// discard makes the pool drop a connection: that is what it does with one on
// which a deadline passed.
func discard(conn *redis.Conn) {
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	_ = conn.Ping(ctx).Err()
}

// confirm waits until enough replicas have all that was written on this
// connection or, by whomever, before its last command.
func (s *Store) confirm(ctx context.Context, conn *redis.Conn) error {
	if s.replicas == 0 {
		return nil
	}
	n, err := conn.Wait(ctx, s.replicas, s.replicaWait).Result()
	if err != nil {
		discard(conn)
		return fmt.Errorf("%w: %w", sta.ErrNoCopy, err)
	}
	if n < int64(s.replicas) {
		return fmt.Errorf("%w: %d of %d replicas have it", sta.ErrNoCopy, n, s.replicas)
	}
	return nil
}
