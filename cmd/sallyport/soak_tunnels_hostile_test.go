package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"time"
)

// hostilities are what clients do that mean no good, or have lost their way. opened
// says that it takes a tunnel to do it.
var hostilities = []struct {
	opened bool
	do     func(c *crowd, s *strand, dice *rand.Rand) error
}{
	{true, func(_ *crowd, s *strand, dice *rand.Rand) error { // a record that does not open
		return s.offend(record(dice, 23, 100+dice.IntN(16<<10)))
	}},
	{true, func(_ *crowd, s *strand, dice *rand.Rand) error { // one that is too long
		return s.offend(record(dice, 23, math.MaxUint16))
	}},
	{true, func(_ *crowd, s *strand, dice *rand.Rand) error { // one of a kind that there is not
		return s.offend(record(dice, 99, 100))
	}},
	{true, func(_ *crowd, s *strand, dice *rand.Rand) error { // gone within a record
		whole := record(dice, 23, 1000)
		_, err := s.tcp.Write(whole[:1+dice.IntN(len(whole)-1)])
		return errors.Join(err, s.tcp.Close(), s.awaitFar(false))
	}},
	{true, func(_ *crowd, s *strand, _ *rand.Rand) error { // gone without a word
		return errors.Join(s.tcp.Close(), s.awaitFar(false))
	}},
	{true, func(c *crowd, s *strand, dice *rand.Rand) error { // asks for much, reads none of it
		err := s.say(download, dice.Uint64(), 512*mib)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stalled = append(c.stalled, s)
		return err
	}},
	{true, func(c *crowd, s *strand, dice *rand.Rand) error { // half a record, and nothing behind it
		_, err := s.tcp.Write(record(dice, 23, 1000)[:500])
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stalled = append(c.stalled, s)
		return err
	}},
	{false, func(c *crowd, _ *strand, dice *rand.Rand) error { // half a ClientHello
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return err
		}
		_, err = conn.Write(record(dice, 22, 300)[:200])
		return errors.Join(err, conn.Close())
	}},
	{false, func(c *crowd, _ *strand, dice *rand.Rand) error { // garbage in the place of SOCKS5
		conn, tcp, err := c.dial(c.t.Context(), dice)
		if err != nil {
			return err
		}
		_, err = conn.Write(record(dice, 99, 300))
		return errors.Join(err, tcp.Close())
	}},
	{false, func(c *crowd, _ *strand, dice *rand.Rand) error { // garbage in the place of TLS
		_, tcp, err := c.dial(c.t.Context(), dice)
		if err != nil {
			return err
		}
		_, err = tcp.Write(record(dice, 23, 300))
		return errors.Join(err, tcp.Close())
	}},
}

// record has a head, and chance behind it.
func record(dice *rand.Rand, kind byte, size int) []byte {
	b := []byte{kind, 3, 3, byte(size >> 8), byte(size)}
	for range size {
		b = append(b, byte(dice.Uint32()))
	}
	return b
}

// offend sends what no peer may, below TLS. The gateway must end the tunnel.
func (s *strand) offend(raw []byte) error {
	_ = s.SetDeadline(time.Now().Add(patience))
	if _, err := s.tcp.Write(raw); err != nil {
		return s.carried(err, 0, 0)
	}
	_, err := io.Copy(io.Discard, s.tcp)
	if isTimeout(err) {
		return s.carried(err, 0, 0)
	}
	_ = s.tcp.Close()
	return s.awaitFar(false)
}

// misbehave has one client do one of these things.
func (c *crowd) misbehave(ctx context.Context, i int) (err error) {
	dice := c.dice("hostile", i)
	how := hostilities[i%len(hostilities)]
	var s *strand
	if how.opened {
		if s, err = c.open(ctx, c.group("hostile"), dice); err != nil {
			return err
		}
		if err = s.exchange(dice.Uint64(), idleBytes); err != nil {
			return err
		}
	}
	if err := how.do(c, s, dice); err != nil {
		return fmt.Errorf("hostility %d: %w", i%len(hostilities), err)
	}
	return nil
}

// giveUp ends the tunnels that stand still.
func (c *crowd) giveUp() error {
	var errs []error
	for _, s := range c.stalled {
		s.abandon()
		errs = append(errs, s.awaitFar(false))
	}
	c.stalled = nil
	return errors.Join(errs...)
}
