package boltstore

import (
	"context"
	"encoding/json"
	"errors"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport/sallyport/sta"
)

// KeySet gives the key set; see [sta.Store].
func (s *Store) KeySet(ctx context.Context) (set sta.SignedKeySet, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		set, err = keySet(tx)
		return err
	})
	return set, err
}

func keySet(tx *bolt.Tx) (set sta.SignedKeySet, err error) {
	data := tx.Bucket(meta).Get(keySetKey)
	if data == nil {
		return set, sta.ErrNotFound
	}
	if json.Unmarshal(data, &set) != nil {
		return set, &CorruptError{"the key set", errors.New("it is no JSON of one")}
	}
	return set, nil
}

// PutKeySet replaces the key set; see [sta.Store].
func (s *Store) PutKeySet(ctx context.Context, set sta.SignedKeySet) error {
	data, err := json.Marshal(set)
	if err != nil {
		return err
	}
	err = s.batch(ctx, func(tx *bolt.Tx) error {
		old, err := keySet(tx)
		if err != nil && !errors.Is(err, sta.ErrNotFound) {
			return err
		}
		if set.Version <= old.Version {
			return sta.ErrVersion
		}
		return tx.Bucket(meta).Put(keySetKey, data)
	})
	if err == nil {
		s.Changed()
	}
	return err
}
