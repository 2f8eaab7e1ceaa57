package stub

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handlerFunc is a Handler that is only a function.
type handlerFunc func(ctx context.Context, q *Query) []byte

func (f handlerFunc) Answer(ctx context.Context, q *Query) []byte { return f(ctx, q) }

// mail answers every name with the same two addresses.
var mail = handlerFunc(func(_ context.Context, q *Query) []byte {
	return q.Addresses([]netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::25")}, time.Minute)
})

// ask is a client's message for a name in any spelling.
func ask(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func unpack(t testing.TB, wire []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("an answer that miekg cannot read: %v\n%x", err, wire)
	}
	return m
}

func parse(t testing.TB, m *dns.Msg) *Query {
	t.Helper()
	q, err := Parse(pack(t, m))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// tcpPair is a TCP connection over loopback, both ends of it.
func tcpPair(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	dialled.SetDeadline(time.Now().Add(20 * time.Second)) // a test that hangs fails by name
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// serveStream serves one end of a TCP connection and returns the other, and
// what ServeStream will return.
func serveStream(t testing.TB, ctx context.Context, h Handler) (*net.TCPConn, <-chan error) {
	t.Helper()
	client, server := tcpPair(t)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- ServeStream(ctx, server, h)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return client, ended
}

func servePackets(t testing.TB, h Handler) *net.UDPAddr {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := ServePackets(ctx, pc, h); err != context.Canceled {
			t.Errorf("ServePackets: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return pc.LocalAddr().(*net.UDPAddr)
}

// many returns n addresses.
func many(n int) []netip.Addr {
	addrs := make([]netip.Addr, n)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
	}
	return addrs
}
