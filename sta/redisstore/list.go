package redisstore

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sta"
)

// Records are read so many at a time: at 2 KiB each, a mebibyte or less.
const (
	minBatch = 100
	maxBatch = 500
)

// List gives records, newest first; see [sta.Store]. A ticket that is being put
// while a page is read has taken its number already, and may be on the next page.
func (s *Store) List(ctx context.Context, f sta.Filter, now time.Time) (found []*sta.Record, next string, err error) {
	after, err := parseCursor(f.After)
	if err != nil {
		return nil, "", err
	}
	if f.Limit <= 0 {
		f.Limit = sta.DefaultPage
	}
	index := s.narrowest(&f)
	batch := min(max(f.Limit, minBatch), maxBatch)
	for scanned := 0; ; {
		n := min(batch, sta.MaxScan-scanned)
		// One more than wanted tells whether there is one behind.
		refs, err := s.references(ctx, index, after, n+1)
		if err != nil {
			return nil, "", err
		}
		more := len(refs) > n
		refs = refs[:min(len(refs), n)]
		records, err := s.read(ctx, index, refs)
		if err != nil {
			return nil, "", err
		}
		for i, r := range records {
			scanned, after = scanned+1, refs[i]
			if r != nil && f.Matches(r, now) {
				found = append(found, r)
			}
			if len(found) == f.Limit && (more || i < len(refs)-1) {
				return found, cursor(after), nil
			}
		}
		switch {
		case !more:
			return found, "", nil
		case scanned == sta.MaxScan:
			return found, cursor(after), nil
		}
	}
}

// narrowest chooses what to walk through: the index that leaves out the most.
func (s *Store) narrowest(f *sta.Filter) string {
	switch {
	case f.Device != "":
		return s.keys.device(f.Device)
	case f.User != "":
		return s.keys.user(f.User)
	default:
		return s.keys.tickets()
	}
}

// references gives up to n of an index that are older than after.
func (s *Store) references(ctx context.Context, index, after string, n int) (refs []string, err error) {
	newest := "+"
	if after != "" {
		newest = "(" + after
	}
	err = s.do(ctx, func(ctx context.Context, node *redis.Client) error {
		refs, err = node.ZRangeArgs(ctx, redis.ZRangeArgs{
			Key: index, ByLex: true, Rev: true, Start: newest, Stop: "-", Count: int64(n),
		}).Result()
		return err
	})
	return refs, err
}

// read gives the records that references lead to, nil for those that are gone.
// One that cannot be read must not hide the others: what is known of it stands in
// its place.
func (s *Store) read(ctx context.Context, index string, refs []string) ([]*sta.Record, error) {
	records := make([]*sta.Record, len(refs))
	if len(refs) == 0 {
		return records, nil
	}
	keys := make([]string, len(refs))
	for i, ref := range refs {
		hash, _, _ := parseReference(ref) // of none that is one: to no ticket
		keys[i] = s.keys.ticket(hash)
	}
	var values []any
	err := s.do(ctx, func(ctx context.Context, node *redis.Client) (err error) {
		values, err = node.MGet(ctx, keys...).Result()
		return err
	})
	if err != nil {
		return nil, err
	}
	var dangling []any
	for i, value := range values {
		data, there := value.(string)
		if !there {
			dangling = append(dangling, refs[i])
			continue
		}
		_, id, _ := parseReference(refs[i])
		records[i], err = parseRecord(data)
		if err != nil || records[i].ID != id {
			records[i] = s.salvage(ctx, id)
		}
	}
	s.tidy(ctx, index, dangling)
	return records, nil
}

// salvage gives what is known of a ticket whose record cannot be read.
func (s *Store) salvage(ctx context.Context, id string) *sta.Record {
	if r, err := s.ByID(ctx, id); err == nil {
		return r
	}
	return &sta.Record{ID: id, Client: damaged}
}

// tidy takes references out of an index whose tickets went by themselves. That
// may fail: they lead nowhere, and the next one who reads them tries again.
func (s *Store) tidy(ctx context.Context, index string, dangling []any) {
	if len(dangling) > 0 {
		_ = s.do(ctx, func(ctx context.Context, node *redis.Client) error {
			return node.ZRem(ctx, index, dangling...).Err()
		})
	}
}
