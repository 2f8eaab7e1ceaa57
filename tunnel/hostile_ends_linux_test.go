package tunnel

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

// scene is a tunnel of which one side, the victim, is going to be reset, and the
// other must learn of it.
type scene struct {
	*rig
	victim, other Stream
	floods        sync.WaitGroup
}

// resetStep brings a tunnel to some point of an exchange.
type resetStep struct {
	name  string
	early bool // the reset is there before the tunnel runs
	ended bool // the victim had come to its end, so a reset is no fault
	// slow: the other side has not taken all that the victim sent, and does so only
	// after the reset. With delivered it gets all that we had read of it; a client
	// that was found gone by what it was sent has nobody wait for that.
	slow, delivered bool
	// told: the other side is writing, and its write is told of the reset, which is
	// told but once.
	told bool
	play func(*testing.T, *scene)
}

func resetSteps() []resetStep {
	nothing := func(*testing.T, *scene) {}
	return []resetStep{
		{name: "before the tunnel runs", early: true, play: nothing},
		{name: "after the last words, before the tunnel runs", early: true, ended: true, play: func(t *testing.T, s *scene) {
			sendAndEnd(t, s.victim, []byte("all"))
		}},
		{name: "before any byte", play: nothing},
		{name: "in mid-record", play: func(t *testing.T, s *scene) {
			b := []byte("a few bytes")
			if secured, ok := s.victim.(*tls.Conn); ok {
				b = capture(t, secured, func() error { _, err := secured.Write(b); return err })
			}
			write(t, below(s.victim), b[:len(b)-3])
		}},
		{name: "having sent", play: func(t *testing.T, s *scene) { pass(t, s.victim, s.other) }},
		{name: "having received", play: func(t *testing.T, s *scene) { pass(t, s.other, s.victim) }},
		{name: "ended itself", ended: true, play: func(t *testing.T, s *scene) { end(t, s.victim, s.other) }},
		{name: "the other has ended", play: func(t *testing.T, s *scene) { end(t, s.other, s.victim) }},
		{name: "stalled itself", told: true, play: func(t *testing.T, s *scene) {
			narrow(t, s.rig)
			s.stall(t, s.other)
		}},
		{name: "the other is stalled", slow: true, delivered: true, play: func(t *testing.T, s *scene) { s.stall(t, s.victim) }},
		{name: "both are stalled", slow: true, play: func(t *testing.T, s *scene) {
			s.stall(t, s.victim)
			s.stall(t, s.other)
		}},
	}
}

// pass sends so much that most of it is in large loads.
func pass(t *testing.T, from, to Stream) {
	t.Helper()
	sent := noise(300<<10, 1)
	var work sync.WaitGroup
	work.Go(func() { write(t, from, sent) })
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("other bytes, %v", err)
	}
	work.Wait()
}

func end(t *testing.T, from, to Stream) {
	t.Helper()
	sendAndEnd(t, from, []byte("all"))
	receive(t, to, []byte("all"))
}

// stall has one side send, until the connection ends, more than the other takes.
func (s *scene) stall(t *testing.T, from Stream) {
	s.floods.Go(func() {
		for block := make([]byte, 256<<10); ; {
			if _, err := from.Write(block); err != nil {
				return
			}
		}
	})
	untilStalled(t, s.rig, from == s.client)
}

func untilStalled(t *testing.T, r *rig, up bool) {
	t.Helper()
	eventually(t, "the receiver takes no more", func() (stalled bool) {
		inside(r.tunnel, func(p *parked) {
			if up {
				stalled = p.up.stalled != 0
			} else {
				stalled = p.down.stalled != 0
			}
		})
		return stalled
	})
}

// TestResetAtEveryStep: whoever is cut off, whenever that is, the other side learns
// of it at once and the account says who it was.
func TestResetAtEveryStep(t *testing.T) {
	for _, k := range parkedKinds() {
		for _, side := range []CloseReason{ClientError, ServiceError} {
			for _, step := range resetSteps() {
				t.Run(fmt.Sprintf("%s/%s/%s", k.name, side, step.name), func(t *testing.T) {
					t.Parallel()
					playReset(t, k, side, step)
				})
			}
		}
	}
}

func playReset(t *testing.T, k kind, side CloseReason, step resetStep) {
	r, run := joinRig(t, k, Limits{})
	if step.slow {
		narrow(t, r)
	}
	s := &scene{rig: r, victim: r.client, other: r.service}
	closed := ClientClosed
	if side == ServiceError {
		s.victim, s.other, closed = s.other, s.victim, ServiceClosed
	}
	if !step.early {
		run()
	}
	step.play(t, s)
	var read int64 // of the victim's bytes, by the tunnel
	if step.delivered {
		inside(r.tunnel, func(p *parked) {
			f := map[Stream]*flow{r.client: &p.up, r.service: &p.down}[s.victim]
			if read = f.moved; f.load != nil {
				read += int64(f.load.content)
			}
			if side == ClientError && p.down.load != nil {
				read = 0 // a client that is spoken to and is gone is not waited for
			}
		})
	}
	reset(t, below(s.victim))
	run()
	if step.slow {
		s.floods.Go(func() { _, _ = io.Copy(io.Discard, below(s.other)) })
	}
	got := soon(t, r)
	if moved := map[Stream]int64{r.client: got.Up, r.service: got.Down}[s.victim]; moved < read {
		t.Errorf("%d bytes moved of %d that were read", moved, read)
	}
	switch {
	case step.ended && got.Reason == closed && got.Err == nil:
	case got.Reason == side && got.Err != nil:
		// Also where it had ended, if the reset overtook the end.
	default:
		t.Errorf("%+v", got)
	}
	s.floods.Wait()
	n, err := io.Copy(io.Discard, below(s.other))
	_, secured := s.other.(*tls.Conn)
	mustBe := got.Reason == side && !secured && !step.slow && !step.told
	if err != nil && !isReset(err) || err == nil && mustBe {
		t.Errorf("the other side reads %v after %d bytes", err, n)
	}
}

// TestEndsWithDataLeft: a side sends, ends its direction, and is not read before
// both have arrived. All of it comes through, and then the end.
func TestEndsWithDataLeft(t *testing.T) {
	for _, k := range parkedKinds() {
		for _, up := range []bool{true, false} {
			for _, size := range []int{1, 30 << 10, 1 << 20, whileStalled} {
				t.Run(fmt.Sprintf("%s/up=%v/%d", k.name, up, size), func(t *testing.T) {
					t.Parallel()
					endWithDataLeft(t, k, up, size)
				})
			}
		}
	}
}

// whileStalled is more than a narrow kernel takes.
const whileStalled = 3 << 18

func endWithDataLeft(t *testing.T, k kind, up bool, size int) {
	r, run := joinRig(t, k, Limits{})
	from, to, reason := r.client, r.service, ClientClosed
	if !up {
		from, to, reason = to, from, ServiceClosed
	}
	if size == whileStalled {
		narrow(t, r)
	}
	sent := noise(size, 5)
	var sender sync.WaitGroup
	sender.Go(func() { sendAndEnd(t, from, sent) })
	if size != whileStalled {
		sender.Wait() // the kernel has it, and the end behind it
		run()
	} else {
		run()
		untilStalled(t, r, up) // the rest, and the end, come behind that
	}
	receive(t, to, sent)
	sender.Wait()
	late := noise(100<<10, 6)
	sendAndEnd(t, to, late)
	receive(t, from, late)
	want := Result{Up: int64(size), Down: int64(len(late)), Reason: reason}
	if !up {
		want.Up, want.Down = want.Down, want.Up
	}
	if got := soon(t, r); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestBothSidesEndAtOnce has them say their last words and end, close or reset in
// the same moment, a thousand times in all, and leaves nothing behind.
func TestBothSidesEndAtOnce(t *testing.T) {
	relaysOf(t)
	for _, k := range parkedKinds() {
		before := descriptors(t)
		slots := make(chan struct{}, 4)
		rounds := 50
		if k.name == "TCP/parked" {
			rounds = 850 // no handshake to pay for
		}
		var all sync.WaitGroup
		for i := range rounds {
			slots <- struct{}{}
			all.Go(func() {
				endAtOnce(t, k, i)
				<-slots
			})
		}
		all.Wait()
		if after := descriptors(t); after != before {
			t.Errorf("%s: %d descriptors before, %d after", k.name, before, after)
		}
	}
}

// The ways to end a connection.
const (
	byEnding = iota // its own direction, and waiting for the other's
	byClosing
	byResetting
	ways
)

func endAtOnce(t *testing.T, k kind, i int) {
	r := &rig{done: make(chan Result, 1)}
	r.client, r.nearC = k.pair(t)
	service, near := tcpPair(t)
	r.service = service
	r.result = sync.OnceValue(func() Result { return <-r.done })
	r.tunnel = relaysOf(t).join(r.nearC, near, Limits{})
	var work sync.WaitGroup
	work.Go(func() { r.tunnel.run(r) })
	clientWay, serviceWay := i%ways, i/ways%ways
	clean := clientWay == byEnding && serviceWay == byEnding
	fromClient, fromService := fmt.Appendf(nil, "the client's %dth", i), fmt.Appendf(nil, "the service's %dth", i)
	start := make(chan struct{})
	finish := func(far Stream, way int, words, theirs []byte) {
		<-start
		if err := lastWords(far, way, words, theirs); err != nil && (clean || errors.Is(err, errOthers)) {
			t.Errorf("%s, %d: %v", k.name, i, err)
		}
	}
	work.Go(func() { finish(r.client, clientWay, fromClient, fromService) })
	work.Go(func() { finish(r.service, serviceWay, fromService, fromClient) })
	close(start)
	got := soon(t, r)
	if clean && (got.Err != nil || got.Reason != ClientClosed && got.Reason != ServiceClosed) {
		t.Errorf("%s, %d: %+v", k.name, i, got)
	}
	work.Wait()
}

var errOthers = errors.New("received what the other side has not sent")

// lastWords ends a side in one of the ways. Unless the other side ends in the same
// way it may fail, but never give other bytes.
func lastWords(far Stream, way int, words, theirs []byte) error {
	defer far.Close()
	_, err := far.Write(words)
	switch way {
	case byEnding:
		err = errors.Join(err, far.CloseWrite())
		got, readErr := io.ReadAll(far)
		if !bytes.HasPrefix(theirs, got) {
			return errOthers
		}
		if err = errors.Join(err, readErr); err == nil && len(got) < len(theirs) {
			err = io.ErrUnexpectedEOF
		}
	case byResetting:
		_ = below(far).SetLinger(0)
		_ = below(far).Close()
	}
	return err
}
