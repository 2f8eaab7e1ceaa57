package tunnel

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// halfPipe is an in-memory Stream: two net.Pipes, one a direction.
type halfPipe struct {
	net.Conn // what we read
	out      net.Conn
}

func newHalfPipe() (a, b Stream) {
	ar, bw := net.Pipe()
	br, aw := net.Pipe()
	return halfPipe{ar, aw}, halfPipe{br, bw}
}

func (p halfPipe) Write(b []byte) (int, error)        { return p.out.Write(b) }
func (p halfPipe) SetWriteDeadline(t time.Time) error { return p.out.SetWriteDeadline(t) }
func (p halfPipe) SetDeadline(t time.Time) error {
	return errors.Join(p.Conn.SetDeadline(t), p.out.SetDeadline(t))
}
func (p halfPipe) CloseWrite() error { return p.out.Close() }
func (p halfPipe) Close() error      { return errors.Join(p.out.Close(), p.Conn.Close()) }

func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	l := listenLoopback(t)
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

func tlsPair(t testing.TB, maxVersion uint16) (client *tls.Conn, server *tlsStream) {
	config := testClientTLS()
	config.MaxVersion = maxVersion
	return tlsPairWith(t, config)
}

func tlsPairWith(t testing.TB, config *tls.Config) (client *tls.Conn, server *tlsStream) {
	client, secured := securedPair(t, config, StdRecords)
	return client, secured.(*tlsStream)
}

// securedPair shakes hands as a Server does.
func securedPair(t testing.TB, config *tls.Config, records Records) (*tls.Conn, clientStream) {
	a, b := tcpPair(t)
	client := tls.Client(&gatedConn{Conn: a}, config)
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	s, err := NewServer(Config{TLS: testServerTLS(), Handler: handlerFunc(nil), Records: records})
	if err != nil {
		t.Fatal(err)
	}
	var peer Peer
	server, err := s.shakeHands(t.Context(), &peer, newWire(b))
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	server.lift()
	server.open()
	return client, server
}

// kind is a kind of stream that a client may come over, and how it is relayed.
type kind struct {
	name   string
	pair   func(testing.TB) (client, relayed Stream)
	parked bool
}

func kinds() []kind {
	pipe := func(testing.TB) (Stream, Stream) { return newHalfPipe() }
	tcp := func(t testing.TB) (Stream, Stream) { a, b := tcpPair(t); return a, b }
	std := func(version uint16) func(testing.TB) (Stream, Stream) {
		return func(t testing.TB) (Stream, Stream) { a, b := tlsPair(t, version); return a, b }
	}
	direct := func(t testing.TB) (Stream, Stream) {
		a, b := securedPair(t, testClientTLS(), DirectRecords)
		if _, ok := b.(*directStream); !ok {
			t.Fatalf("a %T", b)
		}
		return a, b
	}
	return []kind{
		{"pipe", pipe, false},
		{"TCP", tcp, false}, {"TCP/parked", tcp, canPark},
		{"TLS1.3", std(tls.VersionTLS13), false}, {"TLS1.3/parked", std(tls.VersionTLS13), canPark},
		{"TLS1.2", std(tls.VersionTLS12), false}, {"TLS1.2/parked", std(tls.VersionTLS12), canPark},
		{"direct", direct, false}, {"direct/parked", direct, canPark},
	}
}

const canPark = runtime.GOOS == "linux"

func (k kind) isPipe() bool { return k.name == "pipe" }

// testRelays are those of one test. They are closed behind its rigs.
var testRelays sync.Map

func relaysOf(t testing.TB) *Relays {
	if r, ok := testRelays.Load(t); ok {
		return r.(*Relays)
	}
	r, err := NewRelays(RelaysHooks{Failed: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	testRelays.Store(t, r)
	t.Cleanup(func() {
		testRelays.Delete(t)
		if r.poller != nil && r.poller.Len() != 0 || r.due.Len() != 0 || r.held.Load() != 0 {
			t.Errorf("left behind: %d with events, %d with deadlines, %d bytes", r.poller.Len(), r.due.Len(), r.held.Load())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// rig is a relay with both of its far ends.
type rig struct {
	client, service Stream // the far ends
	nearC, nearS    Stream // what is relayed
	tunnel          joined
	done            chan Result
	result          func() Result // waits once, and remembers
}

// Joined and Ended satisfy Ender.
func (r *rig) Joined(Tunnel)       {}
func (r *rig) Ended(result Result) { r.done <- result }

func startRig(t testing.TB, k kind, l Limits) *rig {
	r := &rig{done: make(chan Result, 1)}
	r.client, r.nearC = k.pair(t)
	if _, ok := r.nearC.(halfPipe); ok {
		r.service, r.nearS = newHalfPipe()
	} else {
		s, near := tcpPair(t)
		r.service, r.nearS = s, near
	}
	r.result = sync.OnceValue(func() Result { return <-r.done })
	if k.parked {
		r.tunnel = relaysOf(t).join(r.nearC, r.nearS, l)
		if _, ok := r.tunnel.(*relay); ok {
			t.Fatal("was not parked")
		}
	} else {
		r.tunnel = newRelay(r.nearC, r.nearS, l)
	}
	go r.tunnel.run(r)
	t.Cleanup(func() {
		_ = r.client.Close()
		_ = r.service.Close()
		r.wait()
	})
	return r
}

func (r *rig) wait() Result { return r.result() }

func noise(n int, seed uint64) []byte {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// TestRelay is one body for every carrier: bytes of many sizes both ways at
// once, and each order of endings.
func TestRelay(t *testing.T) {
	for _, k := range kinds() {
		for _, first := range []CloseReason{ClientClosed, ServiceClosed} {
			for _, size := range []int{0, 1, waitSize, recordSize + 1, 1 << 20} {
				t.Run(k.name+"/"+string(first), func(t *testing.T) { relayBothWays(t, k, first, size) })
			}
		}
	}
}

func relayBothWays(t *testing.T, k kind, first CloseReason, size int) {
	r := startRig(t, k, Limits{})
	early, late := r.client, r.service
	if first == ServiceClosed {
		early, late = late, early
	}
	fromEarly, fromLate := noise(size, 1), noise(size, 2)
	// What the late side sends once it has seen the early one's end must
	// arrive too.
	more := noise(100<<10, 3)
	var work sync.WaitGroup
	passedOn := make(chan struct{})
	work.Go(func() { sendAndEnd(t, early, fromEarly) })
	work.Go(func() {
		receive(t, late, fromEarly)
		close(passedOn)
	})
	work.Go(func() {
		if _, err := late.Write(fromLate); err != nil {
			t.Error(err)
		}
		<-passedOn
		sendAndEnd(t, late, more)
	})
	work.Go(func() { receive(t, early, append(fromLate, more...)) })
	work.Wait()

	want := Result{Up: int64(size), Down: int64(size + len(more)), Reason: first}
	if first == ServiceClosed {
		want.Up, want.Down = want.Down, want.Up
	}
	if got := r.wait(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if k.parked {
		return // they were given away
	}
	for _, near := range []Stream{r.nearC, r.nearS} {
		if _, err := near.Write([]byte{1}); err == nil {
			t.Error("a stream is open after Relay")
		}
	}
}

func sendAndEnd(t *testing.T, s Stream, b []byte) {
	_, err := s.Write(b)
	if err := errors.Join(err, s.CloseWrite()); err != nil {
		t.Error(err)
	}
}

func receive(t *testing.T, s Stream, want []byte) {
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("received %d bytes of %d, or others; %v", len(got), len(want), err)
	}
}

// TestCut: ending both from elsewhere ends it, stalled or not.
func TestCut(t *testing.T) {
	for _, k := range kinds() {
		for _, stalled := range []bool{false, true} {
			for how, end := range map[string]func(*rig){
				"Close": func(r *rig) { _, _ = r.nearC.Close(), r.nearS.Close() },
				"Abort": func(r *rig) { r.tunnel.Abort() },
			} {
				if k.parked && how == "Close" {
					continue // the streams are not the tunnel's any more
				}
				r := startRig(t, k, Limits{})
				if stalled {
					flood(r.service)
				}
				began := time.Now()
				end(r)
				got := r.wait()
				if got.Reason != Cut || got.Err != nil || time.Since(began) > 2*time.Second {
					t.Errorf("%s, stalled %v, %s: %+v after %v", k.name, stalled, how, got, time.Since(began))
				}
			}
		}
	}
}

// flood sends until nothing fits any more, to somebody who does not read.
func flood(s Stream) {
	_ = s.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for block := make([]byte, 1<<20); ; {
		if _, err := s.Write(block); err != nil {
			return
		}
	}
}

func reset(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// TestLimits measures each limit to the nanosecond, in the bubble's time.
func TestLimits(t *testing.T) {
	pipe := kinds()[0]
	for _, tt := range []struct {
		name   string
		limits Limits
		play   func(t *testing.T, r *rig)
		reason CloseReason
		after  time.Duration
	}{
		{"idle from the start", Limits{}, func(*testing.T, *rig) {}, Idle, DefaultIdle},
		{"idle since a byte up", Limits{Idle: time.Minute}, func(t *testing.T, r *rig) {
			time.Sleep(50 * time.Second)
			exchange(t, r.client, r.service)
		}, Idle, 110 * time.Second},
		{"idle counts both directions together", Limits{Idle: time.Minute}, func(t *testing.T, r *rig) {
			for range 5 {
				time.Sleep(50 * time.Second)
				exchange(t, r.service, r.client)
			}
		}, Idle, 310 * time.Second},
		{"half-closed and silent", Limits{}, func(t *testing.T, r *rig) {
			time.Sleep(time.Second)
			_ = r.client.CloseWrite()
		}, HalfClose, time.Second + DefaultHalfClose},
		{"half-closed since a byte", Limits{HalfClose: time.Minute}, func(t *testing.T, r *rig) {
			_ = r.service.CloseWrite()
			time.Sleep(40 * time.Second)
			exchange(t, r.client, r.service)
		}, HalfClose, 100 * time.Second},
		{"half-closed without that limit", Limits{HalfClose: -1, Idle: time.Hour}, func(t *testing.T, r *rig) {
			_ = r.service.CloseWrite()
		}, Idle, time.Hour},
		{"a write that stalls", Limits{WriteStall: time.Minute}, func(t *testing.T, r *rig) {
			time.Sleep(100 * time.Second)
			_, _ = r.service.Write(make([]byte, waitSize)) // the client reads none of it
		}, Stall, 160 * time.Second},
		{"a write without that limit", Limits{WriteStall: -1}, func(t *testing.T, r *rig) {
			_, _ = r.client.Write(make([]byte, waitSize))
		}, Idle, DefaultIdle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				r := startRig(t, pipe, tt.limits)
				tt.play(t, r)
				got := r.wait()
				took := time.Since(began)
				// The watch's clock starts at one, and so may be one ahead.
				if got.Reason != tt.reason || got.Err != nil || took != tt.after && took != tt.after-1 {
					t.Errorf("%+v after %v, want %s after %v", got, took, tt.reason, tt.after)
				}
			})
		})
	}
}

func exchange(t *testing.T, from, to Stream) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := from.Write([]byte{1})
		done <- err
	}()
	_, err := io.ReadFull(to, make([]byte, 1))
	if err := errors.Join(err, <-done); err != nil {
		t.Error(err)
	}
}

// TestNothingIsSentOnAnIdleTunnel waits an hour for a byte.
func TestNothingIsSentOnAnIdleTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t, kinds()[0], Limits{})
		for _, far := range []Stream{r.client, r.service} {
			_ = far.SetReadDeadline(time.Now().Add(30 * time.Minute))
			if n, err := far.Read(make([]byte, 1)); n != 0 {
				t.Errorf("read %d bytes, %v", n, err)
			}
		}
	})
}

// endless gives full reads until it has given n of them.
type endless struct {
	Stream
	left int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	e.left--
	return len(p), nil
}

func (e *endless) Write(p []byte) (int, error) { return len(p), nil }
func (e *endless) CloseWrite() error           { return nil }
func (e *endless) Close() error                { return nil }

// TestNoAllocationPerBuffer: a relay of ten thousand buffers allocates what one
// of ten does.
func TestNoAllocationPerBuffer(t *testing.T) {
	allocations := func(buffers int) float64 {
		return testing.AllocsPerRun(5, func() {
			Relay(&endless{left: buffers}, &endless{left: buffers}, Limits{})
		})
	}
	few, many := allocations(10), allocations(10_000)
	if many > few+10 { // a garbage collection may empty the pools meanwhile
		t.Errorf("%v allocations for 10 buffers, %v for 10,000", few, many)
	}
}
