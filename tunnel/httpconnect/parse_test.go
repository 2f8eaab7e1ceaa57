package httpconnect

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/tunnel"
)

func TestTarget(t *testing.T) {
	name := func(host string, port uint16) tunnel.Destination { return tunnel.Destination{Host: host, Port: port} }
	addr := func(a string, port uint16) tunnel.Destination {
		return tunnel.Destination{Addr: netip.MustParseAddr(a), Port: port}
	}
	long := strings.Repeat("a", maxHost)
	for authority, want := range map[string]tunnel.Destination{
		"mail.example.com:443":  name("mail.example.com", 443),
		"Mail.Example.com.:443": name("Mail.Example.com.", 443),
		"bücher.example:1":      name("bücher.example", 1),
		"127.1:80":              name("127.1", 80), // the gateway judges it as a name
		long + ":65535":         name(long, 65535),
		"192.0.2.1:443":         addr("192.0.2.1", 443),
		"[2001:db8::1]:443":     addr("2001:db8::1", 443),
		"[::ffff:192.0.2.1]:1":  addr("::ffff:192.0.2.1", 1),
	} {
		if got, err := parseTarget(authority); err != nil || got != want {
			t.Errorf("%s: %v, %v", authority, got, err)
		}
	}
	for _, authority := range []string{
		"", ":", ":443", "a", "a:", "a:0", "a:00443", "a:0443", "a:+443", "a:65536", "a:443x", "a:４４３", "a:b:443", "2001:db8::1:443",
		"[2001:db8::1]", "[fe80::1%25lo]:1", "[fe80::1%lo]:1", "[192.0.2.1]:443", "[a]:443", "[]:443", "u@a:443", "a/b:443", "a?b:443", "a#b:443",
		"a%2eb:443", `a\b:443`, "a b:443", "a\tb:443", "a\x00b:443", "a\u202eb:443", "\xff:443", ";40;STA01;X:443", long + "a:443", "a:443\r\n",
	} {
		if got, err := parseTarget(authority); !errors.Is(err, errTarget) {
			t.Errorf("%q: %v, %v", authority, got, err)
		}
	}
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"mail.example.com:443", "[::1]:1", "[fe80::1%eth0]:2", ";40;A;B:3", "a@b:4", "a:b:5", "\x00:6"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseTarget(s)
		if err != nil {
			if d != (tunnel.Destination{}) {
				t.Errorf("%q: %v", s, d)
			}
			return
		}
		if d.Port == 0 || d.InCredential || (d.Host == "") != d.Addr.IsValid() || len(d.Host) > maxHost || strings.HasPrefix(d.Host, ";") ||
			strings.ContainsAny(d.Host, "@/?# \r\n\x00:") {
			t.Errorf("%q: %#v", s, d)
		}
	})
}

func TestCredential(t *testing.T) {
	for _, test := range []struct {
		value, user, secret string
		raw                 bool
		err                 error
	}{
		{"Bearer abc", "", "abc", false, nil},
		{"bearer   abc", "", "abc", false, nil},
		{"Basic dTpw", "u", "p", false, nil},
		{"BASIC dTpwOnA=", "u", "p:p", false, nil},
		{basicOf("", "p"), "", "p", false, nil},
		{basicOf("a\u202eb\r\n", "p"), `a\u{202e}b\u{000d}\u{000a}`, "p", false, nil},
		{basicOf(testTicket, "p"), "[secret]", "p", false, nil},
		{basicOf("u", strings.Repeat("x", maxCredential)), "u", strings.Repeat("x", maxCredential), false, nil},
		{"Bearer " + strings.Repeat("x", maxCredential), "", strings.Repeat("x", maxCredential), false, nil},
		{"abc", "", "abc", true, nil},
		{";40;STA01;abc", "", ";40;STA01;abc", true, nil},
		{"Basic dTpw", "u", "p", true, nil},
		{"Negotiate abc", "", "", false, errNoCredential},
		{"Digest realm=x, b=y", "", "", false, errNoCredential},
		{"Negotiate abc", "", "", true, errMalformed},
		{"", "", "", false, errMalformed},
		{"Bearer ", "", "", false, errMalformed},
		{"Bearer a b", "", "", false, errMalformed},
		{"Bearer a,b", "", "", false, errMalformed},
		{"Bearer ä", "", "", false, errMalformed},
		{"Basic dTpw, Basic dTpw", "", "", false, errMalformed},
		{"Basic dXA=", "", "", false, errMalformed},     // no colon
		{"Basic dTpw\r\n", "", "", false, errMalformed}, // which decoders skip
		{"Basic dTpx1", "", "", false, errMalformed},
		{"Bearer " + strings.Repeat("x", maxCredential+1), "", "", false, errTooLong},
		{basicOf("u", strings.Repeat("x", maxCredential+1)), "", "", false, errTooLong},
	} {
		c, err := parseCredential(test.value, test.raw)
		if !errors.Is(err, test.err) || c.User != test.user || c.Secret != test.secret || err == nil && c.By != tunnel.ByHeader {
			t.Errorf("%.50q: %q %.50q, %v", test.value, c.User, c.Secret, err)
		}
	}
	both := http.Header{"Proxy-Authorization": {"Bearer a"}, "X-Ticket": {"a"}}
	if _, err := credentialOf(both, headerProxyAuthorization, "X-Ticket"); !errors.Is(err, errDoubled) {
		t.Error(err)
	}
	one := http.Header{"Authorization": {"Bearer a"}}
	for _, again := range []string{"Authorization", "authorization"} {
		if c, err := credentialOf(one, headerAuthorization, headerProxyAuthorization, again); err != nil || c.Secret != "a" {
			t.Errorf("%s, named twice: %v", again, err)
		}
	}
	if c, err := credentialOf(both, headerProxyAuthorization, ""); err != nil || c.Secret != "a" {
		t.Error(err)
	}
}

// A credential in another shape than ours, or in another header, is told from none at
// all in the log, and nothing of it is told.
func TestMisplaced(t *testing.T) {
	token := "eyJhbGciOiJFZERTQSJ9.e30.c2ln~" + testTicket
	for _, test := range []struct {
		extra, name, value, why, fix string
	}{
		{"", "", "", "no credential", "Proxy-Authorization;"},
		{"X-Ticket", "", "", "no credential", "Proxy-Authorization or X-Ticket;"},
		{"", "Proxy-Authorization", testTicket, "no credential: Proxy-Authorization has a ticket without Bearer before it", "Bearer TICKET"},
		{"X-Ticket", "Proxy-Authorization", testTicket, "no credential: Proxy-Authorization has a ticket without Bearer before it", "Bearer TICKET"},
		{"", "Proxy-Authorization", "Negotiate abc", "no credential: Proxy-Authorization is neither Bearer nor Basic", "as password"},
		{"Authorization", "Authorization", "Ticket " + testTicket, "no credential: Authorization is neither Bearer nor Basic", "as password"},
		{"X-Ticket", "Authorization", "Bearer " + testTicket, "no credential: one stands in Authorization, where none is looked for", "Proxy-Authorization or X-Ticket,"},
		{"X-Ticket", "Authorization", basicOf("u", testTicket), "no credential: one stands in Authorization, where none is looked for", "Proxy-Authorization or X-Ticket,"},
		{"Authorization", "X-Ticket", testTicket, "no credential: one stands in X-Ticket, where none is looked for", "Proxy-Authorization or Authorization,"},
		{"", "X-Ticket", token, "no credential: one stands in X-Ticket, where none is looked for", "gateway.credential_header"},
		{"", "X-Ticket", ";40;STA01;" + testTicket, "no credential: one stands in X-Ticket, where none is looked for", "gateway.credential_header"},
		{"", testTicket, "Bearer abc", "no credential: one stands in a header of another name, where none is looked for", ""},
		{"", "X-Other", "something else", "no credential", "Proxy-Authorization;"},
		{"", "Proxy-Authorization", "Bearer a,b", "malformed credential", "one ticket, in one header"},
	} {
		r := &http.Request{Method: http.MethodConnect, RequestURI: "a.test:443", ProtoMajor: 2, Header: http.Header{}}
		if test.name != "" {
			r.Header.Set(test.name, test.value)
		}
		refusal := New(Config{Header: test.extra}).wishOf(r, nil, false).refusal
		var flaw *Flaw
		if !errors.As(refusal, &flaw) || flaw.Why != test.why || !strings.Contains(flaw.Fix, test.fix) || refusal.Text != "request: "+flaw.Why {
			t.Errorf("%s: %s: %+v, %+v", test.name, test.value, refusal, flaw)
			continue
		}
		said := strings.ToUpper(refusal.Text + flaw.Fix)
		if strings.Contains(said, testTicket) || strings.Contains(said, "ABC") {
			t.Errorf("%s: it is told: %s", test.value, said)
		}
	}
}

// Whatever else is wrong with a request is told with what to do.
func TestFlaws(t *testing.T) {
	for _, edit := range []func(*http.Request){
		func(r *http.Request) { r.RequestURI = "a.test" },
		func(r *http.Request) { r.ContentLength = 3 },
		func(r *http.Request) { r.Header[":protocol"] = []string{"websocket"} },
		func(r *http.Request) { r.Header["Proxy-Authorization"] = []string{"Bearer a", "Bearer b"} },
	} {
		r := &http.Request{Method: http.MethodConnect, RequestURI: "a.test:443", ProtoMajor: 2, Header: http.Header{}}
		edit(r)
		var flaw *Flaw
		if refusal := New(Config{}).wishOf(r, nil, false).refusal; !errors.As(refusal, &flaw) || flaw.Why == "" || flaw.Fix == "" || refusal.Status < 400 {
			t.Errorf("%+v: %+v", r, refusal)
		}
	}
}

func FuzzCredential(f *testing.F) {
	for _, s := range []string{"Bearer abc", "Basic dTpw", "Basic  dTpw=", "Negotiate x", "", ";40;A;B", "a,b", "Bearer \xff"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, raw bool) {
		c, err := parseCredential(s, raw)
		if err != nil && (c.Secret != "" || strings.Contains(err.Error(), s) && len(s) > 20) {
			t.Errorf("%q: %v", s, err)
		}
		if len(c.Secret) > maxCredential || len(c.User) > maxUser || c.User != tunnel.SafeText(c.User, maxUser) {
			t.Errorf("%q: %q %q", s, c.User, c.Secret)
		}
	})
}

// FuzzHearing: the two readings of one head agree, and no more of it is taken than
// the bound.
func FuzzHearing(f *testing.F) {
	f.Add("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nahead")
	f.Add("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nHost: b\r\n\r\n")
	f.Add("GET / HTTP/1.1\n x: y\n\n")
	f.Add("CONNECT a:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		h := newHearing(strings.NewReader(s))
		r, hosts, err := h.next()
		if err != nil {
			return
		}
		if len(hosts) > 0 && r.Method != http.MethodConnect && r.URL.Host == "" && r.Host != hosts[0] {
			t.Errorf("%q: Host is %q to the one and %q to the other", s, r.Host, hosts)
		}
		w := New(Config{}).wishOf(r, hosts, false)
		if w.refusal == nil && (len(r.TransferEncoding) > 0 || r.ContentLength > 0 || len(hosts) > 1) {
			t.Errorf("%q is served", s)
		}
	})
}
