package follow

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pollWait is how long a request to the node that is followed is left open:
	// half the lease that an authority gives, so that a lost one is followed in time.
	pollWait = 5 * time.Second
	// answerTime is how long a node has to answer, beyond what it was asked to
	// wait. With pollWait it bounds how long a node is down before it is known.
	answerTime = 3 * time.Second
	// probeEvery is how often the nodes that are not followed are looked at.
	probeEvery = 5 * time.Second
	// lookAgain is how soon a node is asked for a better head, and lookSeldom how
	// soon when that has been no use for a while.
	lookAgain  = 250 * time.Millisecond
	lookSeldom = 2 * time.Second
	// While no node is up, each is tried again with pauses that grow.
	minRetry = 100 * time.Millisecond
	maxRetry = 5 * time.Second
	// shunFor is how long a node goes to the end of the line for redeems when it
	// failed at one.
	shunFor = 10 * time.Second
)

// state is how a node stands.
//
//	untried ──► up ◄──► down
//	   └─────────────────►┘
type state int

const (
	untried state = iota
	up
	down
)

// node is a node as it was found to be.
type node struct {
	Node
	failed atomic.Int64 // when it last failed at a redeem, Unix time in nanoseconds

	// Guarded by nodeSet.mu.
	state state
	since time.Time // Config.Now
	why   error     // it is down, or of no good

	// The rest belongs to the goroutine that asks the node.
	asked   time.Time     // when it last answered, or failed to
	retry   time.Duration // the pause while no node is up
	wait    time.Duration // how long the next request may stay open
	keys    bool          // it was asked for its keys
	keyed   time.Time     // and when
	short   time.Time     // since when its heads are no good; zero if they are
	handed  time.Time     // when entries were last handed back
	alarmed bool          // somebody was told of that
	// disbelieved is whether somebody was told that it is not to be believed.
	disbelieved bool
}

// nodeSet is the ways to an authority that are in use together. Its list is
// immutable.
type nodeSet struct {
	list []*node

	mu      sync.Mutex    // guards the nodes' states, and
	changed chan struct{} // closed, and replaced, when one changes
}

func newNodeSet(nodes []Node, now time.Time) *nodeSet {
	s := &nodeSet{changed: make(chan struct{})}
	for _, n := range nodes {
		s.list = append(s.list, &node{Node: n, since: now, retry: minRetry})
	}
	return s
}

// set notes how a node stands now. It tells whether that is another state.
func (s *nodeSet) set(n *node, to state, why error, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.why = why
	if n.state == to {
		return false
	}
	n.state, n.since = to, now
	close(s.changed)
	s.changed = make(chan struct{})
	return true
}

// lead gives the node that is followed: the first that is up, or nil.
func (s *nodeSet) lead() *node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leadLocked()
}

func (s *nodeSet) leadLocked() *node {
	for _, n := range s.list {
		if n.state == up {
			return n
		}
	}
	return nil
}

// othersUp tells whether there is a node to go to instead.
func (s *nodeSet) othersUp(n *node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.list, func(o *node) bool { return o != n && o.state == up })
}

// isDown tells whether a node is down.
func (s *nodeSet) isDown(n *node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n.state == down
}

// allTried tells whether every node was asked.
func (s *nodeSet) allTried() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.list, func(n *node) bool { return n.state == untried })
}

// lost gives the reason why there is no node to follow, nil if there is one, or
// may be.
func (s *nodeSet) lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.list {
		if n.state != down {
			return nil
		}
	}
	return s.list[0].why
}

// turn says when a node is to be asked next, for how long the request may stay
// open, and what to watch meanwhile. Only the node's own goroutine may ask.
func (s *nodeSet) turn(n *node, bypass time.Duration) (due time.Time, wait time.Duration, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lead := s.leadLocked()
	switch {
	case n.state == untried:
		return time.Time{}, 0, s.changed
	case lead == nil:
		return n.asked.Add(n.retry), 0, s.changed
	case lead == n:
		return n.asked, n.wait, s.changed
	case n.state == up:
		return n.asked.Add(probeEvery), 0, s.changed
	}
	return n.asked.Add(bypass), 0, s.changed
}

// upNodes gives the nodes to redeem at: those that are up, in order and beginning
// with another one each time that first counts on, and behind them those of them
// that failed just now. Right after a switch, when nobody has been asked yet, all
// may be.
func (s *nodeSet) upNodes(first uint64) []*node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var nodes, untriedOnes []*node
	for _, n := range s.list {
		switch n.state {
		case up:
			nodes = append(nodes, n)
		case untried:
			untriedOnes = append(untriedOnes, n)
		}
	}
	if len(nodes) == 0 {
		return untriedOnes
	}
	at := int(first % uint64(len(nodes)))
	nodes = append(nodes[at:len(nodes):len(nodes)], nodes[:at]...)
	shunned := time.Now().Add(-shunFor).UnixNano()
	slices.SortStableFunc(nodes, func(a, b *node) int {
		return boolInt(a.failed.Load() > shunned) - boolInt(b.failed.Load() > shunned)
	})
	return nodes
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// NodeStatus is how one node of the authority stands.
type NodeStatus struct {
	Name string
	// Up is whether it answers, and answers what can be believed.
	Up bool
	// Followed is whether revocations are taken from this one.
	Followed bool
	// Since is when that became so.
	Since time.Time
	// Why is what is wrong with it; nil if nothing is, or nobody has asked yet.
	Why error
}

// Status gives the nodes in order.
func (f *Follower) Status() []NodeStatus {
	s := f.current()
	s.mu.Lock()
	defer s.mu.Unlock()
	lead := s.leadLocked()
	status := make([]NodeStatus, len(s.list))
	for i, n := range s.list {
		status[i] = NodeStatus{Name: n.Name, Up: n.state == up, Followed: n == lead, Since: n.since, Why: n.why}
	}
	return status
}

// current gives the nodes in use.
func (f *Follower) current() *nodeSet {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes
}

// Use goes on with other nodes of the same authority. What is known stays known,
// and what was revoked is revoked: positions and heads are the authority's, not a
// node's. Redeems that are under way end where they began.
func (f *Follower) Use(nodes []Node) error {
	if err := checkNodes(nodes); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = newNodeSet(nodes, f.config.Now())
	if f.switched != nil {
		f.switched()
	}
	return nil
}

// enter gives the nodes to work with, and a context that ends when there are
// others.
func (f *Follower) enter(ctx context.Context) (*nodeSet, context.Context, context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	f.switched = cancel
	return f.nodes, ctx, cancel
}
