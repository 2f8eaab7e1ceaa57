package sta_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func keys(t *testing.T, lines ...string) []sta.Key {
	t.Helper()
	keys, err := sta.ParseKeyFile([]byte(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestAuthenticate(t *testing.T) {
	old, next, other := randomKeyLine(), randomKeyLine(), randomKeyLine()
	clients, err := sta.NewClients([]sta.ClientConfig{
		{Name: "enrolment", Keys: keys(t, old, next)},
		{Name: "gw-1", Keys: keys(t, other), May: sta.MayRedeem},
	})
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{old: "enrolment", next: "enrolment", other: "gw-1"} {
		client, err := clients.Authenticate(line)
		if err != nil || client.Name != want {
			t.Errorf("%v, %v; want %s", client, err, want)
		}
	}
	if c, _ := clients.Authenticate(old); c.May != sta.DefaultRights {
		t.Errorf("rights %b, want the default", c.May)
	}
	bare := strings.TrimRight(old, "=")
	for _, line := range []string{"", " ", bare, old + " ", " " + old, strings.ToLower(old), old + next, old[:40], strings.Repeat("A", 2000)} {
		_, err := clients.Authenticate(line)
		wantReason(t, err, ticket.Unauthenticated)
	}
	nobody, err := sta.NewClients(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = nobody.Authenticate("")
	wantReason(t, err, ticket.Unauthenticated)
}

// withCertificate is a connection whose client proved to have a key, and that key's
// fingerprint.
func withCertificate(t *testing.T) (*tls.ConnectionState, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pin := "sha256:" + ticket.Hash(sha256.Sum256(leaf.RawSubjectPublicKeyInfo)).String()
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, pin
}

func newClients(t *testing.T, configs ...sta.ClientConfig) *sta.Clients {
	t.Helper()
	clients, err := sta.NewClients(configs)
	if err != nil {
		t.Fatal(err)
	}
	return clients
}

func TestAdmitByKeyAndCertificate(t *testing.T) {
	line, other := randomKeyLine(), randomKeyLine()
	first, firstPin := withCertificate(t)
	second, secondPin := withCertificate(t)
	stranger, _ := withCertificate(t)
	chained := &tls.ConnectionState{PeerCertificates: append(stranger.PeerCertificates, first.PeerCertificates...)}
	clients := newClients(t,
		sta.ClientConfig{Name: "both", Keys: keys(t, line), Certificates: []string{firstPin, secondPin}},
		sta.ClientConfig{Name: "key", Keys: keys(t, other)},
	)
	for name, test := range map[string]struct {
		presented sta.Presented
		want      string // the client, "" for a refusal
	}{
		"key":                              {sta.Presented{Key: line}, "both"},
		"key over TLS":                     {sta.Presented{Key: line, TLS: &tls.ConnectionState{}}, "both"},
		"certificate":                      {sta.Presented{TLS: first}, "both"},
		"the other one":                    {sta.Presented{TLS: second}, "both"},
		"key and certificate":              {sta.Presented{Key: line, TLS: first}, "both"},
		"key and nobody's certificate":     {sta.Presented{Key: line, TLS: stranger}, "both"},
		"another's key and certificate":    {sta.Presented{Key: other, TLS: first}, ""},
		"nobody's key and a certificate":   {sta.Presented{Key: randomKeyLine(), TLS: first}, ""},
		"too long a key and a certificate": {sta.Presented{Key: strings.Repeat("A", 2000), TLS: first}, ""},
		"nobody's certificate":             {sta.Presented{TLS: stranger}, ""},
		"one that was not proven":          {sta.Presented{TLS: chained}, ""},
		"nothing":                          {sta.Presented{}, ""},
	} {
		client, err := clients.Admit(test.presented)
		if test.want == "" {
			wantReason(t, err, ticket.Unauthenticated)
		}
		if (err == nil) != (test.want != "") || client != nil && client.Name != test.want {
			t.Errorf("%s: %v, %v", name, client, err)
		}
	}
}

func TestAdmitFromWhere(t *testing.T) {
	anywhere, inside := randomKeyLine(), randomKeyLine()
	clients := newClients(t,
		sta.ClientConfig{Name: "anywhere", Keys: keys(t, anywhere)},
		sta.ClientConfig{Name: "inside", Keys: keys(t, inside), Rate: 1, Sources: []netip.Prefix{
			netip.MustParsePrefix("10.1.2.3/8"), netip.MustParsePrefix("::ffff:192.0.2.0/120"), netip.MustParsePrefix("fe80::/64"),
		}},
	)
	_, wrongKey := clients.Admit(sta.Presented{Key: randomKeyLine(), Address: "10.9.9.9:1"})
	for _, address := range []string{"11.0.0.1:1", "[::ffff:11.0.0.1]:1", "[2001:db8::1]:1", "192.0.3.1:1", "", "10.0.0.1", "pipe", "@"} {
		_, err := clients.Admit(sta.Presented{Key: inside, Address: address})
		wantReason(t, err, ticket.Unauthenticated)
		var refusal, other *ticket.Error
		if !errors.As(err, &refusal) || !errors.As(wrongKey, &other) || refusal.Text != other.Text {
			t.Errorf("%q: the client learns %v, and with a wrong key %v", address, refusal, other)
		}
		if !strings.Contains(err.Error(), "client inside may not ask from") {
			t.Errorf("%q: the log says only %v", address, err)
		}
		if client, err := clients.Admit(sta.Presented{Key: anywhere, Address: address}); err != nil || client.Name != "anywhere" {
			t.Errorf("%q: %v, %v", address, client, err)
		}
	}
	_, err := clients.Authenticate(inside) // from who knows where
	wantReason(t, err, ticket.Unauthenticated)
	// What was refused did not use up the one request.
	for i, address := range []string{"10.200.0.1:1", "[::ffff:10.0.0.1]:1", "192.0.2.255:1", "[fe80::1%eth0]:1"} {
		client, err := clients.Admit(sta.Presented{Key: inside, Address: address})
		if i == 0 && (err != nil || client.Name != "inside") {
			t.Errorf("%q: %v, %v", address, client, err)
		}
		if i > 0 {
			wantReason(t, err, ticket.Busy)
		}
	}
}

func TestAdmitHowOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := randomKeyLine()
		of := func(perMinute int) *sta.Clients {
			return newClients(t, sta.ClientConfig{Name: "a", Keys: keys(t, line), Rate: perMinute})
		}
		admitted := func(clients *sta.Clients) (n int) {
			for {
				_, err := clients.Admit(sta.Presented{Key: line})
				if err == nil && n < 1000 {
					n++
					continue
				}
				var often *sta.RateError
				if !errors.As(err, &often) || often.Client != "a" || often.After <= 0 || often.After > time.Minute {
					t.Fatalf("after %d: %v", n, err)
				}
				wantReason(t, err, ticket.Busy)
				return n
			}
		}
		clients := of(60)
		if n := admitted(clients); n != 10 {
			t.Errorf("%d at once, want 10", n)
		}
		time.Sleep(3 * time.Second)
		if n := admitted(clients); n != 3 {
			t.Errorf("%d after 3 s, want 3", n)
		}
		again := of(60) // as after reading the configuration again
		again.Inherit(clients)
		if n := admitted(again); n != 0 {
			t.Errorf("%d more after a reload", n)
		}
		time.Sleep(5 * time.Second)
		more := of(120)
		more.Inherit(again)
		if n := admitted(more); n != 10 { // half of what 120 a minute may at once
			t.Errorf("%d after a reload with twice the rate, want 10", n)
		}
		fewer := of(6)
		fewer.Inherit(more)
		if n := admitted(fewer); n != 0 {
			t.Errorf("%d after a reload with a lower rate", n)
		}
		time.Sleep(time.Hour)
		if n := admitted(of(2)) + admitted(of(1200)); n != 2+200 {
			t.Errorf("%d at once, want 2 of 2 and 200 of 1200", n)
		}
	})
}

// Whatever is presented, nobody is let in but by what is his.
func FuzzAdmit(f *testing.F) {
	line := randomKeyLine()
	parsed, err := sta.ParseKeyFile([]byte(line))
	if err != nil {
		f.Fatal(err)
	}
	for _, address := range []string{"10.0.0.1:1", "[::ffff:10.0.0.1]:1", "10.0.0.1", "[fe80::1%x]:1", ":1", "", "10.0.0.1:99999"} {
		f.Add(line, address, "10.0.0.0/8", "sha256:"+ticket.Hash{}.String())
		f.Add("x", address, "::ffff:10.0.0.0/104", "sha256:")
	}
	f.Fuzz(func(t *testing.T, key, address, source, pin string) {
		config := sta.ClientConfig{Name: "a", Keys: parsed, Certificates: []string{pin}}
		if network, err := netip.ParsePrefix(source); err == nil {
			config.Sources = []netip.Prefix{network}
		}
		clients, err := sta.NewClients([]sta.ClientConfig{config})
		if (err == nil) != (ticket.CheckPin(pin) == nil) && config.Sources == nil {
			t.Errorf("pin %q: %v", pin, err)
		}
		if err != nil {
			return
		}
		_, err = clients.Admit(sta.Presented{Key: key, Address: address})
		if err != nil {
			wantReason(t, err, ticket.Unauthenticated)
			return
		}
		if key != line {
			t.Errorf("%q was let in", key)
		}
		if peer, err := netip.ParseAddrPort(address); config.Sources != nil && (err != nil || !peer.IsValid()) {
			t.Errorf("let in from %q", address)
		}
	})
}

func TestNewClientsRefuses(t *testing.T) {
	k := keys(t, randomKeyLine())
	pin := "sha256:" + ticket.Hash{}.String()
	for name, configs := range map[string][]sta.ClientConfig{
		"no name":     {{Keys: k}},
		"odd name":    {{Name: "a\nb", Keys: k}},
		"long name":   {{Name: strings.Repeat("a", 65), Keys: k}},
		"no key":      {{Name: "a"}},
		"empty key":   {{Name: "a", Keys: make([]sta.Key, 1)}},
		"three keys":  {{Name: "a", Keys: append(keys(t, randomKeyLine(), randomKeyLine()), k...)}},
		"same name":   {{Name: "a", Keys: k}, {Name: "a", Keys: keys(t, randomKeyLine())}},
		"same key":    {{Name: "a", Keys: k}, {Name: "b", Keys: k}},
		"negative":    {{Name: "a", Keys: k, MaxLifetime: -1}},
		"no pin":      {{Name: "a", Certificates: []string{"sha256:abc"}}},
		"bare pin":    {{Name: "a", Certificates: []string{strings.Repeat("A", 43)}}},
		"same pin":    {{Name: "a", Certificates: []string{pin}}, {Name: "b", Certificates: []string{pin}}},
		"pin twice":   {{Name: "a", Certificates: []string{pin, pin}}},
		"three pins":  {{Name: "a", Certificates: []string{pin, pin[:49] + "A", pin[:48] + "EA"}}},
		"no rate":     {{Name: "a", Keys: k, Rate: -1}},
		"no network":  {{Name: "a", Keys: k, Sources: make([]netip.Prefix, 1)}},
		"half mapped": {{Name: "a", Keys: k, Sources: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/90")}}},
		"umlaut name": {{Name: "ä", Keys: k}},
	} {
		if _, err := sta.NewClients(configs); err == nil {
			t.Errorf("%s was accepted", name)
		} else if strings.Contains(err.Error(), k[0].Reveal()) {
			t.Errorf("%s: the error shows a key", name)
		}
	}
}

func TestParseRights(t *testing.T) {
	if got, err := sta.ParseRights(nil); err != nil || got != sta.DefaultRights {
		t.Errorf("none: %b, %v", got, err)
	}
	if got, err := sta.ParseRights([]string{"redeem", "list"}); err != nil || got != sta.MayRedeem|sta.MayList {
		t.Errorf("redeem and list: %b, %v", got, err)
	}
	if _, err := sta.ParseRights([]string{"Issue"}); err == nil {
		t.Error("Issue was accepted")
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	line := randomKeyLine()
	key := keys(t, line)[0]
	encoded, err := json.Marshal(map[string]any{"key": key, "config": sta.ClientConfig{Name: "a", Keys: []sta.Key{key}}})
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s %q %x %v", key, []sta.Key{key}, &key, key, key, key, sta.ClientConfig{Keys: []sta.Key{key}})
	for _, text := range []string{string(encoded), printed} {
		if strings.Contains(text, line[:8]) || strings.Contains(text, fmt.Sprintf("%x", line[:8])) {
			t.Errorf("shows the key: %s", text)
		}
	}
}

func TestReadKeyFileWantsItForItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "enrolment.key")
	line := randomKeyLine()
	if err := os.WriteFile(path, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := sta.ReadKeyFile(path); err != nil || len(got) != 1 || got[0].Reveal() != line {
		t.Fatalf("%v, %v", got, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := sta.ReadKeyFile(path); err == nil {
			t.Errorf("mode %04o was accepted", mode)
		}
	}
}

func FuzzParseKeyFile(f *testing.F) {
	line := randomKeyLine()
	for _, seed := range []string{
		line, line + "\n", line + "\r\n", line + "\n" + randomKeyLine() + "\n", line + "\n" + line, "", "\n", "\n" + line,
		line + "\n\n", " " + line, line + " ", "short", strings.Repeat("A", 2000), line + "\nx\ny", line[:43], "a\rb" + line,
		strings.NewReplacer("+", "-", "/", "_").Replace(line), strings.TrimRight(line, "="), line + "=",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := sta.ParseKeyFile(data)
		if err != nil {
			if len(data) > 20 && strings.Contains(err.Error(), string(data)) {
				t.Errorf("the error shows the file: %v", err)
			}
			return
		}
		if len(parsed) < 1 || len(parsed) > sta.MaxClientKeys {
			t.Fatalf("%d keys", len(parsed))
		}
		clients, err := sta.NewClients([]sta.ClientConfig{{Name: "a", Keys: parsed}})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range parsed {
			if !strings.Contains(string(data), key.Reveal()) || strings.ContainsAny(key.Reveal(), "\r\n ") {
				t.Errorf("key %q is no line of the file", key.Reveal())
			}
			if _, err := clients.Authenticate(key.Reveal()); err != nil {
				t.Errorf("its own key does not fit: %v", err)
			}
		}
	})
}
