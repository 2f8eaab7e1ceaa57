package node

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/tunnel/httpconnect"
)

// What servers within were refused is told as it is of devices, apart from them: a
// server is its address, whatever port it comes from.
func TestRefusalsInside(t *testing.T) {
	log := &told{}
	r := newRefusals(zerolog.New(log))
	_, j := refusal("", "outlook.office365.com", "not_listed")
	for _, from := range []string{"10.0.0.30:1", "10.0.0.30:2", "[::ffff:10.0.0.30]:3", "10.0.0.31:1"} {
		a := &gateway.Attempt{Inside: true}
		a.Peer.Remote = netip.MustParseAddrPort(from)
		r.note(a, j)
	}
	r.note(refusal("phone", "outlook.office365.com", "not_listed"))
	r.close()
	got := make(map[any]map[string]any)
	for _, line := range log.lines(t) {
		got[line["message"]] = line
	}
	servers := got["2 servers want outlook.office365.com:443, not listed"]
	if len(got) != 2 || servers["servers"] != 2.0 || servers["tunnels"] != 4.0 || servers["devices"] != nil {
		t.Errorf("%v", got)
	}
	if devices := got["1 device wants outlook.office365.com:443, not listed"]; devices["devices"] != 1.0 || devices["servers"] != nil {
		t.Errorf("%v", got)
	}
}

// The inside door is one of our own listeners: where it is in fact, where this file
// has it, and where the next one would.
func TestInsideDoorIsOwn(t *testing.T) {
	file := func(inside string) *config.Config {
		g := &config.Gateway{FQDN: "gateway3.example.com"}
		if inside != "" {
			g.Inside = &config.Inside{Listen: netip.MustParseAddrPort(inside)}
		}
		return &config.Config{Gateway: g}
	}
	n := &Node{config: file("10.0.0.5:3128")}
	next := file("10.0.0.6:3129")
	around := &surroundings{inside: netip.MustParseAddrPort("127.0.0.1:40000")}
	own := n.ownListeners(next, around, netip.AddrPort{})
	for _, at := range []netip.AddrPort{around.inside, n.config.Gateway.Inside.Listen, next.Gateway.Inside.Listen} {
		if !slices.Contains(own, at) {
			t.Errorf("%s is not ours: %v", at, own)
		}
	}
	if ports := n.ownNames(next, netip.AddrPort{})["gateway3.example.com"]; !slices.Contains(ports, 3128) || !slices.Contains(ports, 3129) {
		t.Errorf("our name has the ports %v", ports)
	}
	none := &Node{config: file("")}
	if own := none.ownListeners(file(""), &surroundings{}, netip.AddrPort{}); len(own) > 0 {
		t.Errorf("without a door: %v", own)
	}
}

// A door opens where the file says, and nowhere else than on this machine with
// certificates for a try; without a section there is none.
func TestOpenInside(t *testing.T) {
	c := &config.Config{Gateway: &config.Gateway{}, Certs: config.Certs{Mode: "dev"}}
	none, err := openInside(t.Context(), c, httpconnect.Inside)
	if none != nil || err != nil || none.address().IsValid() {
		t.Errorf("without a section: %v, %v", none, err)
	}
	none.close()
	if err := none.assemble(nil, c, nil); err != nil {
		t.Error(err)
	}
	c.Gateway.Inside = &config.Inside{Listen: netip.MustParseAddrPort("0.0.0.0:0")}
	if _, err := openInside(t.Context(), c, httpconnect.Inside); !errors.Is(err, certs.ErrNotLoopback) {
		t.Errorf("outside of this machine: %v", err)
	}
	c.Gateway.Inside.Listen = netip.MustParseAddrPort("127.0.0.1:0")
	door, err := openInside(t.Context(), c, httpconnect.Inside)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", door.address().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	door.close()
	if conn, err := net.Dial("tcp", door.address().String()); err == nil {
		conn.Close()
		t.Error("it listens after its end")
	}
}
