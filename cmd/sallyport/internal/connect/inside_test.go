package connect

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/stub"
)

// pipes stands for tunnels to a gateway's DNS, which answers at the far end of
// each.
type pipes struct {
	handler stub.Handler

	mu     sync.Mutex
	opened []net.Conn // the far ends
}

func (p *pipes) open(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	p.mu.Lock()
	p.opened = append(p.opened, far)
	p.mu.Unlock()
	go func() { _ = stub.ServeStream(context.Background(), far, p.handler) }()
	return near, nil
}

func (p *pipes) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.opened)
}

// answering answers every question with one address.
type answering struct{}

func (answering) Answer(_ context.Context, q *stub.Query) []byte {
	return q.Addresses([]netip.Addr{netip.MustParseAddr(insideAddr)}, time.Minute)
}

// A tunnel is kept while it is in use, replaced when the gateway has ended it,
// and closed when nobody has asked for a while.
func TestTunnelIsKept(t *testing.T) {
	wire := query(t, "mail.example.com.", dns.TypeA).Wire()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{handler: answering{}}
		i := newInside(p.open)
		release, other := i.use(), i.use()
		ask := func(tunnels int) {
			t.Helper()
			answer, err := i.exchange(t.Context(), wire)
			if err != nil || stub.Rcode(answer) != stub.Success {
				t.Fatalf("%x, %v", answer, err)
			}
			if n := p.count(); n != tunnels {
				t.Errorf("%d tunnels, want %d", n, tunnels)
			}
		}
		ask(1)
		time.Sleep(insideIdle - time.Second)
		ask(1)
		time.Sleep(insideIdle - time.Second)
		ask(1)
		time.Sleep(insideIdle + time.Second)
		if _, err := p.opened[0].Write([]byte{0}); err == nil {
			t.Error("an idle tunnel was kept")
		}
		ask(2)
		_ = p.opened[1].Close()
		ask(3)
		other()
		ask(3)
		release()
		synctest.Wait()
		if _, err := p.opened[2].Write([]byte{0}); err == nil {
			t.Error("a tunnel is kept for nobody")
		}
		ask(4)
		ask(5)
	})
}

// blocking answers nothing before its channel is closed.
type blocking struct{ release chan struct{} }

func (b blocking) Answer(ctx context.Context, q *stub.Query) []byte {
	<-b.release
	return answering{}.Answer(ctx, q)
}

// However many ask, there are no more tunnels than the bound, and those who
// wait for one wait no longer than they may.
func TestTunnelsAreBounded(t *testing.T) {
	wire := query(t, "mail.example.com.", dns.TypeA).Wire()
	synctest.Test(t, func(t *testing.T) {
		b := blocking{make(chan struct{})}
		p := &pipes{handler: b}
		i := newInside(p.open)
		release := i.use()
		results := make(chan error, 2*insideTunnels)
		for range cap(results) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), answerLimit)
				defer cancel()
				_, err := i.exchange(ctx, wire)
				results <- err
			}()
		}
		synctest.Wait()
		if n := p.count(); n != insideTunnels {
			t.Errorf("%d tunnels", n)
		}
		if _, err := i.exchange(ended(t), wire); !errors.Is(err, context.Canceled) {
			t.Errorf("one who may not wait: %v", err)
		}
		close(b.release)
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := p.count(); n != insideTunnels {
			t.Errorf("%d tunnels in the end", n)
		}
		release()
		synctest.Wait()
	})
}

func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// What is still under way when the last listener ends is not kept.
func TestNoTunnelOutlivesItsUser(t *testing.T) {
	i := newInside(nil)
	i.use()()
	near, far := net.Pipe()
	defer far.Close()
	i.keep(near)
	if _, err := near.Write([]byte{0}); err == nil {
		t.Error("kept")
	}
}
