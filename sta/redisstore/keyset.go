package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sta"
)

// KeySet gives the key set; see [sta.Store].
func (s *Store) KeySet(ctx context.Context) (sta.SignedKeySet, error) {
	data, err := s.get(ctx, s.keys.keySet())
	if err != nil {
		return sta.SignedKeySet{}, err
	}
	return parseKeySet(data)
}

func parseKeySet(data string) (set sta.SignedKeySet, err error) {
	if json.Unmarshal([]byte(data), &set) != nil || set.Version == 0 {
		return sta.SignedKeySet{}, fmt.Errorf("the key set: %w", ErrDamaged)
	}
	return set, nil
}

// PutKeySet replaces the key set; see [sta.Store].
func (s *Store) PutKeySet(ctx context.Context, set sta.SignedKeySet) error {
	data, err := json.Marshal(set)
	if err != nil {
		return err
	}
	key := s.keys.keySet()
	var there *redis.StringCmd
	return s.transact(ctx, transaction{
		watch: []string{key},
		look:  func(ctx context.Context, p redis.Pipeliner) { there = p.Get(ctx, key) },
		write: func(ctx context.Context, p redis.Pipeliner) error {
			var old sta.SignedKeySet
			if !errors.Is(there.Err(), redis.Nil) {
				var err error
				if old, err = parseKeySet(there.Val()); err != nil {
					return err
				}
			}
			if set.Version <= old.Version {
				return sta.ErrVersion
			}
			p.SetArgs(ctx, key, data, redis.SetArgs{})
			p.Publish(ctx, s.keys.channel(), "")
			return nil
		},
	})
}
