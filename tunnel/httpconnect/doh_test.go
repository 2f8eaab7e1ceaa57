package httpconnect

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/tunnel"
)

var mailName = dnsmessage.MustNewName("mail.example.com.")

func packed(t testing.TB, m dnsmessage.Message) []byte {
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func dnsQuestion(t testing.TB) []byte {
	return packed(t, dnsmessage.Message{
		Header:    dnsmessage.Header{RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: mailName, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	})
}

func record(ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: mailName, Class: dnsmessage.ClassINET, TTL: ttl}, Body: body}
}

func soa(least uint32) dnsmessage.ResourceBody {
	return &dnsmessage.SOAResource{NS: mailName, MBox: mailName, MinTTL: least}
}

func dnsReply(t testing.TB) []byte {
	return packed(t, dnsmessage.Message{
		Header:    dnsmessage.Header{Response: true},
		Questions: []dnsmessage.Question{{Name: mailName, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{
			record(300, &dnsmessage.AResource{A: [4]byte{10, 0, 0, 25}}),
			record(60, &dnsmessage.AResource{A: [4]byte{10, 0, 0, 26}}),
		},
	})
}

// serveDNS answers one question over TCP, a byte at a time, and waits for the end. The
// test does, too: a server that closes meanwhile would break it off.
func serveDNS(t testing.TB, reply []byte) func(*net.TCPConn) {
	var under sync.WaitGroup
	t.Cleanup(under.Wait)
	return func(c *net.TCPConn) {
		under.Add(1)
		defer under.Done()
		length := make([]byte, 2)
		if _, err := io.ReadFull(c, length); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(length))
		if _, err := io.ReadFull(c, question); err != nil || !bytes.Equal(question, dnsQuestion(t)) {
			t.Errorf("asked %x, %v", question, err)
		}
		for _, b := range append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("%x, %v", rest, err)
		}
	}
}

func (w *world) roundTripper(t testing.TB, version string) http.RoundTripper {
	switch version {
	case CarrierHTTP1:
		transport := &http.Transport{TLSClientConfig: clientTLS()}
		t.Cleanup(transport.CloseIdleConnections)
		return transport
	case CarrierHTTP2:
		return w.http2(t).conn
	}
	w.overQUIC(t)
	return w.http3(t).conn
}

func TestDNSOverHTTPS(t *testing.T) {
	get := func(b []byte) string { return "?dns=" + base64.RawURLEncoding.EncodeToString(b) }
	good := dnsQuestion(t)
	for _, version := range []string{CarrierHTTP1, CarrierHTTP2, CarrierHTTP3} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, Config{DNS: true, Header: "X-Ticket"}, tunnel.Config{})
			w.leads(dnsHost, serveDNS(t, dnsReply(t)))
			over := w.roundTripper(t, version)
			for _, test := range []struct {
				name, method, query, kind, header, value string
				body                                     []byte
				status                                   int
			}{
				{"GET", "GET", get(good), "", "Authorization", bearer0, nil, 200},
				{"POST", "POST", "", dnsType, "Authorization", basicOf("u", testTicket), good, 200},
				{"as to a proxy", "GET", get(good), "", "Proxy-Authorization", bearer0, nil, 200},
				{"in a header of its own", "GET", get(good), "", "X-Ticket", testTicket, nil, 200},
				{"without a ticket", "GET", get(good), "", "X", "y", nil, 401},
				{"with a wrong one", "GET", get(good), "", "Authorization", "Bearer wrong", nil, 401},
				{"with two", "GET", get(good), "", "Authorization", "Bearer a,b", nil, 400},
				{"PUT", "PUT", "", dnsType, "Authorization", bearer0, good, 405},
				{"another type", "POST", "", "text/plain", "Authorization", bearer0, good, 415},
				{"too much", "POST", "", dnsType, "Authorization", bearer0, make([]byte, 5000), 413},
				{"nothing", "GET", "", "", "Authorization", bearer0, nil, 400},
				{"twice", "GET", get(good) + "&" + get(good)[1:], "", "Authorization", bearer0, nil, 400},
				{"not base64url", "GET", "?dns=%2F%2F", "", "Authorization", bearer0, nil, 400},
				{"an answer", "GET", get(dnsReply(t)), "", "Authorization", bearer0, nil, 400},
				{"cut off", "GET", get(good[:20]), "", "Authorization", bearer0, nil, 400},
			} {
				r, _ := http.NewRequest(test.method, "https://"+w.tcp+"/dns-query"+test.query, bytes.NewReader(test.body))
				r.Header.Set(test.header, test.value)
				if test.kind != "" {
					r.Header.Set("Content-Type", test.kind)
				}
				response, err := over.RoundTrip(r)
				if err != nil {
					t.Fatalf("%s: %v", test.name, err)
				}
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err != nil || response.StatusCode != test.status {
					t.Errorf("%s: %d %q %v", test.name, response.StatusCode, body, err)
				}
				if test.status == 200 && (!bytes.Equal(body, dnsReply(t)) || response.Header.Get("Content-Type") != dnsType ||
					response.Header.Get("Cache-Control") != "private, max-age=60") {
					t.Errorf("%s: %v %x", test.name, response.Header, body)
				}
				if test.status == 401 && len(response.Header["Www-Authenticate"]) != 2 {
					t.Errorf("%s: %v", test.name, response.Header)
				}
			}
		})
	}
}

// The header that a proxy's credential may stand in may be that of a resource's.
func TestDNSWithItsOwnHeader(t *testing.T) {
	w := newWorld(t, Config{DNS: true, Header: "Authorization"}, tunnel.Config{})
	w.leads(dnsHost, serveDNS(t, dnsReply(t)))
	over := w.http2(t).conn
	for given, want := range map[string]int{bearer0: 200, "Bearer wrong": 401} {
		r, _ := http.NewRequest("POST", "https://x/dns-query", bytes.NewReader(dnsQuestion(t)))
		r.Header.Set("Content-Type", dnsType)
		r.Header.Set("Authorization", given)
		response, err := over.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		if response.StatusCode != want {
			t.Errorf("%d, want %d", response.StatusCode, want)
		}
	}
}

// A service that gives no whole reply is a bad gateway; one that is not allowed is
// refused as any other destination.
func TestDNSFails(t *testing.T) {
	w := newWorld(t, Config{DNS: true}, tunnel.Config{})
	over := w.http2(t).conn
	for _, test := range []struct {
		serve  func(*net.TCPConn)
		status int
	}{
		{nil, 403},
		{func(*net.TCPConn) {}, 502},
		{func(c *net.TCPConn) { _, _ = io.WriteString(c, "\x00\x05ab") }, 502},
		{func(c *net.TCPConn) { _, _ = io.WriteString(c, "\x00\x02ab"); _, _ = io.Copy(io.Discard, c) }, 502},
	} {
		w.leads(dnsHost, test.serve)
		r, _ := http.NewRequest("POST", "https://x/dns-query", bytes.NewReader(dnsQuestion(t)))
		r.Header.Set("Content-Type", dnsType)
		r.Header.Set("Authorization", bearer0)
		response, err := over.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != test.status {
			t.Errorf("%d %s", response.StatusCode, body)
		}
	}
}

func TestLeastTTL(t *testing.T) {
	for _, test := range []struct {
		name  string
		reply dnsmessage.Message
		want  uint32
	}{
		{"no such name", dnsmessage.Message{Authorities: []dnsmessage.Resource{record(900, soa(30))}}, 30},
		{"the zone's own time is less", dnsmessage.Message{Authorities: []dnsmessage.Resource{record(20, soa(30))}}, 20},
		{"nothing says", dnsmessage.Message{}, 0},
		{"a large one", dnsmessage.Message{Answers: []dnsmessage.Resource{record(1<<32-1, soa(1)), record(1, soa(1))}}, 1},
	} {
		if ttl, err := leastTTL(packed(t, test.reply)); err != nil || ttl != test.want {
			t.Errorf("%s: %d, %v", test.name, ttl, err)
		}
	}
}

func FuzzLeastTTL(f *testing.F) {
	f.Add(dnsReply(f))
	f.Add(dnsQuestion(f))
	f.Add([]byte(strings.Repeat("\xc0\x0c", 20)))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = leastTTL(b)
		if isQuestion(b) && len(b) < 17 {
			t.Errorf("%x is no question", b)
		}
	})
}

// A page's worth of questions is asked a few at a time, and each is answered.
func TestManyQuestions(t *testing.T) {
	for _, version := range []string{CarrierHTTP2, CarrierHTTP3} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t, Config{DNS: true}, tunnel.Config{})
			var asked, most atomic.Int64
			enough := make(chan struct{})
			suffice := sync.OnceFunc(func() { close(enough) })
			answer := serveDNS(t, dnsReply(t))
			w.leads(dnsHost, func(c *net.TCPConn) {
				now := asked.Add(1)
				defer asked.Add(-1)
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				if now == maxAsking {
					suffice() // the others hold it until all have come that may
				}
				<-enough
				answer(c)
			})
			over := w.roundTripper(t, version)
			var all errgroup.Group
			for range 5 * maxAsking {
				all.Go(func() error {
					r, _ := http.NewRequest("POST", "https://"+w.tcp+"/dns-query", bytes.NewReader(dnsQuestion(t)))
					r.Header = http.Header{"Authorization": {bearer0}, "Content-Type": {dnsType}}
					response, err := over.RoundTrip(r)
					if err != nil {
						return err
					}
					defer response.Body.Close()
					if response.StatusCode != 200 {
						return fmt.Errorf("%d", response.StatusCode)
					}
					return nil
				})
			}
			if err := all.Wait(); err != nil {
				t.Error(err)
			}
			if n := most.Load(); n < maxAsking || n > 2*maxAsking {
				t.Errorf("%d questions at a time", n)
			}
		})
	}
}
