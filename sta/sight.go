package sta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// How a node sees the others.
const (
	// headEvery is how often a head is signed when nothing changes.
	headEvery = 5 * time.Second
	// noticeLife is how long a node counts as running after its last notice, and
	// noticeEvery how often it leaves one when there is nothing new to say.
	noticeLife  = 10 * time.Second
	noticeEvery = 2 * time.Second
	// maxApart is by how much the clocks of two nodes may differ.
	maxApart = 2 * time.Second
	// maxTrip is the longest question to the store whose answer still tells its
	// time well enough.
	maxTrip = 500 * time.Millisecond
	// lookTimeout bounds one look into the store.
	lookTimeout = 5 * time.Second
	// alarmEvery is how often the same alarm is told, and maxAlarms how many are
	// told apart.
	alarmEvery = 10 * time.Minute
	maxAlarms  = 64
	// lookPage is how many entries are read at a time.
	lookPage = 10_000
)

// sight is what a node knows of its surroundings by looking into the store: the
// other nodes and their gateways, the key set, and how far the clocks are apart.
type sight struct {
	keys atomic.Pointer[ticket.KeySet]
	head atomic.Pointer[signedHead]
	// apart is set while issuing must wait for the clocks to come together.
	apart atomic.Bool
	good  atomic.Bool // set once the store was looked into
	// lapsed is set when the store failed: what comes back may be another one,
	// that lacks something in the midst of a log.
	lapsed atomic.Bool

	mu      sync.Mutex // guards all below
	peers   map[string]*notice
	changed chan struct{} // closed, and replaced, when peers have something new

	looking sync.Mutex // held for one look, and guards all below
	serial  uint64
	posted  *notice
	at      time.Time // of posted
	offset  time.Duration
	all     bool                 // what the log holds was put into the store once since it last failed
	stored  ticket.Positions     // what the store had at the last look
	alarmed map[string]time.Time // when a text was told last
}

type signedHead struct {
	ticket.Head
	signed string
}

func (s *sight) init(keys *ticket.KeySet) {
	s.keys.Store(keys)
	s.changed = make(chan struct{})
}

func (s *sight) news() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// nodes gives what the others last said, by the name of this life of theirs.
func (s *sight) nodes() map[string]*notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.peers)
}

// Keys gives the key set in force.
func (a *Authority) Keys() *ticket.KeySet { return a.sight.keys.Load() }

// follow looks into the store whenever something changed there or here, and at
// least every LookEvery, until ctx ends.
func (a *Authority) follow(ctx context.Context) {
	hints := a.store.Watch(ctx)
	turn := time.NewTicker(a.lookEvery)
	defer turn.Stop()
	failing := false
	for {
		entries, reports := a.log.News(), a.followers.news()
		err := a.Look(ctx)
		if ctx.Err() != nil {
			a.leave()
			return
		}
		if (err != nil) != failing && a.hooks.LookFailed != nil {
			a.hooks.LookFailed(err)
		}
		failing = err != nil
		if failing { // a store that is away is not asked at every report
			entries, reports = nil, nil
		}
		select {
		case <-ctx.Done():
		case _, open := <-hints:
			if !open {
				hints = nil
			}
		case <-entries:
		case <-reports:
		case <-turn.C:
		}
	}
}

// look makes sure that the store was looked into at least once.
func (a *Authority) look(ctx context.Context) error {
	if a.sight.good.Load() {
		return nil
	}
	if err := a.Look(ctx); err != nil {
		return unavailable("the revocations are not known yet", err)
	}
	return nil
}

// Look brings this node and the store together, once: it takes what others
// revoked, writes back what the store has lost, takes a newer key set, and signs a
// head that says how far it got. Run does so all the time.
func (a *Authority) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s := &a.sight
	s.looking.Lock()
	defer s.looking.Unlock()
	// What could not be written here before may be now; revoking never waits.
	if err := a.log.Save(); err != nil {
		a.alarm(err) // the store and the others have it
	}
	if err := a.readPeers(ctx); err != nil {
		s.lapsed.Store(true)
		return err
	}
	if err := a.takeKeys(ctx); err != nil {
		return err
	}
	if err := a.takeEntries(ctx); err != nil {
		if errors.Is(err, revlog.ErrGap) {
			err = errors.Join(err, a.postNotice(ctx, true))
		}
		return err
	}
	if err := a.compareClocks(ctx); err != nil {
		return err
	}
	if err := a.signHead(); err != nil {
		return err
	}
	s.good.Store(true)
	if err := a.postNotice(ctx, false); err != nil {
		return err
	}
	return nil
}

// compareClocks finds out by how much this node's clock differs from the store's,
// and so from those of the other nodes.
func (a *Authority) compareClocks(ctx context.Context) error {
	began, start := a.now(), time.Now()
	there, err := a.store.Clock(ctx)
	if err != nil {
		return fmt.Errorf("reading the store's clock: %w", err)
	}
	if trip := time.Since(start); trip <= maxTrip {
		a.sight.offset = began.Add(trip / 2).Sub(there)
	}
	worst, by := "", time.Duration(0)
	for _, n := range a.sight.nodes() {
		if d := (a.sight.offset - time.Duration(n.Offset)*time.Millisecond).Abs(); d > by {
			worst, by = n.Node, d
		}
	}
	apart := by > maxApart
	if was := a.sight.apart.Swap(apart); was != apart && a.hooks.ClocksApart != nil {
		if !apart {
			by = 0
		}
		a.hooks.ClocksApart(worst, by)
	}
	return nil
}

// ErrKeyDropped: this node's signing key was taken out of the key set. Its tickets
// and heads would not be believed.
var ErrKeyDropped = errors.New("this node's signing key was taken out of the key set; give it another one")

// mayIssueNow refuses where a ticket could slip past a revocation.
func (a *Authority) mayIssueNow(ctx context.Context) error {
	if err := a.look(ctx); err != nil {
		return err
	}
	switch {
	case a.sight.apart.Load():
		return ticket.Refuse(ticket.Unavailable, "the clocks of the authority's nodes are over %s apart", maxApart)
	case !a.Keys().Names(a.signer.KeyID()):
		return ticket.Refuse(ticket.Unavailable, "this node's signing key was taken out of the key set")
	}
	return nil
}

// signHead signs what is known now, when that is news or the last one is old.
func (a *Authority) signHead() error {
	tips, now := a.log.Tips(), a.now().UTC().Truncate(time.Millisecond)
	last := a.sight.head.Load()
	keys := a.Keys()
	if last != nil && maps.Equal(tips, last.Tips) && last.Keys == keys.Version &&
		now.Sub(last.Time).Abs() < headEvery {
		return nil
	}
	if !keys.Names(a.signer.KeyID()) {
		return ErrKeyDropped
	}
	head := signedHead{Head: ticket.Head{
		Node: a.log.Writer(), Serial: a.sight.serial + 1, Time: now, Keys: keys.Version, Tips: tips,
	}}
	var err error
	if head.signed, err = a.signer.SignHead(&head.Head); err != nil {
		return err
	}
	a.sight.serial++
	a.sight.head.Store(&head)
	return nil
}
