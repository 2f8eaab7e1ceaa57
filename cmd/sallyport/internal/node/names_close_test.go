package node

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

// The servers of an old file are let go when the last who uses them has ended, and
// not before; at the end of the node, at once.
func TestNamesCloseAfterTheLastUse(t *testing.T) {
	c := &config.Config{Gateway: &config.Gateway{FQDN: "gateway3.example.com"}}
	c.SplitDNS.Public = []string{"127.0.0.1:9"}
	c.SplitDNS.Zones = []config.Zone{{Suffix: "example.com", Servers: []string{"tcp://127.0.0.1:9"}}, {Suffix: "example.org"}}
	n := &Node{log: zerolog.Nop()}
	names, err := n.openNames(c)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	closed := func() bool {
		for _, pool := range names.pools {
			if _, err := pool.Ask(gone, upstream.Question{Name: "a.example.com", Type: 1}); !errors.Is(err, upstream.ErrClosed) {
				return false
			}
		}
		return true
	}
	if len(names.pools) != 2 {
		t.Errorf("%d pools", len(names.pools))
	}
	names.take()
	names.drop()
	if closed() {
		t.Error("closed while in use")
	}
	names.drop()
	if !closed() {
		t.Error("open although nobody uses it")
	}
	if names, err = n.openNames(c); err != nil {
		t.Fatal(err)
	}
	names.take()
	names.close()
	names.drop()
	if !closed() {
		t.Error("open after the end")
	}
}

// A mistake leaves nothing open, and names its place.
func TestNamesThatCannotBeOpened(t *testing.T) {
	for name, change := range map[string]func(*config.SplitDNS){
		"public": func(s *config.SplitDNS) { s.Public = []string{"dns.example.com"} },
		"zone":   func(s *config.SplitDNS) { s.Zones = []config.Zone{{Suffix: "example.com", Servers: []string{"x"}}} },
		"ca": func(s *config.SplitDNS) {
			s.Zones = []config.Zone{{Suffix: "example.com", Servers: []string{"tls://127.0.0.1"}, CA: "none.pem"}}
		},
		"twice": func(s *config.SplitDNS) { s.Zones = []config.Zone{{Suffix: "a.example"}, {Suffix: "a.example"}} },
	} {
		c := &config.Config{Gateway: &config.Gateway{FQDN: "gateway3.example.com"}}
		change(&c.SplitDNS)
		if _, err := (&Node{log: zerolog.Nop()}).openNames(c); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// Whatever would change an answer makes other names.
func TestNamesAlike(t *testing.T) {
	dir := t.TempDir()
	open := func(change func(*config.Config)) *names {
		t.Helper()
		c := &config.Config{Gateway: &config.Gateway{FQDN: "gateway3.example.com"}}
		c.SplitDNS.Zones = []config.Zone{{Suffix: "example.com", Servers: []string{"tls://127.0.0.1"}, CA: filepath.Join(dir, "ca.pem")}}
		change(c)
		names, err := (&Node{log: zerolog.Nop()}).openNames(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(names.drop)
		return names
	}
	roots := func(name string) {
		t.Helper()
		if _, err := certs.OpenDev(filepath.Join(dir, name), nil); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, name, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ca.pem"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots("one")
	first := open(func(*config.Config) {})
	for what, change := range map[string]func(*config.Config){
		"the name": func(c *config.Config) { c.Gateway.FQDN = "gateway4.example.com" },
		"a server": func(c *config.Config) { c.SplitDNS.Zones[0].Servers[0] = "tls://127.0.0.2" },
		"a host": func(c *config.Config) {
			c.SplitDNS.Hosts = map[string][]netip.Addr{"a.example.com": {netip.IPv6Loopback()}}
		},
		"the cache":   func(c *config.Config) { c.SplitDNS.Cache.Entries = 7 },
		"a catalogue": func(c *config.Config) { c.Gateway.MatchCatalogue = true },
	} {
		if open(change).isLike(first) {
			t.Errorf("%s makes no difference", what)
		}
	}
	if !open(func(c *config.Config) { c.Gateway.Policy.BackgroundServices = "a.example.com:1" }).isLike(first) {
		t.Error("a policy makes a difference")
	}
	roots("two")
	if open(func(*config.Config) {}).isLike(first) {
		t.Error("the roots make no difference")
	}
}
