package upstream

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// A defect ends the attempt, and the next server is asked.
func TestDefects(t *testing.T) {
	server := serve(t, honest, honest)
	other := serve(t, silent, silent)
	var told atomic.Int32
	p := pool(t, Config{
		Servers: []Server{other.over("udp"), server.over("udp")},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == other.addr().String() {
				panic("a defect")
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
		Hooks: Hooks{Panicked: func(any, []byte) { told.Add(1) }},
	})
	wantHonest(t, p, server.over("udp"))
	if n := told.Load(); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// A defect in the probe of a server that is down does not keep it down.
func TestDefectInAProbe(t *testing.T) {
	m := &member{
		Server: Server{Network: "udp"}, timeout: time.Second, now: time.Now, transport: defective{},
		hooks: Hooks{Panicked: func(any, []byte) {}},
	}
	m.health.down = true
	for n := range 2 {
		if !m.health.admit(time.Now()) {
			t.Fatalf("not asked again after %d attempts", n)
		}
		if _, err := m.attempt(t.Context(), Question{"example.com", 1}); !errors.Is(err, errDefect) {
			t.Errorf("attempt %d: %v", n, err)
		}
	}
}

type defective struct{}

func (defective) exchange(context.Context, Question, bool) (*query, []byte, error) { panic("a defect") }
func (defective) close()                                                           {}
