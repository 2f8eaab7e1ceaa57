package connect

import (
	"errors"
	"testing"

	"github.com/sallyport/sallyport/tunnel"
)

// A gateway that has no QUIC says so, and costs no head start.
func TestNobodyListensOnUDP(t *testing.T) {
	g := startGateway(t)
	g.routes["mail.example.com:443"] = startService(t).String()
	client := startClient(t, g.config(Off), Auto)
	client.links.timing.headStart = never
	exchange(t, dial(t, client), "at once")
	g.wantCarriers(t, tunnel.CarrierSOCKS5)
	if err := reach(t, startClient(t, g.config(Off), QUIC), "mail.example.com:443"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("QUIC alone: %v", err)
	}
}
