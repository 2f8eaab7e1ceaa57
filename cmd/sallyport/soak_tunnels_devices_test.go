package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// group is a user with one device, whose tunnels all end in the same way.
type group struct {
	name string
	// reasons are how its tunnels may end, in the gateway's log.
	reasons []string
	// exact says that the gateway's accounts must have what up and down have.
	exact bool

	issue  func() (sta.Issued, error) // once
	opened atomic.Int64
	up     atomic.Int64 // bytes that tunnels of the group have carried
	down   atomic.Int64
}

// endings are how the tunnels of groups end that are not those of revoked users.
var endings = map[string]struct {
	reasons []string
	exact   bool
}{
	"idle":          {[]string{"client_closed"}, true},
	"transfer":      {[]string{"client_closed"}, true},
	"close":         {[]string{"client_closed"}, true},
	"client-first":  {[]string{"client_closed"}, true},
	"service-first": {[]string{"service_closed"}, true},
	"reset":         {[]string{"client_error"}, true},
	"service-reset": {[]string{"service_error"}, true},
	// An end without a goodbye between two records is a clean one to crypto/tls.
	"hostile": {[]string{"client_closed", "client_error"}, false},
}

// group gives the one of that name; any other name is a user's to be revoked.
func (c *crowd) group(name string) *group {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.groups[name] == nil {
		g := &group{name: name, reasons: []string{"revoked"}}
		if how, stays := endings[name]; stays {
			g.reasons, g.exact = how.reasons, how.exact
		}
		g.issue = sync.OnceValues(func() (sta.Issued, error) {
			return c.api.Issue(c.t.Context(), sta.IssueRequest{User: name, Device: name})
		})
		c.groups[name] = g
	}
	return c.groups[name]
}

// strand is a tunnel, at its device.
type strand struct {
	*tls.Conn
	tcp   *net.TCPConn // below
	of    *group
	far   *farEnd
	id    uint64
	ended <-chan error // from the far end
}

// open opens a tunnel of a group.
func (c *crowd) open(ctx context.Context, g *group, dice *rand.Rand) (*strand, error) {
	issued, err := g.issue()
	if err != nil {
		return nil, err
	}
	conn, tcp, err := c.dial(ctx, dice)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.name, err)
	}
	if dice.IntN(2) == 0 {
		err = handshakeByToken(conn, issued.Token(), echoHost, c.far.port)
	} else {
		err = socks.ClientHandshake(ctx, conn, socks.Auth{User: "device", Password: issued.Handle.Reveal()}, echoHost, uint16(c.far.port))
	}
	if err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("%s: %w", g.name, err)
	}
	g.opened.Add(1)
	id := c.tunnels.Add(1)
	return &strand{Conn: conn, tcp: tcp, of: g, far: c.far, id: id, ended: c.far.end(id)}, nil
}

// dial connects to the gateway and shakes hands, by one of several ways. The
// connection has its deadline.
func (c *crowd) dial(ctx context.Context, dice *rand.Rand) (*tls.Conn, *net.TCPConn, error) {
	var dialer net.Dialer
	below, err := dialer.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, nil, err
	}
	_ = below.SetDeadline(time.Now().Add(patience))
	conn := tls.Client(below, c.tls[dice.IntN(len(c.tls))])
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = below.Close()
		return nil, nil, err
	}
	return conn, below.(*net.TCPConn), nil
}

// say sends an order, and moves the deadline for what follows.
func (s *strand) say(v verb, seed uint64, n int64) error {
	_ = s.SetDeadline(time.Now().Add(patience))
	raw, err := binary.Append(nil, binary.BigEndian, order{v, s.id, seed, n})
	if err == nil {
		_, err = s.Write(raw)
	}
	return s.carried(err, orderBytes, 0)
}

// carried counts what went through the tunnel, if it did.
func (s *strand) carried(err error, up, down int64) error {
	if err != nil {
		return fmt.Errorf("tunnel %d of %s: %w", s.id, s.of.name, err)
	}
	s.of.up.Add(up)
	s.of.down.Add(down)
	return nil
}

// exchange sends so many bytes, and wants as many others.
func (s *strand) exchange(seed uint64, n int64) error {
	if err := s.say(exchange, seed, n); err != nil {
		return err
	}
	_, err := give(s, seed, n)
	if err == nil {
		_, err = take(s, ^seed, n)
	}
	return s.carried(err, n, n)
}

// awaitFar waits for the far end's end. clean wants it to have been one.
func (s *strand) awaitFar(clean bool) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case err := <-s.ended:
		s.far.forget(s.id)
		if clean && err != nil {
			return fmt.Errorf("tunnel %d of %s, at the service: %w", s.id, s.of.name, err)
		}
		return nil
	case <-late.C:
		return fmt.Errorf("tunnel %d of %s ended at the device; %v later the service still has it", s.id, s.of.name, patience)
	}
}

// finish says goodbye.
func (s *strand) finish() error {
	if err := s.Close(); err != nil {
		return s.carried(err, 0, 0)
	}
	return s.awaitFar(true)
}

// abandon resets the connection.
func (s *strand) abandon() {
	_ = s.tcp.SetLinger(0)
	_ = s.tcp.Close()
}

// manners are how a tunnel may end, by the name of the group.
var manners = []struct {
	group string
	end   func(s *strand, dice *rand.Rand) error
}{
	{"close", func(s *strand, _ *rand.Rand) error { return s.finish() }},
	{"reset", func(s *strand, _ *rand.Rand) error {
		s.abandon()
		return s.awaitFar(false)
	}},
	{"client-first", func(s *strand, dice *rand.Rand) error {
		seed, n := dice.Uint64(), someBytes(dice, mib)
		if err := s.say(speakLast, seed, n); err != nil {
			return err
		}
		err := s.CloseWrite()
		if err == nil {
			_, err = take(s, seed, n)
		}
		if err == nil {
			err = wantEnd(s)
		}
		return errors.Join(s.carried(err, 0, n), s.finish())
	}},
	{"service-first", func(s *strand, dice *rand.Rand) error {
		seed, n := dice.Uint64(), someBytes(dice, mib)
		if err := s.say(speakFirst, seed, n); err != nil {
			return err
		}
		_, err := take(s, seed, n)
		if err == nil {
			err = wantEnd(s)
		}
		if err == nil {
			_, err = give(s, ^seed, n)
		}
		return errors.Join(s.carried(err, n, n), s.finish())
	}},
	{"service-reset", func(s *strand, _ *rand.Rand) error {
		if err := s.say(reset, 0, 0); err != nil {
			return err
		}
		defer s.abandon()
		if n, err := s.Read(make([]byte, 1)); n > 0 || isTimeout(err) {
			return fmt.Errorf("tunnel %d outlives its service: %d bytes, %v", s.id, n, err)
		}
		return s.awaitFar(true)
	}},
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// comeAndGo has one tunnel say a few things, and end in one of the ways there are.
func (c *crowd) comeAndGo(ctx context.Context, i int) error {
	dice := c.dice("churn", i)
	how := manners[i%len(manners)]
	s, err := c.open(ctx, c.group(how.group), dice)
	if err != nil {
		return err
	}
	for range 1 + dice.IntN(3) {
		if err := s.exchange(dice.Uint64(), someBytes(dice, 64<<10)); err != nil {
			return err
		}
	}
	return how.end(s, dice)
}

// transfer moves many bytes, up in every other tunnel, down in the rest.
func (c *crowd) transfer(ctx context.Context, n int, largest int64) error {
	return repeat(ctx, carriers, n, func(ctx context.Context, i int) error {
		dice := c.dice("transfer", i)
		s, err := c.open(ctx, c.group("transfer"), dice)
		if err != nil {
			return err
		}
		seed, n := dice.Uint64(), someBytes(dice, largest)
		if i < 2 {
			n = largest
		}
		if i%2 == 0 {
			err = s.upload(seed, n)
		} else {
			err = s.download(seed, n)
		}
		return errors.Join(err, s.finish())
	})
}

func (s *strand) upload(seed uint64, n int64) error {
	if err := s.say(upload, seed, n); err != nil {
		return err
	}
	sum, err := give(patient{s}, seed, n)
	if err == nil {
		err = s.agree(sum)
	}
	return s.carried(err, n, int64(len(sum)))
}

func (s *strand) download(seed uint64, n int64) error {
	if err := s.say(download, seed, n); err != nil {
		return err
	}
	sum, err := take(patient{s}, seed, n)
	if err == nil {
		err = s.agree(sum)
	}
	return s.carried(err, 0, n+int64(len(sum)))
}

// agree reads the service's checksum.
func (s *strand) agree(sum []byte) error {
	theirs := make([]byte, len(sum))
	if _, err := io.ReadFull(s, theirs); err != nil {
		return err
	}
	if !bytes.Equal(theirs, sum) {
		return fmt.Errorf("%w: by its checksum", errOtherBytes)
	}
	return nil
}

// patient waits anew for each piece: a transfer may last, as long as it moves.
type patient struct{ *strand }

func (p patient) Read(b []byte) (int, error) {
	_ = p.SetDeadline(time.Now().Add(patience))
	return p.strand.Read(b)
}

func (p patient) Write(b []byte) (int, error) {
	_ = p.SetDeadline(time.Now().Add(patience))
	return p.strand.Write(b)
}

// someBytes is 1 to most, small numbers as likely as large ones.
func someBytes(dice *rand.Rand, most int64) int64 {
	n := int64(1)
	for n < most && dice.IntN(20) > 0 {
		n *= 2
	}
	return min(most, n+dice.Int64N(n))
}
