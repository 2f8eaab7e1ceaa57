package tunnel

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	socks5 "github.com/armon/go-socks5"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// CarrierSOCKS5 is the Peer's Carrier of SOCKS5 over TLS.
const CarrierSOCKS5 = "socks5"

// methods are the authentication methods that we take, best first.
func methods() []socks.Method {
	return []socks.Method{
		socks.Token{},
		socks.UserPass{},
		socks.NoAuth{},
	}
}

// stage is how far a negotiation has come:
//
//	          Credential             Destination           Succeed
//	greeting ────┬─────→ presented ───────────→ requested ────────→ over
//	             └─→ noMethod                                        ↑
//	    Refuse, from any of them ────────────────────────────────────┘
//
// A credential that stands in place of a destination comes with the request, so
// Credential goes straight to requested then.
//
// The stage says what Refuse writes: nothing at the greeting, since there is
// nothing it would answer; 05 FF without a method in common; the method's
// failure until the credential has been answered; a reply from then on. A step
// that fails halfway leaves the stage at what is owed next.
type stage int

const (
	stageGreeting stage = iota
	stageNoMethod
	stagePresented
	stageRequested
	stageOver
)

var errOrder = errors.New("tunnel: negotiation step out of order")

// socksNegotiation speaks SOCKS5 inside TLS.
type socksNegotiation struct {
	peer   Peer
	stream clientStream
	settle func() error // asks for a place among the tunnels
	stage  stage
	method socks.Method   // nil before it is chosen
	beside *socks.Request // what came with a credential in place of a destination
	ready  bool           // the step that the stage names came to its end
}

var _ Negotiation = (*socksNegotiation)(nil)

func (n *socksNegotiation) Peer() Peer { return n.peer }

func (n *socksNegotiation) Credential(ctx context.Context) (Credential, error) {
	if n.stage != stageGreeting {
		return Credential{}, errOrder
	}
	defer n.interruptedBy(ctx)()
	offered, err := socks.ReadGreeting(n.stream.ahead())
	if err != nil {
		return Credential{}, refuse(ctx, "greeting", err)
	}
	n.stage = stageNoMethod
	if n.method = socks.Choose(offered, methods()); n.method == nil {
		return Credential{}, refuse(ctx, "greeting", socks.NoMethod)
	}
	n.stage = stagePresented
	presented, err := n.method.Authenticate(n.stream.ahead(), n.stream)
	if err != nil {
		return Credential{}, refuse(ctx, "credential", err)
	}
	if _, none := n.method.(socks.NoAuth); none {
		return n.credentialInRequest(ctx)
	}
	n.ready = true
	return credentialOf(presented), nil
}

func credentialOf(presented *socks5.AuthContext) Credential {
	if token, ok := presented.Payload[socks.PayloadToken]; ok {
		return Credential{Secret: token, By: ByToken}
	}
	return Credential{
		User:   SafeText(presented.Payload[socks.PayloadUser], 255),
		Secret: presented.Payload[socks.PayloadPassword],
		By:     ByPassword,
	}
}

// credentialInRequest reads the request of a client that presented nothing: its
// destination must be the credential. The bound on bytes from strangers stays.
func (n *socksNegotiation) credentialInRequest(ctx context.Context) (Credential, error) {
	n.stage = stageRequested
	request, err := socks.ReadRequest(n.stream.ahead())
	if err != nil {
		return Credential{}, refuse(ctx, "request", err)
	}
	if !strings.HasPrefix(request.Host, ";") {
		return Credential{}, &Refusal{
			Reply: socks.NotAllowed, Status: http.StatusProxyAuthRequired,
			Label: LabelNoCredential, Text: "request: no authentication, and no credential in place of the destination",
		}
	}
	n.beside, n.ready = &request, true
	return Credential{Secret: request.Host, By: ByDestination}, nil
}

func (n *socksNegotiation) Destination(ctx context.Context) (Destination, error) {
	if n.beside != nil && n.ready {
		n.stream.lift()
		return Destination{InCredential: true, Port: n.beside.Port}, nil
	}
	if n.stage != stagePresented || !n.ready {
		return Destination{}, errOrder
	}
	defer n.interruptedBy(ctx)()
	n.stage, n.ready = stageRequested, false
	if status := n.method.Status(true); status != nil {
		if _, err := n.stream.Write(status); err != nil {
			return Destination{}, refuse(ctx, "answering the credential", err)
		}
	}
	n.stream.lift()
	request, err := socks.ReadRequest(n.stream.ahead())
	if err != nil {
		return Destination{}, refuse(ctx, "request", err)
	}
	n.ready = true
	return Destination{Host: request.Host, Addr: request.Addr, Port: request.Port}, nil
}

func (n *socksNegotiation) Refuse(err error) {
	var last []byte
	switch n.stage {
	case stageOver:
		return
	case stageNoMethod:
		last = socks.AppendNoAcceptable(nil)
	case stagePresented:
		last = n.method.Status(false)
	case stageRequested:
		last = reply(err).Append(nil)
	}
	n.stage = stageOver
	n.stream.refuse(last)
}

func (n *socksNegotiation) Succeed() (Stream, error) {
	if n.stage != stageRequested || !n.ready {
		return nil, errOrder
	}
	n.ready = false
	if err := settled(n.settle); err != nil {
		return nil, err
	}
	n.stage = stageOver
	return opened(n.stream, socks.Succeeded.Append(nil))
}

// interruptedBy lets ctx end what is being read; the returned function undoes it.
func (n *socksNegotiation) interruptedBy(ctx context.Context) func() {
	return interrupt(ctx, n.stream, n.peer.Deadline)
}

// interrupt lets ctx end a read; the returned function undoes it. The deadline that
// ctx moved is put back, so that a step which was interrupted too late to fail leaves
// no trace.
func interrupt(ctx context.Context, s Stream, deadline time.Time) func() {
	moved := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(moved)
		_ = s.SetReadDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-moved
			_ = s.SetReadDeadline(deadline)
		}
	}
}
