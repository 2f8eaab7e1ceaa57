package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
)

// lastWords is how long a host has to say how far it came, once it is told to break off.
const lastWords = 10 * time.Second

// What is kept of a host's evidence: of each sample so many cores, interfaces and queues,
// and of all samples so many bytes, a day's of a host with 16 cores. They count as they
// come, in JSON, which takes about as much memory, but for what is empty.
const (
	maxListed   = 4096
	maxEvidence = 256 << 20
	emptySample = 512
	emptyEntry  = 192 // of a list in a sample, with what a decoder's slices have to spare
)

// party is the coordinator's side of a session: one host that takes part.
type party struct {
	role    string // client 1, sink, gateway: what reports call it
	address string // of the control connection; empty for this host
	link    *link
	hello   hello
	clock   clock

	mu      sync.Mutex // guards the rest
	next    uint64
	pending map[uint64]*pending
	samples []evidence.Sample // by the party's own clock, as reports have them
	room    int               // for so many bytes more of samples
	dropped int               // samples for which there was no room
	gone    error             // set once, when the link has ended
}

// pending is a call that waits for its answer.
type pending struct {
	answer chan message // of one
	limit  int          // of its size
	second func(load.Second)
}

// goneError is a host that went away while it was needed.
type goneError struct {
	role, name string // name has the address, too, if it is another host
	after      time.Duration
	err        error
}

func (e *goneError) Error() string {
	return fmt.Sprintf("the %s went away after %d s: %v", e.name, int(e.after.Seconds()), e.err)
}

func (e *goneError) Unwrap() error { return e.err }

// refusedError is what a host said no to.
type refusedError struct{ who, text string }

func (e *refusedError) Error() string { return fmt.Sprintf("%s: %s", e.who, e.text) }

func newParty(role, address string, l *link) *party {
	return &party{role: role, address: address, link: l, pending: make(map[uint64]*pending), room: maxEvidence}
}

func (p *party) name() string {
	if p.address == "" {
		return p.role
	}
	return p.role + " at " + p.address
}

// dialParty connects to an agent. The caller runs the party's attend.
func dialParty(ctx context.Context, role, address string, key Key) (*party, error) {
	dialer := net.Dialer{Timeout: proveTime}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("the %s at %s: %w", role, address, err)
	}
	secure, err := openSecure(ctx, conn, key)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("the %s at %s: %w", role, address, err)
	}
	return newParty(role, address, newLink(secure)), nil
}

// attend receives and shows that the coordinator is there, until the link or ctx
// ends. Then every call under way fails, and so does every later one.
func (p *party) attend(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, p.link.close)
	defer stop()
	var beating sync.WaitGroup
	beating.Go(func() { p.beat(ctx) })
	err := p.receive()
	ended := ctx.Err() != nil
	cancel()
	p.link.close()
	beating.Wait()
	if ended {
		err = errEnded
	} else {
		err = &goneError{p.role, p.name(), time.Since(began), err}
	}
	p.mu.Lock()
	p.gone = err
	for id, call := range p.pending {
		close(call.answer)
		delete(p.pending, id)
	}
	p.mu.Unlock()
	if ended {
		return nil
	}
	return err
}

// beat shows the agent that the coordinator lives. Nobody waits for the answers, but
// they come, and show that the agent lives.
func (p *party) beat(ctx context.Context) {
	for pause(ctx, beat) == nil {
		p.mu.Lock()
		p.next++
		id := p.next
		p.mu.Unlock()
		if p.link.send(message{ID: id, Call: callBeat}) != nil {
			p.link.close()
			return
		}
	}
}

// receive hands out what comes in. It never waits for anybody but the network, or a
// slow reader of events would look like a host that went away.
func (p *party) receive() error {
	for {
		m, err := p.link.receive(maxResult)
		if err != nil {
			return err
		}
		switch {
		case m.Call != "":
			return fmt.Errorf("%w: an agent does not call", errFrame)
		case m.Event != "":
			err = p.event(m)
		default:
			err = p.answered(m)
		}
		if err != nil {
			return err
		}
	}
}

func (p *party) answered(m message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	call := p.pending[m.ID]
	if call == nil { // a beat's, or of a call that nobody waits for any more
		return m.fits(maxResult)
	}
	if err := m.fits(call.limit); err != nil {
		return err
	}
	delete(p.pending, m.ID)
	call.answer <- m // has room for it
	return nil
}

func (p *party) event(m message) error {
	if err := m.fits(maxPlain); err != nil {
		return err
	}
	switch m.Event {
	case eventSample:
		var s evidence.Sample
		if err := unpack(m.Body, &s); err != nil {
			return err
		}
		return p.keep(s, len(m.Body))
	case eventSecond:
		var s load.Second
		if err := unpack(m.Body, &s); err != nil {
			return err
		}
		if !recorded(s.At) {
			return fmt.Errorf("%w: a second of the year %d", errFrame, s.At.Year())
		}
		p.mu.Lock()
		call := p.pending[m.ID]
		s.At = p.clock.ours(s.At)
		p.mu.Unlock()
		if call != nil && call.second != nil {
			call.second(s)
		}
	}
	return nil
}

// keep keeps a sample that came as so many bytes, as long as there is room.
func (p *party) keep(s evidence.Sample, size int) error {
	listed := len(s.Cores) + len(s.Interfaces) + len(s.Qdiscs) + len(s.Processes) + len(s.Gaps)
	if listed > maxListed {
		return fmt.Errorf("%w: a sample that lists more than %d things", errFrame, maxListed)
	}
	size = max(size, emptySample+listed*emptyEntry)
	p.mu.Lock()
	defer p.mu.Unlock()
	if size > p.room {
		p.room = 0 // a hole would look like a moment without evidence
		p.dropped++
		return nil
	}
	p.room -= size
	p.samples = append(p.samples, s)
	return nil
}

// call asks and waits for the answer. second, which may be nil, is told of events
// and must not wait.
func (p *party) call(ctx context.Context, name string, body, answer any, second func(load.Second)) error {
	raw, err := pack(body)
	if err != nil {
		return err
	}
	call := &pending{make(chan message, 1), maxPlain, second}
	switch name {
	case callHello:
		call.limit = maxHello
	case callRun:
		call.limit = maxResult
	}
	p.mu.Lock()
	if p.gone != nil {
		defer p.mu.Unlock()
		return p.gone
	}
	p.next++
	id := p.next
	p.pending[id] = call
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.pending, id)
	}()
	if err := p.link.send(message{ID: id, Call: name, Body: raw}); err != nil {
		p.link.close() // attend says what it was
	}
	select {
	case m, heard := <-call.answer:
		switch {
		case !heard:
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.gone
		case m.Error != "":
			return &refusedError{"the " + p.name(), printable(m.Error)}
		}
		return unpack(m.Body, answer)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// greet is the first call: who is there, and what its clock shows.
func (p *party) greet(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeout(ctx, proveTime)
	defer cancel()
	if err := p.call(ctx, callHello, hello{Version: version}, &p.hello, nil); err != nil {
		return err
	}
	c, err := p.time(ctx)
	if err == nil && c.offset.Abs() > clockAbsurd {
		err = fmt.Errorf("the clock of the %s is %d days off", p.name(), int(c.offset.Abs().Hours()/24))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock = c
	return err
}

// time reads the party's clock. This host's is our own.
func (p *party) time(ctx context.Context) (clock, error) {
	if p.address == "" {
		return clock{}, nil
	}
	return readClock(ctx, time.Now, func(ctx context.Context) (theirs time.Time, err error) {
		err = p.call(ctx, callClock, nil, &theirs, nil)
		return theirs, err
	})
}

// run carries out a plan whose Begin is by our clock. When ctx ends it has the agent
// break off, and still waits for what there is.
func (p *party) run(ctx context.Context, plan load.Plan, second func(load.Second)) (ran, error) {
	plan.Begin = p.clock.theirs(plan.Begin)
	waiting, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	stop := context.AfterFunc(ctx, func() {
		breaking, cancel := context.WithTimeout(waiting, lastWords)
		defer cancel()
		if p.call(breaking, callBreak, nil, nil, nil) == nil {
			<-breaking.Done() // until the answer has come, or for as long as is waited for it
		}
		giveUp()
	})
	defer stop()
	var done ran
	err := p.call(waiting, callRun, plan, &done, second)
	done.Result.Shift(-p.clock.offset)
	if err != nil && errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return done, err
}

// lost is how many samples there was no room for.
func (p *party) lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped
}

// taken are the samples until now, by the party's own clock.
func (p *party) taken() []evidence.Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.samples[:len(p.samples):len(p.samples)]
}
