package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
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

// Lookup is the account of one question to the DNS stub.
type Lookup struct {
	Name string // in lower case, without a dot at its end; "" is one that no host has
	Type uint16 // of RFC 1035 section 3.2.2 and its successors
	// Asked says where, and why there: "through the gateway", "of the local DNS
	// 192.0.2.53:53", …
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
	line := fmt.Sprintf("%s of %s is asked %s", typeName(l.Type), name, l.Asked)
	if l.Err != nil {
		line += ": " + oneLine(l.Err)
	}
	return line
}

// typeName is how people write a type of record; one that is not seen often is
// written by its number (RFC 3597 section 5).
func typeName(t uint16) string {
	switch t {
	case 1:
		return "A"
	case 2:
		return "NS"
	case 5:
		return "CNAME"
	case 6:
		return "SOA"
	case 12:
		return "PTR"
	case 15:
		return "MX"
	case 16:
		return "TXT"
	case 28:
		return "AAAA"
	case 33:
		return "SRV"
	case 64:
		return "SVCB"
	case 65:
		return "HTTPS"
	}
	return fmt.Sprintf("TYPE%d", t)
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
	stream, err := listen(ctx, dnsFlag, p.dnsListen)
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
		if stream, err = listen(ctx, dnsFlag, p.dnsListen); err != nil {
			return nil, err
		}
	}
}

// ServeDNS is Serve for the DNS stub. It answers whoever asks on this machine:
// DNS knows no passwords.
func (p *Proxy) ServeDNS(ctx context.Context, l *DNSListener) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer p.inside.use()()
	outside := localDNS{server: p.localDNS, never: l.Addr().String()}
	n := &names{split: p.split, gateway: p.inside.exchange, local: outside.exchange, told: p.hooks.Lookup}
	if err := checkLoopback(dnsFlag, l.packets.LocalAddr().String()); err != nil {
		return errors.Join(fmt.Errorf("connect: %w", err), l.Close())
	}

	var running sync.WaitGroup
	failed := make(chan error, 2)
	running.Go(func() {
		failed <- stub.ServePackets(inner, l.packets, n)
	})
	running.Go(func() {
		failed <- p.serve(inner, l.stream, make(chan struct{}, maxDNSStreams), func(ctx context.Context, app tunnel.Stream) {
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

// names is the stub's Handler. Both ways to ask give an answer with the query's
// id and question.
type names struct {
	split   split
	gateway func(ctx context.Context, query []byte) (answer []byte, err error)
	local   func(ctx context.Context, query []byte) (answer []byte, server string, err error)
	told    func(Lookup) // may be nil
}

// Answer asks whom split DNS says.
func (n *names) Answer(ctx context.Context, q *stub.Query) []byte {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	began := time.Now()
	answer, where, err := n.ask(ctx, q)
	if n.told != nil {
		n.told(Lookup{Name: q.Name, Type: q.Type, Asked: where, Took: time.Since(began), Err: err})
	}
	if answer == nil {
		return q.Fail(stub.ServerFailure)
	}
	return answer
}

// ask returns an answer, and who really gave it. With an error there may be an
// answer nevertheless: one that says that there is none.
func (n *names) ask(ctx context.Context, q *stub.Query) (answer []byte, where string, err error) {
	switch who := n.split.asks(q.Name); who {
	case askItself:
		return q.Addresses(loopbacks[:], localhostTTL), who.String(), nil
	case askLocal:
		return n.askLocal(ctx, q)
	case askGateway:
		answer, err = n.askGateway(ctx, q)
		return answer, who.String(), err
	case askBoth:
		return n.askBoth(ctx, q)
	}
	return q.Fail(stub.Refused), askNobody.String(), nil
}

func (n *names) askGateway(ctx context.Context, q *stub.Query) ([]byte, error) {
	answer, err := n.gateway(ctx, q.Wire())
	if err == nil {
		err = refusalOf(answer)
	}
	return answer, err
}

func (n *names) askLocal(ctx context.Context, q *stub.Query) ([]byte, string, error) {
	answer, server, err := n.local(ctx, q.Wire())
	if err == nil {
		switch stub.Rcode(answer) {
		case stub.Refused:
			err = errRefused
		case stub.ServerFailure:
			err = errFailed
		}
	}
	return answer, strings.TrimSpace(askLocal.String() + " " + server), err
}

// askBoth asks the local DNS when the gateway's has nothing to say. That there
// is no such name is something.
func (n *names) askBoth(ctx context.Context, q *stub.Query) ([]byte, string, error) {
	first, cancel := context.WithTimeout(ctx, gatewayLimit)
	answer, why := n.askGateway(first, q)
	cancel()
	if why == nil {
		return answer, askGateway.String(), nil
	}
	answer, where, err := n.askLocal(ctx, q)
	where = fmt.Sprintf("%v (%s), then %s", askGateway, oneLine(why), where)
	return answer, where, err
}
