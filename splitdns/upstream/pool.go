package upstream

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Pool asks a group of servers. It is safe for concurrent use.
type Pool struct {
	config Config // complete, and not changed
	file   *systemFile
	places chan struct{} // holds one for each question under way
	small  *buffers

	// ended is the context that Close ends; every question's ends with it.
	ended context.Context
	end   context.CancelCauseFunc
	// running counts what Close waits for: questions, attempts, readers. It
	// grows from nothing under mu only, and not after ended.
	running sync.WaitGroup

	mu      sync.Mutex // guards members, and closing against asking
	members []*member
}

const (
	// The most servers of a pool: each may be waited for in turn.
	maxServers = 16
	// The questions under way in a pool; more wait, as long as their contexts
	// allow.
	maxInFlight = 1000
)

// NewPool checks a config and makes a pool of its servers. It asks nobody yet.
func NewPool(c Config) (*Pool, error) {
	if len(c.Servers) == 0 || len(c.Servers) > maxServers {
		return nil, fmt.Errorf("upstream: a pool has 1 to %d servers, not %d", maxServers, len(c.Servers))
	}
	for i, server := range c.Servers {
		if err := server.check(); err != nil {
			return nil, fmt.Errorf("upstream: server %d: %w", i+1, err)
		}
		if slices.Contains(c.Servers[:i], server) {
			return nil, fmt.Errorf("upstream: server %v is there twice", server)
		}
	}
	p := newPool(c)
	p.adopt(c.Servers)
	return p, nil
}

func newPool(c Config) *Pool {
	if c.Timeout <= 0 {
		c.Timeout = 1500 * time.Millisecond
	}
	c.Attempts = max(c.Attempts, 0)
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Pool{config: c, places: make(chan struct{}, maxInFlight), small: new(buffers)}
	p.ended, p.end = context.WithCancelCause(context.Background())
	return p
}

// adopt makes these the servers of the pool. Those that it had keep what is
// known of them, and their connections; those that are gone lose them. The
// caller holds the mutex, or is alone.
func (p *Pool) adopt(servers []Server) {
	before := p.members
	p.members = nil
	for _, server := range servers {
		at := slices.IndexFunc(before, func(m *member) bool { return m.Server == server })
		if at < 0 {
			p.members = append(p.members, p.newMember(server))
			continue
		}
		p.members = append(p.members, before[at])
		before = slices.Delete(slices.Clone(before), at, at+1)
	}
	for _, gone := range before {
		gone.transport.close()
	}
}

func (p *Pool) newMember(server Server) *member {
	c := &p.config
	lied := func(about Lie) {
		if c.Hooks.Lied != nil {
			c.Hooks.Lied(server, about)
		}
	}
	stream := streamDialer(c.Dial, server.Addr.String(), nil, lied, p.start)
	m := &member{Server: server, timeout: c.Timeout, now: c.Now, hooks: c.Hooks}
	switch server.Network {
	case "tls":
		stream = streamDialer(c.Dial, server.Addr.String(), tlsConfig(c, server), lied, p.start)
	case "https":
		stream = httpDialer(c, c.Dial, server)
	}
	kept := newKept(c.Timeout/2, stream)
	m.transport = kept
	if server.Network == "udp" {
		m.transport = &packets{server: server, dial: c.Dial, stream: kept, now: c.Now, lied: lied, start: p.start, small: p.small}
	}
	return m
}

// Ask puts a question to the servers until one answers. An answer is one with
// records, or that there are none, or no such name. It takes at most
// Config.Attempts times Config.Timeout, as a rule far less, and no longer than
// the context.
//
// An error is an ErrTimeout or an ErrFailed, and names the servers.
func (p *Pool) Ask(ctx context.Context, q Question) (*Reply, error) {
	if err := q.check(); err != nil {
		return nil, &askError{kind: ErrFailed, cause: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	defer context.AfterFunc(p.ended, func() { cancel(ErrClosed) })()
	members, err := p.enter()
	if err != nil {
		return nil, &askError{kind: ErrFailed, cause: err}
	}
	defer p.running.Done()
	race := newRace(q, members, p.config.Attempts)
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-ctx.Done():
		return nil, race.giveUp(context.Cause(ctx))
	}
	return race.run(ctx, cancel, p.start)
}

// enter counts the caller among what runs, and returns the servers of now.
func (p *Pool) enter() ([]*member, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended.Err() != nil {
		return nil, ErrClosed
	}
	if p.file != nil {
		if err := p.reread(); err != nil {
			return nil, err
		}
	}
	p.running.Add(1)
	return p.members, nil
}

// start runs a function in a goroutine that Close waits for. It is called only
// by what runs itself.
func (p *Pool) start(do func()) {
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		do()
	}()
}

// Close ends every question under way with ErrClosed, closes every connection,
// and returns when nothing of the pool runs any more. It may be called again.
func (p *Pool) Close() {
	p.mu.Lock()
	p.end(ErrClosed)
	for _, m := range p.members {
		m.transport.close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// buffers lends what an answer over UDP is read into: more than was said to be
// welcome, and far less than could come.
type buffers struct{ pool sync.Pool }

type buffer [4096]byte

func (b *buffers) get() *buffer {
	if lent, ok := b.pool.Get().(*buffer); ok {
		return lent
	}
	return new(buffer)
}

func (b *buffers) put(lent *buffer) { b.pool.Put(lent) }
