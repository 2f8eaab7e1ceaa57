package quic

import (
	"testing"

	quicgo "github.com/quic-go/quic-go"

	"github.com/sallyport/sallyport/tunnel"
)

// Who is there gets all of a flight that is longer than a stranger may be sent, and than
// what a client says meanwhile would pay for.
func TestLongCertificates(t *testing.T) {
	for _, version := range []quicgo.Version{quicgo.Version1, quicgo.Version2} {
		t.Run(version.String(), func(t *testing.T) {
			g := serve(t, Config{TLS: longChain(15_000)}, map[string]any{"echo": relayed(echo)})
			for range 4 {
				g.raw(t, tunnel.ALPN, &quicgo.Config{Versions: []quicgo.Version{version}})
			}
			// The client has its handshake behind it before we have.
			s, err := openTo(within(t), g.dial(t), "echo")
			if err != nil {
				t.Fatal(err)
			}
			if err := echoed(s); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The handshakes that are over leave nothing.
func TestAllowancesEnd(t *testing.T) {
	g := serve(t, Config{}, map[string]any{"echo": relayed(echo)})
	s, err := openTo(within(t), g.dial(t), "echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := echoed(s); err != nil {
		t.Fatal(err)
	}
	a := g.listener.gate.allowances
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.of) != 0 || a.some.Load() != 0 {
		t.Errorf("%d allowances are left", len(a.of))
	}
}
