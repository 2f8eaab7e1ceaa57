package splitdns

import (
	"container/list"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// key is one question. It needs no zone: a name has exactly one.
type key struct {
	name  string
	qtype uint16
}

// segment is what one zone's servers said to one question: the aliases that
// they may speak of, and either an end or the name where another question goes
// on. It never changes, so it is shared without a lock.
//
//	mail.example.com ─▶ mx.example.com ─▶ tenant.cloud.example.net
//	└── zone example.com: links, open ───┘└── public: addrs ─────┘
type segment struct {
	links   []string     // targets of the aliases, in order
	open    bool         // the last link is to be asked for; else what follows is the end
	addrs   []netip.Addr // of A and AAAA
	rrs     []dns.RR     // of the other types
	rcode   int          // of the last name: dns.RcodeSuccess or dns.RcodeNameError
	server  string
	expires time.Time
}

// isPositive tells a segment that leads somewhere from "no such name" and "no
// such record".
func (s *segment) isPositive() bool { return s.open || len(s.addrs) > 0 || len(s.rrs) > 0 }

// size is what a segment costs in memory, roughly.
func (s *segment) size() int {
	n := 256 + 32*len(s.addrs)
	for _, link := range s.links {
		n += 16 + len(link)
	}
	for _, rr := range s.rrs {
		n += 128 + 2*dns.Len(rr)
		if txt, ok := rr.(*dns.TXT); ok {
			n += 16 * len(txt.Txt) // an empty string is one byte on the wire
		}
	}
	return n
}

// entry is what is known about a question. A failure does not push out what was
// known before: that is served stale.
type entry struct {
	good     *segment // nil: nothing
	failure  error    // of the last try; nil when it succeeded
	failedAt time.Time
}

func (e entry) isFresh(now time.Time) bool { return e.good != nil && now.Before(e.good.expires) }

// canServeStale tells whether the segment has not been expired for too long.
// Only something that leads somewhere is served stale: a name that did not
// exist may well exist by now.
func (e entry) canServeStale(now time.Time, stale time.Duration) bool {
	return e.good != nil && e.good.isPositive() && now.Before(e.good.expires.Add(stale))
}

// failedWithin tells whether the last try failed less than d ago.
func (e entry) failedWithin(d time.Duration, now time.Time) bool {
	return e.failure != nil && now.Before(e.failedAt.Add(d))
}

// cache keeps the entries used last: so many, and so many bytes. It knows
// nothing of time. A nil cache keeps nothing.
//
// It is cut into shards, each with a lock and a share of the room, so that
// tunnels that are opened at once do not queue.
type cache struct {
	seed   maphash.Seed
	shards []shard
}

type shard struct {
	maxEntries, maxBytes int

	mu    sync.Mutex // guards what follows
	byKey map[key]*list.Element
	order list.List // of *item, the one used last in front
	bytes int
}

type item struct {
	key   key
	entry entry
	size  int
}

// bytesPerEntry is the room for an entry on the average. A segment with a
// handful of addresses takes 400 bytes, the largest about 50 KiB.
const bytesPerEntry = 1024

// newCache makes a cache for so many entries; none for 0 and less.
func newCache(entries int) *cache {
	if entries <= 0 {
		return nil
	}
	count := 1
	if entries >= 1024 {
		count = 16
	}
	c := &cache{seed: maphash.MakeSeed(), shards: make([]shard, count)}
	for i := range c.shards {
		s := &c.shards[i]
		s.maxEntries = entries / count
		s.maxBytes = max(s.maxEntries*bytesPerEntry, 64<<10)
		s.byKey = make(map[key]*list.Element)
	}
	return c
}

func (c *cache) shardOf(name string) *shard {
	return &c.shards[maphash.String(c.seed, name)%uint64(len(c.shards))]
}

func (c *cache) get(k key) (entry, bool) {
	if c == nil {
		return entry{}, false
	}
	s := c.shardOf(k.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.byKey[k]
	if found == nil {
		return entry{}, false
	}
	s.order.MoveToFront(found)
	return found.Value.(*item).entry, true
}

// put replaces what there was.
func (c *cache) put(k key, e entry) {
	if c == nil {
		return
	}
	k.name = strings.Clone(k.name) // it may be a part of something large, which must not stay
	put := &item{key: k, entry: e, size: 256}
	if e.good != nil {
		put.size += e.good.size()
	}
	if e.failure != nil {
		put.size += 2 * len(e.failure.Error()) // the text, and the errors that it is made of
	}
	s := c.shardOf(k.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byKey[k]; old != nil {
		s.remove(old)
	}
	if put.size > s.maxBytes {
		return // rather than nothing but this one
	}
	s.byKey[k] = s.order.PushFront(put)
	s.bytes += put.size
	for s.order.Len() > s.maxEntries || s.bytes > s.maxBytes {
		s.remove(s.order.Back())
	}
}

func (c *cache) drop(k key) {
	if c == nil {
		return
	}
	s := c.shardOf(k.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byKey[k]; old != nil {
		s.remove(old)
	}
}

// remove takes an element out. The caller holds the mutex.
func (s *shard) remove(e *list.Element) {
	gone := s.order.Remove(e).(*item)
	delete(s.byKey, gone.key)
	s.bytes -= gone.size
}
