package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// startAgent serves an agent within the bubble, until the test ends.
func startAgent(t *testing.T, a *Agent) *pipes {
	t.Helper()
	control := newPipes()
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx, control, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	})
	return control
}

// closedAfter is how long the other side keeps a connection open.
func closedAfter(conn net.Conn) time.Duration {
	began := time.Now()
	_, _ = io.Copy(io.Discard, conn)
	return time.Since(began)
}

func TestStrangers(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(t *testing.T, conn net.Conn)
		after time.Duration
	}{
		"says nothing": {func(*testing.T, net.Conn) {}, proveTime},
		"speaks HTTP": {func(_ *testing.T, conn net.Conn) {
			go io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		}, 0},
		"stops after the handshake": {func(t *testing.T, conn net.Conn) {
			secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{controlProtocol}})
			if err := secure.Handshake(); err != nil {
				t.Error(err)
			}
		}, proveTime},
		"speaks another protocol": {func(t *testing.T, conn net.Conn) {
			secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
			if err := secure.Handshake(); err == nil {
				t.Error("the handshake went well")
			}
		}, 0},
		"guesses": {func(t *testing.T, conn net.Conn) {
			secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{controlProtocol}})
			if err := secure.Handshake(); err != nil {
				t.Error(err)
			}
			go secure.Write(make([]byte, 32))
		}, 0},
		"sends too much": {func(_ *testing.T, conn net.Conn) {
			// A handshake message that goes on for ever, in records of 4 KiB.
			record := append([]byte{22, 3, 1, 16, 0, 1, 0, 0xff, 0xff}, make([]byte, 4092)...)
			go func() {
				for {
					if _, err := conn.Write(record); err != nil {
						return
					}
				}
			}()
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := startAgent(t, &Agent{Key: newKey(), Version: "1"}).dial()
				defer conn.Close()
				c.do(t, conn)
				if after := closedAfter(conn); after != c.after {
					t.Errorf("closed after %v, want %v", after, c.after)
				}
			})
		})
	}
}

// Strangers that hold all places keep nobody out: one of them gives way at once.
func TestStrangersAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey()
		control := startAgent(t, &Agent{Key: key, Version: "1"})
		silent := make([]net.Conn, maxStrangers)
		for i := range silent {
			silent[i] = control.dial()
			defer silent[i].Close()
		}
		began := time.Now()
		p := reach(t, control.dial(), key, "client 1")
		defer p.link.close()
		if err := p.greet(t.Context(), "1"); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited > clockTries*clockPause {
			t.Errorf("a coordinator waited for %v behind %d strangers", waited, maxStrangers)
		}
		var gone atomic.Int32
		var watched sync.WaitGroup
		for _, conn := range silent {
			watched.Go(func() {
				if closedAfter(conn) == 0 {
					gone.Add(1)
				}
			})
		}
		watched.Wait()
		if n := gone.Load(); n != 1 {
			t.Errorf("%d strangers went at once, and one place was needed", n)
		}
		if stayed := time.Since(began); stayed > proveTime {
			t.Errorf("a stranger stayed for %v", stayed)
		}
	})
}

// One that is told to come again later has until then as long as any other, from when
// it came, however slowly it says hello.
func TestRefusalEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey()
		control := startAgent(t, &Agent{Key: key, Version: "1"})
		first := reach(t, control.dial(), key, "sink")
		if err := first.greet(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		conn := control.dial()
		defer conn.Close()
		time.Sleep(proveTime / 2) // the agent has accepted it, and waits
		secure, err := openSecure(t.Context(), conn, key)
		if err != nil {
			t.Fatal(err)
		}
		var saying sync.WaitGroup
		defer saying.Wait()
		saying.Go(func() {
			for _, each := range framed(`{"id":1,"call":"hello","body":{"version":"1"}}`) {
				if _, err := secure.Write([]byte{each}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		closedAfter(conn)
		if stayed := time.Since(began); stayed != proveTime {
			t.Errorf("it stayed for %v, want %v", stayed, proveTime)
		}
		first.link.close()
	})
}

// reach is the coordinator's side, attended to until the test ends.
func reach(t *testing.T, conn net.Conn, key Key, role string) *party {
	t.Helper()
	secure, err := openSecure(t.Context(), conn, key)
	if err != nil {
		t.Fatal(err)
	}
	return attended(t, newParty(role, "there:7400", newLink(secure)))
}

func attended(t *testing.T, p *party) *party {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.attend(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return p
}

func TestWrongKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said string
		control := startAgent(t, &Agent{Key: newKey(), Version: "1", Log: func(text string) { said = text }})
		conn := control.dial()
		_, err := openSecure(t.Context(), conn, newKey())
		if !errors.Is(err, errKey) {
			t.Errorf("the coordinator is told %v", err)
		}
		_ = conn.Close()
		synctest.Wait()
		if !strings.Contains(said, errKey.Error()) {
			t.Errorf("the agent says %q", said)
		}
	})
}

// An agent that lacks the key is not believed, though the coordinator showed its proof.
func TestFalseAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		identity, err := newIdentity()
		if err != nil {
			t.Fatal(err)
		}
		heard := make(chan []byte, 1)
		go func() {
			defer theirs.Close()
			secure := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{identity}, NextProtos: []string{controlProtocol}})
			proof := make([]byte, 32)
			_, _ = io.ReadFull(secure, proof)
			_, _ = secure.Write(proof) // what it heard is all it has
			heard <- proof
		}()
		_, err = openSecure(t.Context(), ours, newKey())
		_ = ours.Close()
		if <-heard; !errors.Is(err, errKey) {
			t.Errorf("an agent that gives back the coordinator's proof: %v", err)
		}
	})
}

// Somebody in between with two connections cannot pass the proofs on.
func TestManInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey()
		control := startAgent(t, &Agent{Key: key, Version: "1"})
		ours, middle := net.Pipe()
		identity, err := newIdentity()
		if err != nil {
			t.Fatal(err)
		}
		onward := control.dial()
		passed := make(chan struct{})
		go func() {
			defer close(passed)
			defer middle.Close()
			defer onward.Close()
			front := tls.Server(middle, &tls.Config{Certificates: []tls.Certificate{identity}, NextProtos: []string{controlProtocol}})
			back := tls.Client(onward, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{controlProtocol}})
			proof := make([]byte, 32)
			if _, err := io.ReadFull(front, proof); err != nil {
				return
			}
			if _, err := back.Write(proof); err != nil {
				return
			}
			if n, _ := io.ReadFull(back, proof); n > 0 {
				t.Error("the agent took a proof of another connection")
			}
		}()
		if _, err := openSecure(t.Context(), ours, key); err == nil {
			t.Error("the coordinator took the one in between for the agent")
		}
		_ = ours.Close()
		<-passed
	})
}

func TestNoKeyOpensNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := startAgent(t, &Agent{Version: "1"}).dial()
		defer conn.Close()
		if _, err := openSecure(t.Context(), conn, Key{}); err == nil {
			t.Error("two sides without a key trust one another")
		}
	})
}

func TestGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey()
		control := startAgent(t, &Agent{Key: key, Version: "1.2"})
		older := reach(t, control.dial(), key, "sink")
		var refused *refusedError
		if err := older.greet(t.Context(), "1.1"); !errors.As(err, &refused) || !strings.Contains(err.Error(), "1.2") || !strings.Contains(err.Error(), "1.1") {
			t.Errorf("another version is told %v", err)
		}
		synctest.Wait()
		first := reach(t, control.dial(), key, "sink")
		if err := first.greet(t.Context(), "1.2"); err != nil {
			t.Fatal(err)
		}
		second := reach(t, control.dial(), key, "sink")
		if err := second.greet(t.Context(), "1.2"); !errors.As(err, &refused) || !strings.Contains(err.Error(), errBusy.Error()) {
			t.Errorf("a second coordinator is told %v", err)
		}
		first.link.close()
		synctest.Wait()
		third := reach(t, control.dial(), key, "sink")
		if err := third.greet(t.Context(), "1.2"); err != nil {
			t.Errorf("after the first has gone: %v", err)
		}
	})
}
