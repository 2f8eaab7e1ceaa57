package config

import (
	"slices"
	"strings"
	"testing"
)

func TestChanged(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "enrolment.key", newKey(), 0o600)
	write(t, dir, "other.key", newKey(), 0o600)
	load := func(from, to string) *Config {
		t.Helper()
		if !strings.Contains(minimal, from) {
			t.Fatalf("%q is not in the file", from)
		}
		c, d := Parse("f", []byte(strings.Replace(minimal, from, to, 1)), dir)
		if d.HasErrors() {
			t.Fatal(d)
		}
		return c
	}
	old := load("", "")
	for _, c := range []struct {
		from, to string
		want     []string
	}{
		{"", "", nil},
		{"  fqdn: gateway.example.com", "  max_tunnels: 7\n  fqdn: gateway.example.com", []string{"gateway.max_tunnels"}},
		{"key_file: enrolment.key", "key_file: other.key", []string{"sta.clients"}},
		{"127.0.0.1:8443", "127.0.0.1:9000", []string{"gateway.public_port", "gateway.listen"}},
		{"sta:", "admin: {listen: 127.0.0.1:9443}\nsta:", []string{"admin"}},
		{"sta:", "splitdns: {hosts: {mail.example.com: [10.0.0.1]}}\nsta:", []string{"splitdns.hosts"}},
	} {
		if got := Changed(old, load(c.from, c.to)); !slices.Equal(got, c.want) {
			t.Errorf("%q → %q: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}
