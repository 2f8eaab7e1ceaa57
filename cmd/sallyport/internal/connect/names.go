package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport/sallyport/splitdns/stub"
	"github.com/sallyport/sallyport/tunnel"
)

// How long an asker of the stub waits at most, and how long the gateway's DNS
// has where the local one may be asked after it.
const (
	answerLimit  = 5 * time.Second
	gatewayLimit = 3 * time.Second
)

// streamIdle is how long an application's stream of questions may say nothing.
const streamIdle = 30 * time.Second

// localhostTTL is for answers about this machine, which do not change.
const localhostTTL = time.Hour

// errNoAnswer is an answer that says there is none.
var errNoAnswer = errors.New("the DNS server has no answer")

// Lookup is the account of one question to the DNS stub.
type Lookup struct {
	Name string // in lower case, without a dot at its end; "" is one that no host has
	Type uint16 // of RFC 1035 section 3.2.2 and its successors
	// Asked says where: "locally", "through the gateway", …
	Asked string
	Took  time.Duration
	Err   error // nil if there was an answer, be it that there is no such name
}

// String is the line for the log.
func (l Lookup) String() string {
	name := tunnel.SafeText(l.Name, maxField)
	if name == "" {
		name = "(no host's name)"
	}
	line := fmt.Sprintf("type %d of %s is asked %s", l.Type, name, l.Asked)
	if l.Err != nil {
		line += ": " + tunnel.SafeText(l.Err.Error(), 300)
	}
	return line
}

// DNSListener is where the DNS stub listens.
type DNSListener struct {
	stream  net.Listener
	packets net.PacketConn
}

// Addr is its address, the same for UDP and TCP.
func (l *DNSListener) Addr() net.Addr { return l.stream.Addr() }

// Close is for a listener that is not served.
func (l *DNSListener) Close() error { return errors.Join(l.stream.Close(), l.packets.Close()) }

// freePortTries is how many free TCP ports are tried whose UDP port is taken.
const freePortTries = 16

// ListenDNS opens the stub's sockets of Config.DNSListen, for ServeDNS.
func (p *Proxy) ListenDNS(ctx context.Context) (*DNSListener, error) {
	stream, err := listen(ctx, p.dnsListen)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(p.dnsListen) // listen has checked it
	tries := 1
	if n, err := strconv.Atoi(port); err == nil && n == 0 {
		tries = freePortTries
	}
	for {
		var config net.ListenConfig
		packets, err := config.ListenPacket(ctx, "udp", stream.Addr().String())
		if err == nil {
			return &DNSListener{stream, packets}, nil
		}
		_ = stream.Close()
		if tries--; tries == 0 {
			return nil, err
		}
		if stream, err = listen(ctx, p.dnsListen); err != nil {
			return nil, err
		}
	}
}

// ServeDNS is Serve for the DNS stub. It answers whoever asks on this machine:
// DNS knows no passwords.
func (p *Proxy) ServeDNS(ctx context.Context, l *DNSListener) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	inside := newInside(func(ctx context.Context) (net.Conn, error) { return p.Dial(ctx, "tcp", deviceDNS+":53") })
	defer inside.close()
	outside := localDNS{server: p.localDNS, never: l.Addr().String()}
	n := &names{split: p.split, gateway: inside.exchange, local: outside.exchange, told: p.hooks.Lookup}
	if err := checkLoopback(l.packets.LocalAddr().String()); err != nil {
		return errors.Join(fmt.Errorf("connect: %w", err), l.Close())
	}

	var running sync.WaitGroup
	failed := make(chan error, 2)
	running.Go(func() {
		failed <- stub.ServePackets(inner, l.packets, n)
	})
	running.Go(func() {
		failed <- p.serve(inner, l.stream, func(ctx context.Context, app tunnel.Stream) {
			_ = stub.ServeStream(ctx, quiet{app, streamIdle}, n) // how an application goes is its own affair
		})
	})
	err := <-failed // one without the other is no DNS server
	cancel()
	running.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("connect: DNS: %w", err)
}

// quiet bounds the waiting for a question, which ServeStream leaves to others.
type quiet struct {
	net.Conn
	limit time.Duration
}

func (c quiet) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		t = time.Now().Add(c.limit)
	}
	return c.Conn.SetReadDeadline(t)
}

// names is the stub's Handler.
type names struct {
	split          split
	gateway, local asking
	told           func(Lookup) // may be nil
}

// asking is a way to ask a DNS server: the answer has the query's id and question.
type asking func(ctx context.Context, query []byte) (answer []byte, err error)

// Answer asks whom split DNS says.
func (n *names) Answer(ctx context.Context, q *stub.Query) []byte {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	began := time.Now()
	who := n.split.asks(q.Name)
	answer, err := n.ask(ctx, who, q)
	if n.told != nil {
		n.told(Lookup{Name: q.Name, Type: q.Type, Asked: who.String(), Took: time.Since(began), Err: err})
	}
	if answer == nil {
		return q.Fail(stub.ServerFailure)
	}
	return answer
}

// ask returns an answer, or none and why.
func (n *names) ask(ctx context.Context, who asked, q *stub.Query) ([]byte, error) {
	switch who {
	case askItself:
		return q.Addresses(loopbacks[:], localhostTTL), nil
	case askLocal:
		return n.local(ctx, q.Wire())
	case askGateway:
		return n.gateway(ctx, q.Wire())
	case askBoth:
		return n.askBoth(ctx, q)
	}
	return q.Fail(stub.Refused), nil
}

// askBoth asks the local DNS when the gateway's has nothing to say. That there
// is no such name is something.
func (n *names) askBoth(ctx context.Context, q *stub.Query) ([]byte, error) {
	first, cancel := context.WithTimeout(ctx, gatewayLimit)
	answer, err := n.gateway(first, q.Wire())
	cancel()
	if err == nil {
		if rcode := stub.Rcode(answer); rcode != stub.ServerFailure && rcode != stub.Refused {
			return answer, nil
		}
		err = errNoAnswer
	}
	local, localErr := n.local(ctx, q.Wire())
	if localErr != nil {
		return nil, errors.Join(err, localErr)
	}
	return local, nil
}
