package quic

import "testing"

// Who is there gets all of a flight that is longer than a stranger may be sent.
func TestLongCertificates(t *testing.T) {
	g := serve(t, Config{TLS: longChain()}, map[string]any{"echo": relayed(echo)})
	for range 4 {
		s, err := openTo(within(t), g.dial(t), "echo")
		if err != nil {
			t.Fatal(err)
		}
		if err := echoed(s); err != nil {
			t.Fatal(err)
		}
	}
	a := g.listener.gate.allowances
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.of) != 0 {
		t.Errorf("%d allowances are left", len(a.of))
	}
}
