package tunnel

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// receiveBroken wants these bytes, and then no good end.
func receiveBroken(t *testing.T, s Stream, want []byte) {
	t.Helper()
	got, err := io.ReadAll(s)
	if !bytes.Equal(got, want) || !isBroken(s, err) {
		t.Errorf("received %d bytes of %d, or others; %v", len(got), len(want), err)
	}
}

// isBroken tells whether a far end has been told, as its protocol has it, that the
// tunnel broke off.
func isBroken(far Stream, err error) bool {
	if _, ok := far.(*tls.Conn); ok {
		return errors.Is(err, errTruncated)
	}
	return errors.Is(err, syscall.ECONNRESET)
}

// underTLS is the connection that a far end is upon.
func underTLS(far Stream) *net.TCPConn {
	if secured, ok := far.(*tls.Conn); ok {
		return secured.NetConn().(*gatedConn).Conn.(*net.TCPConn)
	}
	return far.(*net.TCPConn)
}

func resettable() []kind {
	var c []kind
	for _, k := range kinds() {
		if !k.isPipe() { // it has no reset
			c = append(c, k)
		}
	}
	return c
}

// TestResets: a side that breaks off is heard to the end, and then the other knows
// that there was more to come.
func TestResets(t *testing.T) {
	for _, k := range resettable() {
		for _, side := range []CloseReason{ClientError, ServiceError} {
			for _, size := range []int{0, 20_000} {
				r := startRig(t, k, Limits{})
				victim, other := r.client, r.service
				if side == ServiceError {
					victim, other = other, victim
				}
				exchange(t, other, victim)
				words := noise(size, 3)
				if _, err := victim.Write(words); err != nil {
					t.Error(err)
				}
				awaitSent(underTLS(victim))
				reset(t, underTLS(victim))
				receiveBroken(t, other, words)
				if got := r.wait(); got.Reason != side || got.Err == nil {
					t.Errorf("%s: %+v, want %s", k.name, got, side)
				}
			}
		}
	}
}

// TestResetFoundByAWrite: a reset that a write finds is told but once, and the read
// that finds an end behind it must not take it for one.
func TestResetFoundByAWrite(t *testing.T) {
	for _, k := range resettable() {
		for _, side := range []CloseReason{ClientError, ServiceError} {
			r := startRig(t, k, Limits{})
			victim, other := r.client, r.service
			if side == ServiceError {
				victim, other = other, victim
			}
			sent := make(chan error, 1)
			go func() {
				for block := make([]byte, 64<<10); ; {
					if _, err := other.Write(block); err != nil {
						sent <- err
						return
					}
				}
			}()
			if _, err := io.CopyN(io.Discard, victim, 1<<20); err != nil {
				t.Error(err)
			}
			reset(t, underTLS(victim))
			n, err := io.Copy(io.Discard, other)
			writeErr := <-sent // it is told but once
			if n != 0 || !isBroken(other, err) && !errors.Is(writeErr, syscall.ECONNRESET) {
				t.Errorf("%s, %s: the other side reads %d bytes, %v; it writes, %v", k.name, side, n, err, writeErr)
			}
			if got := r.wait(); got.Reason != side || got.Err == nil {
				t.Errorf("%s: %+v, want %s", k.name, got, side)
			}
		}
	}
}

// TestBreakLosesNothing: the other side is slow, and has not taken what was said
// before the reset when that is there. It gets it all the same.
func TestBreakLosesNothing(t *testing.T) {
	for _, k := range resettable() {
		for _, side := range []CloseReason{ClientError, ServiceError} {
			t.Run(k.name+"/"+string(side), func(t *testing.T) {
				t.Parallel()
				r := startRig(t, k, Limits{})
				victim, other := r.client, r.service
				if side == ServiceError {
					victim, other = other, victim
				}
				if err := underTLS(other).SetReadBuffer(16 << 10); err != nil {
					t.Fatal(err)
				}
				words := noise(60_000, 4) // most of it waits with us
				if _, err := victim.Write(words); err != nil {
					t.Error(err)
				}
				first := make([]byte, 1)
				if _, err := io.ReadFull(other, first); err != nil {
					t.Error(err)
				}
				awaitSent(underTLS(victim))
				reset(t, underTLS(victim))
				receiveBroken(t, other, words[1:])
				if got := r.wait(); got.Up+got.Down != int64(len(words)) {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// TestLimitsAreNoGoodEnd: a tunnel that ends because of a limit has not come to an end
// for either side.
func TestLimitsAreNoGoodEnd(t *testing.T) {
	for _, k := range resettable() {
		r := startRig(t, k, Limits{Idle: 20 * time.Millisecond})
		receiveBroken(t, r.client, nil)
		receiveBroken(t, r.service, nil)
		if got := r.wait(); got.Reason != Idle || got.Err != nil {
			t.Errorf("%s: %+v", k.name, got)
		}
	}
}
