package node

import (
	"net"
	"net/netip"
	"testing"
)

// All of IPv4 is not IPv6, and all addresses are both families'.
func TestListensOnFamilies(t *testing.T) {
	for _, test := range []struct {
		at   string
		ipv6 bool
	}{{"0.0.0.0:0", false}, {"[::]:0", true}, {"127.0.0.1:0", false}, {"[::1]:0", true}} {
		network, address := family("tcp", netip.MustParseAddrPort(test.at))
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		at := l.Addr().(*net.TCPAddr).AddrPort()
		if is := at.Addr().Is6(); is != test.ipv6 {
			t.Errorf("%s: listens on %s", test.at, at)
		}
		network, _ = family("udp", at)
		udp, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		if is := addrPortOf(udp).Addr().Is6(); is != test.ipv6 {
			t.Errorf("%s: listens on %s for UDP", test.at, udp.LocalAddr())
		}
	}
}

func addrPortOf(conn *net.UDPConn) netip.AddrPort { return conn.LocalAddr().(*net.UDPAddr).AddrPort() }
