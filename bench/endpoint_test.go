package bench

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/bench/load"
)

func writeFileOf(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEndpoints(t *testing.T) {
	tickets := writeFileOf(t, testTicket+"\n\n "+testTicket+"X\n", 0o600)
	ca := writeFileOf(t, "PEM", 0o644)
	for text, want := range map[string]load.Endpoint{
		"socks5+tls://gw.example.com:443?tickets=" + tickets + "&ca=" + ca + "&name=ours&user=u&alpn=x&curve=X25519&resume=1&server_name=n": {
			Name: "ours", Way: "socks", Address: "gw.example.com:443", ServerName: "n", CA: []byte("PEM"), User: "u",
			Tickets: []string{testTicket, testTicket + "X"}, ALPN: "x", Curve: "X25519", Resume: true},
		"https://gw.example.com:443/?tls12=1&resume=0": {Name: "gw.example.com:443", Way: "https", Address: "gw.example.com:443", TLS12: true},
		"tls://[2001:db8::1]:443":                      {Name: "[2001:db8::1]:443", Way: "tls", Address: "[2001:db8::1]:443"},
		"tcp://10.0.0.7:7401?name=direct":              {Name: "direct", Way: "tcp", Address: "10.0.0.7:7401"},
		"https://u@gw:1":                               {Name: "gw:1", Way: "https", Address: "gw:1", User: "u"},
	} {
		if got, err := ParseEndpoint(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestEndpointsRefused(t *testing.T) {
	open := writeFileOf(t, testTicket, 0o644)
	broken := writeFileOf(t, testTicket+"\n"+testTicket+" x\n", 0o600)
	for text, want := range map[string]string{
		"socks5+tls://u:hunter2@gw:443":  "tickets=FILE",
		"socks5://gw:443":                "begins with",
		"gw:443":                         "begins with",
		"https://gw":                     "a host and a port",
		"https://:443":                   "a host and a port",
		"https://gw:443/x":               "no path",
		"https://gw:443?ticket=x":        "did you mean tickets?",
		"https://gw:443?resume=yes":      "0 or 1",
		"https://gw:443?name=a&name=b":   "twice",
		"https://gw:443?tickets=" + open: "chmod 600",
		"https://gw:443?tickets=0123456789ABCDEFGHIJKLMNOPQRSTUV": "tickets: its file: no such file or directory",
		"gw.example.com:443":                 "an endpoint begins with socks5+tls://, ",
		"https://gw:443?tickets=" + broken:   "line 2 is not a ticket",
		"https://gw:443?ca=/nowhere/at/all":  "no such file",
		"tcp://10.0.0.1:1?tickets=" + broken: "is not a ticket",
		"tcp://10.0.0.1:1?alpn=h2":           "takes a name",
		"https://hunter2:%zz@gw":             "cannot be read",
	} {
		_, err := ParseEndpoint(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), testTicket)) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	f.Add("socks5+tls://u:hunter2@gw.example.com:443?name=ours")
	f.Add("https://gw:1?resume=1&curve=P-256")
	f.Add("tcp://[::1]:7401")
	f.Add("tls://gw:443?%zz")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "ca=") || strings.Contains(text, "tickets=") || strings.Contains(text, "%") {
			return // files of the machine are not to be read
		}
		e, err := ParseEndpoint(text)
		if err == nil && (e.Way == "" || e.Address == "" || e.Tickets != nil) {
			t.Fatalf("%q became %+v", text, e)
		}
	})
}

func TestLeadsOut(t *testing.T) {
	own := netip.MustParseAddr("192.0.2.7")
	clients := []*party{{role: "client 1", hello: hello{Addresses: []netip.Addr{own}}}}
	for address, refused := range map[string]bool{
		"192.0.2.8:443": false, "[2001:db8::1]:443": false,
		"192.0.2.7:443": true, "[::ffff:192.0.2.7]:443": true, "127.0.0.1:1": true, "[::1]:1": true, "127.9.9.9:1": true,
		"0.0.0.0:1": true, "localhost:1": true, "no-such-name.invalid:1": false, ":1": true,
	} {
		p, err := placed(t.Context(), "the endpoint ours", address)
		if err == nil {
			err = p.leadsOut(clients)
		}
		var loopback *LoopbackError
		if errors.As(err, &loopback) != refused {
			t.Errorf("%s: %v", address, err)
		}
		if refused && err != nil && (!strings.Contains(err.Error(), "--allow-loopback") || !strings.Contains(err.Error(), "the endpoint ours")) {
			t.Errorf("%s: the error says %v", address, err)
		}
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[31mb\n\u202ec\xff"); strings.ContainsAny(got, "\x1b\n\u202e") || !strings.HasPrefix(got, "a") {
		t.Errorf("%q", got)
	}
	if got := printable(strings.Repeat("x", 10_000)); len(got) > 600 {
		t.Errorf("%d bytes", len(got))
	}
}
