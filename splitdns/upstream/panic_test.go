package upstream

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
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
