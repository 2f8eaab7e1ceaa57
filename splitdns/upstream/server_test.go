package upstream

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseServer(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, c := range []struct {
		text   string
		want   Server
		writes string // "" is the text itself
	}{
		{"10.0.0.53", Server{"udp", at("10.0.0.53:53"), "", ""}, ""},
		{"10.0.0.53:5353", Server{"udp", at("10.0.0.53:5353"), "", ""}, ""},
		{"udp://10.0.0.53:53", Server{"udp", at("10.0.0.53:53"), "", ""}, "10.0.0.53"},
		{"[fd00::53]", Server{"udp", at("[fd00::53]:53"), "", ""}, ""},
		{"[fe80::53%eth0]:5353", Server{"udp", at("[fe80::53%eth0]:5353"), "", ""}, ""},
		{"[::ffff:10.0.0.53]", Server{"udp", at("10.0.0.53:53"), "", ""}, "10.0.0.53"},
		{"tcp://10.0.0.53", Server{"tcp", at("10.0.0.53:53"), "", ""}, ""},
		{"tls://10.0.0.53:853#DNS.corp.example", Server{"tls", at("10.0.0.53:853"), "dns.corp.example", ""}, "tls://10.0.0.53#dns.corp.example"},
		{"tls://[fd00::53]:8853", Server{"tls", at("[fd00::53]:8853"), "", ""}, ""},
		{"https://10.0.0.53/q#dns.corp.example", Server{"https", at("10.0.0.53:443"), "dns.corp.example", "/q"}, ""},
		{"https://10.0.0.53", Server{"https", at("10.0.0.53:443"), "", "/dns-query"}, "https://10.0.0.53/dns-query"},
	} {
		got, err := ParseServer(c.text)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", c.text, got, err)
			continue
		}
		if c.writes == "" {
			c.writes = c.text
		}
		if got.String() != c.writes {
			t.Errorf("%s writes itself as %s", c.text, got)
		}
	}
}

func TestParseServerRefuses(t *testing.T) {
	for text, why := range map[string]string{
		"":                           "no IP address",
		"dns.corp.example":           "no IP address",
		"https://dns.google/query":   "no IP address",
		"10.0.0.53:":                 "no IP address",
		"10.0.0.53:65536":            "no IP address",
		" 10.0.0.53":                 "no IP address",
		"user@10.0.0.53":             "no IP address",
		"010.0.0.53":                 "no IP address",
		"fd00::53":                   "[fd00::53]",
		"[10.0.0.53]":                "no IP address",
		"10.0.0.53:0":                "port 0",
		"0.0.0.0":                    "no address of one server",
		"[::]:53":                    "no address of one server",
		"224.0.0.251:5353":           "no address of one server",
		"255.255.255.255":            "no address of one server",
		"quic://10.0.0.53":           "udp, tcp, tls or https",
		"TLS://10.0.0.53":            "udp, tcp, tls or https",
		"udp://10.0.0.53#a.example":  "no certificate",
		"tcp://10.0.0.53/dns-query":  "no path",
		"tls://10.0.0.53#":           "no name",
		"tls://10.0.0.53#10.0.0.53":  "no host name",
		"tls://10.0.0.53#a_b.exa":    "no host name",
		"tls://10.0.0.53#a..example": "no host name",
		"https://10.0.0.53/q?dns=1":  "letters",
		"https://10.0.0.53/q{?dns}":  "letters",
		"https://10.0.0.53/a b":      "letters",
		"[fe80::1%a/b]":              "no IP address",
	} {
		server, err := ParseServer(text)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %+v, %v; want an error about %q", text, server, err, why)
		}
	}
}

func TestNewPoolChecksServers(t *testing.T) {
	good := Server{Network: "udp", Addr: netip.MustParseAddrPort("10.0.0.53:53")}
	for _, servers := range [][]Server{
		nil,
		{good, good},
		{good, {Network: "udp"}},
		{{Network: "udp", Addr: netip.MustParseAddrPort("[::ffff:10.0.0.53]:53")}},
		{{Network: "https", Addr: good.Addr}},
		make([]Server, maxServers+1),
	} {
		if p, err := NewPool(Config{Servers: servers}); err == nil {
			p.Close()
			t.Errorf("a pool of %v", servers)
		}
	}
}

func FuzzParseServer(f *testing.F) {
	for _, seed := range []string{
		"10.0.0.53", "[fe80::1%eth0]:53", "tls://10.0.0.53:853#dns.corp.example", "https://[fd00::53]:443/dns-query#a",
		"https://10.0.0.53/#a", "udp://[::ffff:1.2.3.4]:1", "tls://1.2.3.4#xn--a", "[fe80::1%]", "https://1.2.3.4//#a.b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		server, err := ParseServer(text)
		if err != nil {
			return
		}
		if again, err := ParseServer(server.String()); err != nil || again != server {
			t.Errorf("%q is %+v, written %q, which is %+v, %v", text, server, server, again, err)
		}
		if err := server.check(); err != nil {
			t.Errorf("%q was taken and is not good for a pool: %v", text, err)
		}
	})
}
