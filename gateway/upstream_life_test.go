package gateway_test

import (
	"io"
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/tunnel"
)

// Whatever becomes of a tunnel, its port is counted until it has ended and no longer.
func TestPortsOfTunnels(t *testing.T) {
	up, err := gateway.NewUpstream(gateway.UpstreamConfig{Sources: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	must(t, err)
	w := newWorld(t, options{upstream: up})
	issued := w.issue(nil)
	handle := issued.Handle.Reveal()
	closed, cut := w.mustOpen(handle, "mail.example.com", w.port), w.mustOpen(handle, "mail.example.com", w.port)
	if got := w.gateway.Ports(); len(got) != 1 || got[0].Live != 2 {
		t.Errorf("two tunnels, and %v", got)
	}
	must(t, closed.Close())
	next(t, w.accounts, "account")
	if got := w.gateway.Ports(); len(got) != 1 || got[0].Live != 1 {
		t.Errorf("one tunnel, and %v", got)
	}
	w.gateway.EndAll()
	next(t, w.accounts, "account")
	_ = cut.Close()
	if got := w.gateway.Ports(); len(got) != 0 {
		t.Errorf("no tunnel, and %v", got)
	}
}

// A defect between the registry and the relay leaves neither a tunnel nor a port
// counted, and the next one is as good as the first.
func TestPanicBeforeItIsJoined(t *testing.T) {
	up, err := gateway.NewUpstream(gateway.UpstreamConfig{Sources: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	must(t, err)
	panicked := make(chan any, 3)
	w := newWorld(t, options{
		upstream: up, opened: func(*gateway.Attempt) { panic("planted") },
		panicked: func(_ tunnel.Peer, value any, _ []byte) { panicked <- value },
	})
	handle := w.issue(nil).Handle.Reveal()
	for range 3 {
		if client, err := w.open(handle, "mail.example.com", w.port); err == nil {
			_, _ = io.Copy(io.Discard, client) // until the server has closed it
			_ = client.Close()
		}
		next(t, panicked, "panic")
	}
	if live, ports := w.gateway.Live(), w.gateway.Ports(); live != 0 || len(ports) != 0 {
		t.Errorf("%d live, ports %v", live, ports)
	}
}
