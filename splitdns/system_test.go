package splitdns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers over UDP on loopback: two names exist, one fails, and
// one never answers.
type nameServer struct {
	conn net.PacketConn
	done chan struct{}
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, done: make(chan struct{})}
	go s.serve()
	t.Cleanup(func() {
		conn.Close()
		<-s.done
	})
	return s
}

// resolver is the machine's, in Go and sent to this server.
func (s *nameServer) resolver() *net.Resolver {
	r := machineResolver(func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", s.conn.LocalAddr().String())
	})
	r.PreferGo = true
	return r
}

func (s *nameServer) serve() {
	defer close(s.done)
	buf := make([]byte, 1500)
	for {
		n, client, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if query.Unpack(buf[:n]) != nil || len(query.Questions) != 1 {
			continue
		}
		if answer, ok := s.answer(query); ok {
			if packed, err := answer.Pack(); err == nil {
				s.conn.WriteTo(packed, client)
			}
		}
	}
}

func (s *nameServer) answer(query dnsmessage.Message) (dnsmessage.Message, bool) {
	question := query.Questions[0]
	name := question.Name.String()
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionAvailable: true},
		Questions: query.Questions,
	}
	header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: dnsmessage.ClassINET, TTL: 60}
	put := func(body dnsmessage.ResourceBody) {
		answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: body})
	}
	switch {
	case name == "silent.example.":
		return dnsmessage.Message{}, false
	case name == "failing.example.":
		answer.RCode = dnsmessage.RCodeServerFailure
	case name == "both.example." && question.Type == dnsmessage.TypeA:
		put(&dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}})
	case name == "both.example." && question.Type == dnsmessage.TypeAAAA:
		put(&dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 7}})
	case name == "bare.example.": // exists, and has no address
	default:
		answer.RCode = dnsmessage.RCodeNameError
	}
	return answer, true
}

// TestThroughTheStandardResolver also leaves a look-up at a silent server: the
// check for goroutines at the end fails if it goes on.
func TestThroughTheStandardResolver(t *testing.T) {
	server := startNameServer(t)
	r := newResolver(t, Config{System: server.resolver(), Timeout: 4 * time.Second})
	answer, err := r.Resolve(t.Context(), "both.example")
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(answer.Addrs, netip.Addr.Compare)
	if want := addrs("192.0.2.7", "2001:db8::7"); !slices.Equal(answer.Addrs, want) {
		t.Errorf("both.example: %v, want %v", answer.Addrs, want)
	}
	for name, want := range map[string]error{"missing.example": ErrNotFound, "bare.example": ErrNotFound, "failing.example": ErrFailed, "single": ErrNotFound} {
		if _, err := r.Resolve(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	quick := newResolver(t, Config{System: server.resolver(), Timeout: 100 * time.Millisecond})
	if _, err := quick.Resolve(t.Context(), "silent.example"); !errors.Is(err, ErrTimeout) {
		t.Errorf("silent.example: %v, want %v", err, ErrTimeout)
	}
}
