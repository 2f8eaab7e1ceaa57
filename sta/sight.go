package sta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
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

// notice is what a node leaves in the store for the others.
//
// What an entry of the logs counts by is its own signature, and what a node has,
// its head's. The rest nobody signed: it is believed of counts, and bounded.
type notice struct {
	Node     string              `json:"node"` // its name, for people
	Known    ticket.Positions    `json:"known"`
	Head     string              `json:"head,omitempty"`
	Offset   int64               `json:"offset_ms"` // its clock, less the store's
	Gateways map[string]followed `json:"gateways,omitempty"`
	// Gap says that the store lacks something in the midst of a log: whoever has
	// it puts all there once more.
	Gap bool `json:"gap,omitempty"`

	head *ticket.Head // verified; nil if it is none
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

// leave takes the own notice back: nobody shall wait for this node.
func (a *Authority) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = a.store.PostNotice(ctx, a.log.Writer(), nil, 0)
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
	saved := a.log.Save()
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
	return saved
}

// takeEntries reads what is new in the logs, and writes back what the store does
// not have.
func (a *Authority) takeEntries(ctx context.Context) error {
	var last ticket.Positions
	for {
		own := a.log.Positions()
		logs, there, err := a.store.Entries(ctx, own, lookPage)
		if err != nil {
			return fmt.Errorf("reading the revocations: %w", err)
		}
		last = there
		var unsaved error
		if len(logs) > 0 {
			_, err = a.log.Take(a.Keys(), logs, a.peerHeads()...)
			if err != nil && !isUnsaved(err) {
				err = fmt.Errorf("the store's revocations: %w", err)
				if err := a.dispensable(err); err != nil {
					return err
				}
			} else {
				unsaved = err
			}
		}
		if maps.Equal(own, a.log.Positions()) {
			if unsaved != nil {
				return unsaved
			}
			break
		}
	}
	s := &a.sight
	if s.lapsed.Swap(false) {
		s.all = false
	}
	lacks := last
	if !s.all {
		lacks = nil // once, for what is missing in the midst of a log
	}
	// What another node has swept already is not put back.
	past := a.now().Add(-a.keep)
	entries := slices.DeleteFunc(a.log.Entries(lacks), func(e ticket.Entry) bool { return e.Forget.Before(past) })
	if len(entries) > 0 {
		// Without a replica they are there all the same, and here, too.
		switch err := a.store.PutEntries(ctx, entries); {
		case errors.Is(err, ErrFork):
			a.alarm(fmt.Errorf("writing revocations back: %w", err))
		case err != nil && !errors.Is(err, ErrNoCopy):
			return fmt.Errorf("writing revocations back: %w", err)
		}
	}
	s.all = true
	lost := 0
	for i := range entries {
		if ref := entries[i].Ref(); s.stored.Covers(ref) && !last.Covers(ref) {
			lost++
		}
	}
	s.stored = a.log.Positions()
	if lost > 0 && a.hooks.WroteBack != nil {
		a.hooks.WroteBack(lost)
	}
	return nil
}

// dispensable decides on entries in the store that cannot be believed. Somebody
// who can write there must not stop the authority with them. But if another node
// has signed that it knows what this one cannot get, or something is missing in
// the midst of a log, this node does not know enough to sign a head.
func (a *Authority) dispensable(err error) error {
	if errors.Is(err, revlog.ErrGap) {
		return err
	}
	for _, head := range a.peerHeads() {
		if lacks, other := a.log.Lacks(head); len(lacks) > 0 || other != nil {
			return err
		}
	}
	a.alarm(err)
	return nil
}

// alarm tells what somebody should look at; the same again after a while.
func (a *Authority) alarm(err error) {
	s := &a.sight
	if text := err.Error(); a.hooks.Alarm != nil && time.Since(s.alarmed[text]) > alarmEvery {
		if s.alarmed == nil || len(s.alarmed) > maxAlarms {
			s.alarmed = make(map[string]time.Time)
		}
		s.alarmed[text] = time.Now()
		a.hooks.Alarm(err)
	}
}

// takeKeys takes a newer key set over, and writes back one that the store lost.
func (a *Authority) takeKeys(ctx context.Context) error {
	if a.pin == "" {
		return nil
	}
	own := a.Keys()
	stored, err := a.store.KeySet(ctx)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return fmt.Errorf("reading the key set: %w", err)
	case err != nil || stored.Version < own.Version:
		err := a.store.PutKeySet(ctx, SignedKeySet{Version: own.Version, Signed: own.String()})
		if err != nil && !errors.Is(err, ErrVersion) {
			return fmt.Errorf("writing the key set back: %w", err)
		}
		return nil
	case stored.Version == own.Version:
		return nil
	}
	set, err := ticket.VerifyKeySet(stored.Signed, a.id, a.pin)
	if err == nil && set.Version != stored.Version {
		err = fmt.Errorf("version %d calls itself %d", stored.Version, set.Version)
	}
	if err != nil {
		a.alarm(fmt.Errorf("the key set in the store is not one of this authority: %w", err))
		return nil
	}
	a.sight.keys.Store(set)
	a.noteKeys(set)
	if a.hooks.KeysChanged != nil {
		a.hooks.KeysChanged(set)
	}
	return nil
}

// readPeers reads the notices of the other nodes.
func (a *Authority) readPeers(ctx context.Context) error {
	all, err := a.store.Notices(ctx)
	if err != nil {
		return fmt.Errorf("reading the notices: %w", err)
	}
	peers := make(map[string]*notice)
	for name, data := range all {
		if name == a.log.Writer() || ticket.CheckWriter(name) != nil {
			continue
		}
		var n notice
		if json.Unmarshal(data, &n) != nil {
			continue
		}
		n.head, _ = a.Keys().VerifyHead(n.Head)
		maps.DeleteFunc(n.Gateways, func(name string, _ followed) bool { return !isFollower(name) })
		peers[name] = &n
		a.sight.all = a.sight.all && !n.Gap
	}
	s := &a.sight
	s.mu.Lock()
	defer s.mu.Unlock()
	if reflect.DeepEqual(peers, s.peers) {
		return nil
	}
	s.peers = peers
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// peerHeads gives the heads in the notices that are what they say.
func (a *Authority) peerHeads() []*ticket.Head {
	var heads []*ticket.Head
	for _, n := range a.sight.nodes() {
		if n.head != nil {
			heads = append(heads, n.head)
		}
	}
	return heads
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

// postNotice leaves word when there is something new to say, or soon would be
// nothing at all.
func (a *Authority) postNotice(ctx context.Context, gap bool) error {
	s := &a.sight
	n := &notice{
		Node: a.node, Known: a.log.Positions(), Gateways: a.followers.all(),
		Offset: s.offset.Milliseconds(), Head: a.newestHead(), Gap: gap,
	}
	if s.posted != nil && time.Since(s.at) < noticeEvery {
		same := *n
		same.Head, same.Offset = s.posted.Head, s.posted.Offset
		if reflect.DeepEqual(&same, s.posted) {
			return nil
		}
	}
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := a.store.PostNotice(ctx, a.log.Writer(), data, noticeLife); err != nil {
		return fmt.Errorf("leaving a notice: %w", err)
	}
	s.posted, s.at = n, time.Now()
	return nil
}
