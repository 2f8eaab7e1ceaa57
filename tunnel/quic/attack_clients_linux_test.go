package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

var (
	noTunnels tunnel.Config
	noLimits  tunnel.Limits
	// impatient is a gateway that does not wait long for a stream to say what it wants.
	impatient = tunnel.Config{SetupTimeout: time.Second}
	// stalls cuts off a tunnel whose client takes nothing.
	stalls = tunnel.Limits{WriteStall: 1500 * time.Millisecond}
)

// What a stream says for a tunnel, in one go.
const (
	greeting  = "\x05\x01\x02"
	toEcho    = greeting + "\x01\x01u\x0a" + password + "\x05\x01\x00\x03\x04echo\x01\xbb"
	toPours   = greeting + "\x01\x01u\x0a" + password + "\x05\x01\x00\x03\x05pours\x01\xbb"
	intruders = 2 + 18/scale
)

// attacksOfClients are those of clients that have shaken hands, with a ticket or
// without.
func attacksOfClients() []attack {
	return []attack{
		{"streams_beyond_the_limit", Config{}, noTunnels, noLimits, breach(0x4, func(i int) []byte {
			return streamFrame(nil, DefaultMaxStreams, 0, "x")
		}), 4 << 10},
		{"more_than_the_window", Config{}, noTunnels, noLimits, breach(0x3, func(i int) []byte {
			return streamFrame(nil, uint64(i), streamWindow, "x")
		}), 4 << 10},
		{"QUIC_datagrams", Config{}, noTunnels, noLimits, breach(0x7, func(i int) []byte {
			return append(numbers(nil, frameDatagram+1, 4), "news"...)
		}), 4 << 10},
		{"connection_IDs", Config{}, noTunnels, noLimits, breach(0x9, func(i int) []byte {
			return append(append(numbers(nil, frameNewConnectionID, uint64(1+i), 0, 8), randomID()...), make([]byte, 16)...)
		}), 4 << 10},
		{"acknowledging_nothing", Config{}, noTunnels, noLimits, breach(0xa, func(i int) []byte {
			return numbers(nil, frameAck, 1<<20, 0, 0, 0)
		}), 4 << 10},
		{"pings_and_challenges,_deaf", Config{}, noTunnels, noLimits, pingsAndChallenges, 4 << 10},
		{"moves_to_forged_addresses", Config{}, noTunnels, noLimits, forgedMoves, 4 << 10},
		{"crumbs_of_streams", Config{}, noTunnels, noLimits, crumbsOfStreams, 64 << 10},
		{"rapid_reset,_stranger", Config{}, noTunnels, noLimits, rapidResetStranger, 32 << 10},
		{"rapid_reset", Config{}, noTunnels, noLimits, rapidReset, 16 << 10},
		{"silent_streams", Config{}, impatient, noLimits, silentStreams, 128 << 10},
		{"no_window_granted", Config{}, noTunnels, stalls, takesNothing(64), 32 << 10},
		{"never_reads", Config{}, noTunnels, stalls, takesNothing(32 << 10), 64 << 10},
		{"never_acknowledges", Config{}, noTunnels, stalls, deafDownloads, 32 << 10},
		{"resets_in_mid-stream", Config{}, noTunnels, tunnel.Limits{HalfClose: time.Second}, resetsInMidStream, 8 << 10},
	}
}

func (s *siege) intrude(t *testing.T) *intruder {
	t.Helper()
	x, err := intrude(t.Context(), "127.1.9.1:0", s.addr)
	if x != nil {
		t.Cleanup(x.close)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// goes hears the server out until it has closed the connection.
func (x *intruder) goes(code uint64, byApp bool) error {
	err := x.listenUntil(time.Now().Add(patience), func() bool { return x.closed != codeNotClosed })
	if err != nil || x.closed != code || x.closedByApp != byApp {
		return fmt.Errorf("closed with %#x, %w, want %#x", x.closed, err, code)
	}
	return nil
}

// allGo is the same for many at once.
func allGo(t *testing.T, all []*intruder, code Code) {
	t.Helper()
	gone := make(chan error, len(all))
	for _, x := range all {
		go func() { gone <- x.goes(uint64(code), true) }()
	}
	for range all {
		if err := <-gone; err != nil {
			t.Error(err)
		}
	}
}

// breach is what QUIC forbids, again and again: the connection is closed with the code
// (RFC 9000 section 20.1).
func breach(code uint64, frames func(i int) []byte) func(*testing.T, *siege) string {
	return func(t *testing.T, s *siege) string {
		for range intruders {
			x := s.intrude(t)
			for i := range 100 {
				_ = x.say(frames(i)) // the socket may know that nobody listens any more
			}
			if err := x.goes(code, false); err != nil {
				t.Fatal(err)
			}
		}
		s.look(t)
		return fmt.Sprintf("closed with %#x, %d times", code, intruders)
	}
}

// A client that wants everything acknowledged, acknowledges nothing, and asks whether
// its path is good.
func pingsAndChallenges(t *testing.T, s *siege) string {
	x := s.intrude(t)
	x.deaf = true
	var frames []byte
	for range 100 {
		frames = append(append(frames, framePing, framePathChallenge), "12345678"...)
	}
	const packets = 10_000 / scale
	paced(packets, func(int) {
		if err := x.say(frames); err != nil {
			t.Fatal(err)
		}
	})
	s.look(t)
	_ = x.listenUntil(time.Now().Add(50*time.Millisecond), func() bool { return false })
	answers := x.heard[frameAck] + x.heard[framePathResponse]
	if x.closed != codeNotClosed || answers == 0 || answers > packets {
		t.Errorf("closed with %#x after %v", x.closed, x.heard)
	}
	x.close()
	return fmt.Sprintf("%d packets, %d acknowledgements and responses heard", packets, answers)
}

// A client that seems to move to addresses that are not its own. quic-go looks whether
// it is there by packets of full length, whatever came from there; but only so often,
// and at so few addresses, that it costs the client as much.
func forgedMoves(t *testing.T, s *siege) string {
	x := s.intrude(t)
	var ids []byte
	for i := range uint64(3) { // to be called by there
		ids = append(append(numbers(ids, frameNewConnectionID, 1+i, 0, intruderIDLength), randomID()...), make([]byte, 16)...)
	}
	if err := x.say(ids); err != nil {
		t.Fatal(err)
	}
	var victims []*origin
	for i := range 16 {
		victims = append(victims, newOrigin(t, fmt.Sprintf("127.1.6.%d:0", 1+i), s.addr, nil))
	}
	paced(16*len(victims), func(i int) {
		victims[i%len(victims)].send(t, x.packet(2, []byte{framePing}))
	})
	s.look(t)
	var in, out int64
	hit := 0
	for _, v := range victims {
		in, out = in+v.in.Load(), out+v.out.Load()
		if v.in.Load() > 0 {
			hit++
		}
	}
	if hit > 3 || in > 3*out {
		t.Errorf("%d bytes to %d addresses for %d", in, hit, out)
	}
	x.close()
	return fmt.Sprintf("%d bytes to %d addresses for %d", in, hit, out)
}

// Streams whose every other byte never comes, as many as the connection's window lets.
func crumbsOfStreams(t *testing.T, s *siege) string {
	const crumbs, each = 900, 100
	const streams = connWindow / (2 * crumbs) / scale
	x := s.intrude(t)
	var sent int
	paced(streams*crumbs/each, func(i int) {
		var frames []byte
		for n := range each {
			frames = streamFrame(frames, uint64(i%streams), uint64(1+2*(i/streams*each+n)), "x")
		}
		sent += len(frames)
		if err := x.say(frames); err != nil {
			t.Fatal(err)
		}
	})
	s.look(t)
	if err := x.listenUntil(time.Now().Add(50*time.Millisecond), func() bool { return x.closed != codeNotClosed }); err == nil {
		t.Errorf("closed with %#x", x.closed)
	}
	x.close()
	return fmt.Sprintf("%d KiB sent in %d crumbs", sent>>10, streams*crumbs)
}

// Streams that are reset as soon as they are opened, by somebody without a ticket.
func rapidResetStranger(t *testing.T, s *siege) string {
	var all []*intruder
	for range intruders {
		x := s.intrude(t)
		for i := range uint64(DefaultMaxStreams) {
			frames := streamFrame(nil, i, 0, greeting)
			frames = numbers(frames, frameReset, 4*i, 0, uint64(len(greeting)))
			if err := x.say(numbers(frames, frameStopSending, 4*i, 0)); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, x)
	}
	s.look(t)
	allGo(t, all, CodeFailures)
	return fmt.Sprintf("closed with %v, %d times", CodeFailures, intruders)
}

// The same by somebody who has a ticket, and tunnels beside them.
func rapidReset(t *testing.T, s *siege) string {
	const count = 5000 / scale
	conn, keep := s.client(t)
	defer conn.Close()
	for range count {
		opened, err := conn.Open(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(opened, toEcho); err != nil {
			t.Fatal(err)
		}
		opened.(*stream).reset(CodeNone)
	}
	s.look(t)
	if err := echoed(keep); err != nil {
		t.Error(err)
	}
	return fmt.Sprintf("%d taken, the connection lives", count)
}

// client has a ticket, and a tunnel.
func (s *siege) client(t *testing.T) (*Conn, tunnel.Stream) {
	t.Helper()
	conn, err := s.dial(within(t))
	if err != nil {
		t.Fatal(err)
	}
	keep, err := openTo(within(t), conn, "echo")
	if err != nil {
		t.Fatal(err)
	}
	return conn, keep
}

// Streams that say nothing, or nothing more than hello.
func silentStreams(t *testing.T, s *siege) string {
	var all []*intruder
	for range intruders {
		x := s.intrude(t)
		for i := range uint64(DefaultMaxStreams) {
			if err := x.say(streamFrame(nil, i, 0, greeting[:i%2*3])); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, x)
	}
	s.look(t)
	allGo(t, all, CodeFailures)
	return fmt.Sprintf("closed with %v, %d times", CodeFailures, intruders)
}

// Clients that ask for everything, and grant so much window a stream.
func takesNothing(window uint64) func(*testing.T, *siege) string {
	return func(t *testing.T, s *siege) string {
		const streams = 200 / scale
		conn, err := quicgo.DialAddr(within(t), s.addr.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{tunnel.ALPN}},
			&quicgo.Config{InitialStreamReceiveWindow: window, MaxStreamReceiveWindow: window, InitialConnectionReceiveWindow: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseWithError(0, "")
		for range streams {
			opened, err := conn.OpenStreamSync(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(opened, toPours); err != nil {
				t.Fatal(err)
			}
		}
		s.look(t)
		<-conn.Context().Done()
		if code := appCode(context.Cause(conn.Context())); code != CodeCut {
			t.Errorf("closed with %v", code)
		}
		over := s.until(t, false, func(c condition) bool { return c.Tally["ended stall"] == streams })
		return happened(over, "ended stall", "closed cut")
	}
}

// Clients that take everything, and never say so.
func deafDownloads(t *testing.T, s *siege) string {
	const streams = 5
	var all []*intruder
	for range intruders {
		x := s.intrude(t)
		x.deaf = true
		for i := range uint64(streams) {
			if err := x.say(streamFrame(nil, i, 0, toPours)); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, x)
	}
	s.look(t)
	allGo(t, all, CodeCut)
	over := s.until(t, false, func(c condition) bool { return c.Tally["ended stall"] == streams*intruders })
	return happened(over, "ended stall", "closed cut")
}

// Downloads that are broken off: the service is told, and the other tunnels stay.
func resetsInMidStream(t *testing.T, s *siege) string {
	const count = 600 / scale
	conn, keep := s.client(t)
	defer conn.Close()
	for i := range count {
		down, err := openTo(within(t), conn, "pours")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, down, 10<<10); err != nil {
			t.Fatal(err)
		}
		q := down.(*stream).quic
		switch i % 3 {
		case 0: // RESET_STREAM
			q.CancelWrite(0)
			_, err := io.Copy(io.Discard, down)
			if err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Fatal(err) // it is over, whatever that is called
			}
		case 1: // STOP_SENDING
			q.CancelRead(0)
		default:
			q.CancelRead(0)
			q.CancelWrite(0)
		}
		if i == count/2 {
			s.look(t)
		}
	}
	over := s.until(t, false, func(c condition) bool { return c.Tally["ended client_error"] >= count })
	if err := echoed(keep); err != nil {
		t.Error(err)
	}
	return happened(over, "ended client_error")
}
