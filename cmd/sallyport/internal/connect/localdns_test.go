package connect

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestFirstNameserver(t *testing.T) {
	for text, want := range map[string]string{
		"nameserver 192.0.2.53\nnameserver 192.0.2.54\n":                                             "192.0.2.53",
		"# nameserver 192.0.2.1\n; nameserver 192.0.2.2\nsearch x\n\tnameserver\t192.0.2.53 # why\n": "192.0.2.53",
		"nameserver nonsense\nnameserver 2001:db8::53\n":                                             "2001:db8::53",
		"nameserver fe80::1%eth0":                                                                    "fe80::1%eth0",
		"nameserver 0.0.0.0":                                                                         "127.0.0.1",
		"nameserver ::":                                                                              "::1",
		"nameserver":                                                                                 "",
		"nameservers 192.0.2.53":                                                                     "",
		"":                                                                                           "",
	} {
		got, ok := firstNameserver(strings.NewReader(text))
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q: %v, %t", text, got, ok)
		}
	}
}

// The stub does not ask itself.
func TestOwnServerIsRefused(t *testing.T) {
	for _, own := range []string{"127.0.0.1:5353", "127.0.0.1:05353", "[::ffff:127.0.0.1]:5353"} {
		c := idleConfig(t, Off)
		c.DNSListen, c.LocalDNS = "127.0.0.1:5353", own
		if _, err := New(c); !errors.Is(err, errOwnServer) {
			t.Errorf("%s, at the start: %v", own, err)
		}
		l := localDNS{server: own, never: "127.0.0.1:5353"}
		if address, err := l.address(); !errors.Is(err, errOwnServer) {
			t.Errorf("%s, later: %s is asked, %v", own, address, err)
		}
	}
	for _, server := range []string{"192.0.2.53", "dns.example.org:53", "192.0.2.53:0", ":53", "192.0.2.53:domain"} {
		c := idleConfig(t, Off)
		c.LocalDNS = server
		if _, err := New(c); err == nil {
			t.Errorf("%s was accepted", server)
		}
	}
}

// The system's first server is asked when none is given: this machine has one or
// has none, and the stub tells which without waiting.
func TestSystemServer(t *testing.T) {
	address, err := localDNS{}.address()
	if err == nil {
		if _, port, err := net.SplitHostPort(address); err != nil || port != "53" {
			t.Errorf("%q", address)
		}
		if _, err := (localDNS{never: address}).address(); !errors.Is(err, errOwnServer) {
			t.Errorf("it may be the stub itself: %v", err)
		}
	} else if !strings.Contains(err.Error(), resolvConf) {
		t.Errorf("the error does not say where it looked: %v", err)
	}
}

func FuzzFirstNameserver(f *testing.F) {
	f.Add("nameserver 192.0.2.53\n")
	f.Add("nameserver ::\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		addr, ok := firstNameserver(strings.NewReader(text))
		if ok != addr.IsValid() || ok && addr.IsUnspecified() {
			t.Fatalf("%v, %t", addr, ok)
		}
	})
}
