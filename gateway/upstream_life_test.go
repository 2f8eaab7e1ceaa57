package gateway_test

import (
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/gateway"
)

// Whatever becomes of a tunnel, its port is counted until it has ended and no longer.
func TestPortsOfTunnels(t *testing.T) {
	w := newWorld(t, options{})
	up, err := gateway.NewUpstream(gateway.UpstreamConfig{Sources: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	must(t, err)
	s := w.snapshot("mail.example.com:"+w.service, netip.AddrPort{})
	s.Upstream = up
	w.gateway.Use(s)
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
