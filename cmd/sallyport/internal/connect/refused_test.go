package connect

import (
	"errors"
	"testing"
	"time"

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

// A keep-alive of less than a second is a mistake in the unit; none is none.
func TestKeepAlive(t *testing.T) {
	c := startGateway(t).config(Off)
	for after, good := range map[time.Duration]bool{
		-time.Second: false, time.Millisecond: false, time.Second - 1: false, time.Second: true, 0: true,
	} {
		c.KeepAlive = after
		client, err := NewClient(c)
		if (err == nil) != good {
			t.Errorf("%s: %v", after, err)
		}
		if client != nil {
			_ = client.Close()
		}
	}
}
