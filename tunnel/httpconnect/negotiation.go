package httpconnect

import (
	"context"
	"errors"

	"github.com/sallyport/sallyport/tunnel"
)

var errOrder = errors.New("httpconnect: negotiation step out of order")

// voice is how a request is answered, by its version of HTTP. One of the two is
// called last; succeed may fail and leave the other to be called.
type voice interface {
	refuse(answer)
	succeed() (tunnel.Stream, error)
}

// negotiation tells of one request, step by step. What the request says is known
// from the start, so its steps are merely counted.
type negotiation struct {
	peer  tunnel.Peer
	wish  wish
	voice voice
	step  step
}

// step is the one that comes next.
type step int

const (
	stepCredential step = iota
	stepDestination
	stepSucceed
	stepNone
)

var _ tunnel.Negotiation = (*negotiation)(nil)

func (n *negotiation) Peer() tunnel.Peer { return n.peer }

func (n *negotiation) Credential(context.Context) (tunnel.Credential, error) {
	if n.step != stepCredential {
		return tunnel.Credential{}, errOrder
	}
	n.step = stepDestination
	if n.wish.refusal != nil {
		n.step = stepNone
		return tunnel.Credential{}, n.wish.refusal
	}
	credential := n.wish.credential
	n.wish.credential = tunnel.Credential{} // nobody needs the secret twice
	return credential, nil
}

func (n *negotiation) Destination(context.Context) (tunnel.Destination, error) {
	if n.step != stepDestination {
		return tunnel.Destination{}, errOrder
	}
	n.step = stepSucceed
	return n.wish.destination, nil
}

func (n *negotiation) Refuse(err error) {
	if n.voice == nil {
		return
	}
	n.voice.refuse(answerTo(err))
	n.voice = nil
}

func (n *negotiation) Succeed() (tunnel.Stream, error) {
	if n.step != stepSucceed || n.voice == nil {
		return nil, errOrder
	}
	n.step = stepNone
	s, err := n.voice.succeed()
	if err == nil {
		n.voice = nil
	}
	return s, err
}

// gone is the refusal of a client that could not be told of success.
func gone(err error) *tunnel.Refusal {
	return &tunnel.Refusal{
		Status: 400, Label: tunnel.LabelHungUp, Text: "answering the request: the client went away", Err: err,
	}
}
