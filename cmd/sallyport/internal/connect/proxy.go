package connect

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// Proxy is what applications meet: a SOCKS5 server, an HTTP proxy and a DNS
// stub. Its Dial is the Client's: always through the gateway. So is its Close, for
// when all that was served has ended.
type Proxy struct {
	*Client
	listen, httpListen, dnsListen string

	password string
	split    split
	pac      pacFile
	hooks    Hooks
	inside   *inside
	direct   net.Dialer
	localDNS string        // as Config.LocalDNS
	slots    chan struct{} // one element a connection to a proxy
}

// errPassword is all that the log learns of a failed log-in.
var errPassword = errors.New("an application presented a wrong user name or password")

// New checks the config.
func New(c Config) (*Proxy, error) {
	client, err := NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	for _, door := range [][2]string{{socksFlag, c.Listen}, {httpFlag, c.HTTPListen}, {dnsFlag, c.DNSListen}} {
		if door[1] == "" {
			continue
		}
		if err := checkLoopback(door[0], door[1]); err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
	}
	if err := checkLocalDNS(c.LocalDNS, c.DNSListen); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	password, err := newPassword(c.Password)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	ways, err := newSplit(c)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &Proxy{
		Client:     client,
		listen:     c.Listen,
		httpListen: c.HTTPListen,
		dnsListen:  c.DNSListen,
		password:   password,
		split:      ways,
		pac:        newPAC(c),
		hooks:      c.Hooks,
		inside:     newInside(client.dialDNS),
		direct:     net.Dialer{Resolver: localResolver(c.LocalDNS)},
		localDNS:   c.LocalDNS,
		slots:      make(chan struct{}, maxConnections),
	}, nil
}

// Password returns what applications must present with LocalUser, to be shown
// to the person who started the program.
func (p *Proxy) Password() string { return p.password }

// Format keeps the password out of whatever prints a Proxy.
func (p *Proxy) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "connect.Proxy") }

// serveSOCKS is the whole life of one application's connection.
func (p *Proxy) serveSOCKS(ctx context.Context, app tunnel.Stream) {
	began := time.Now()
	setUp, cancel := context.WithDeadline(ctx, began.Add(setUpLimit))
	defer cancel()
	_ = app.SetDeadline(began.Add(requestLimit))
	wanted, last, err := p.negotiate(app)
	if err != nil {
		p.tellRefused(err)
		part(app, last)
		return
	}
	_ = app.SetDeadline(began.Add(setUpLimit))
	service, way, err := p.connect(setUp, wanted)
	if err != nil {
		last = replyFor(err).Append(nil)
	} else if err = succeed(app, socks.Succeeded.Append(nil)); err != nil {
		_ = service.Close()
	}
	p.tellTunnel(wanted, way, began, err)
	if err != nil {
		part(app, last)
		return
	}
	tunnel.Relay(app, service, tunnel.Limits{})
}

// negotiate reads who the application is and where it wants to go. Nothing
// behind the request is read: early bytes wait in the kernel until the tunnel
// stands. When it fails, last is what is still to be said to the application.
func (p *Proxy) negotiate(app tunnel.Stream) (wanted tunnel.Destination, last []byte, err error) {
	offered, err := socks.ReadGreeting(app)
	if err != nil {
		return wanted, nil, err
	}
	method := socks.Choose(offered, []socks.Method{socks.UserPass{}})
	if method == nil {
		return wanted, socks.AppendNoAcceptable(nil), socks.NoMethod
	}
	shown, err := method.Authenticate(app, app)
	if err != nil {
		return wanted, nil, err
	}
	if !p.authentic(shown.Payload[socks.PayloadUser], shown.Payload[socks.PayloadPassword]) {
		return wanted, method.Status(false), errPassword
	}
	if _, err := app.Write(method.Status(true)); err != nil {
		return wanted, nil, err
	}
	request, err := socks.ReadRequest(app)
	if err != nil {
		return wanted, replyFor(err).Append(nil), err
	}
	return tunnel.Destination{Host: request.Host, Addr: request.Addr, Port: request.Port}, nil, nil
}

// authentic compares digests, so that not even a length shows in the time taken.
func (p *Proxy) authentic(user, password string) bool {
	got := sha256.Sum256([]byte(password))
	want := sha256.Sum256([]byte(p.password))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && user == LocalUser
}

func (p *Proxy) tellRefused(err error) {
	if p.hooks.Refused != nil {
		p.hooks.Refused(err)
	}
}

func (p *Proxy) tellTunnel(wanted tunnel.Destination, way route, began time.Time, err error) {
	if p.hooks.Tunnel != nil {
		p.hooks.Tunnel(Tunnel{
			Destination: wanted, Listed: way.listed, NoList: p.split.noList, Via: way.via, Carrier: way.carrier,
			Took: time.Since(began), Err: err,
		})
	}
}

// succeed tells the application that its tunnel stands, and stops the clock.
func succeed(app tunnel.Stream, words []byte) error {
	_, err := app.Write(words)
	if err == nil {
		err = app.SetDeadline(time.Time{})
	}
	if err != nil {
		return fmt.Errorf("the application has gone: %w", err)
	}
	return nil
}

// How long a refused application has to take its answer, and how much it may
// still send meanwhile.
const (
	partLimit = time.Second
	partBytes = 64 << 10
)

// part writes the last words and ends the connection so that they arrive: a
// close with bytes unread would send a reset after them.
func part(app tunnel.Stream, last []byte) {
	_ = app.SetDeadline(time.Now().Add(partLimit))
	if _, err := app.Write(last); err == nil && app.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, app, partBytes)
	}
	_ = app.Close()
}
