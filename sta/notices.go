package sta

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

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

// leave takes the own notice back: nobody shall wait for this node.
func (a *Authority) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = a.store.PostNotice(ctx, a.log.Writer(), nil, 0)
}
