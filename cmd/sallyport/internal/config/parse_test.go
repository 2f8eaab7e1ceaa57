package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	dir := folder(t)
	c := good(t, minimal, dir)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ got, want any }{
		{c.Node, host},
		{c.Log, Log{Level: "info", Format: "json"}},
		{c.STA.Audience, Several{"gateway.example.com"}},
		{c.STA.TicketLifetime, 168 * time.Hour},
		{c.STA.SigningKey, filepath.Join(dir, "data/sta.key")},
		{c.STA.Store, Store{Path: filepath.Join(dir, "data/sta.db")}},
		{c.STA.Clients[0].May, []string{"issue", "renew"}},
		{c.STA.Clients[0].KeyFile, filepath.Join(dir, "enrolment.key")},
		{c.Gateway.PublicPort, uint16(8443)},
		{c.Gateway.Authorities, []Authority{{Local: true}}},
		{c.Gateway.RecordLayer, "std"},
		{c.Gateway.MaxTunnels, 100_000},
		{c.Gateway.IdleTimeout, 3900 * time.Second},
		{c.Gateway.SetupTimeout, 10 * time.Second},
		{c.Gateway.DrainTimeout, time.Hour},
		{c.Gateway.Upstream, Upstream{UserTimeout: 2 * time.Minute}},
		{c.Gateway.Policy.NetworkAccess, "tunneled"},
		{c.Gateway.Policy.SplitTunnel, "off"},
		{c.Gateway.Policy.SplitDNS, "both"},
		{c.Certs.Dir, filepath.Join(dir, "data/certs")},
		{c.Admin, (*Admin)(nil)},
		{c.Health.Listen, netip.AddrPort{}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%#v, want %#v", tt.got, tt.want)
		}
	}
}

func TestValues(t *testing.T) {
	dir := folder(t)
	c := good(t, `
node: "gw-1"
sta:
  id: STA0123456789ABC
  listen: "[::1]:8442"
  audience: [Gateway.Example.COM., other.example.com]
  ticket_lifetime: 1h30m
  store: {path: /var/lib/sallyport/sta.db}
  clients:
    - name: enrolment
      key_file: enrolment.key
      may: [list]
      policies: [default, "7"]
      max_lifetime: 90m
gateway:
  fqdn: GATEWAY.example.com
  public_port: "443"
  listen: localhost:8443
  quic: False
  upstream: {sources: [10.0.0.5, "fd00::5"], user_timeout: 90s}
  authorities:
    - local
  policy:
    exchange_server: [mail.example.com, 192.0.2.1]
    background_services: 'mail.example.com:443'
splitdns:
  hosts:
    Bücher.example: [10.0.0.25, "::ffff:10.0.0.26", "fd00::1"]
certs: {mode: dev}
health: {listen: ""}
`, dir)
	for _, tt := range []struct{ got, want any }{
		{c.Node, "gw-1"},
		{c.STA.Listen, netip.MustParseAddrPort("[::1]:8442")},
		{c.STA.Audience, Several{"gateway.example.com", "other.example.com"}},
		{c.STA.TicketLifetime, 90 * time.Minute},
		{c.STA.Store.Path, "/var/lib/sallyport/sta.db"},
		{c.STA.Clients[0].Policies, []string{"default", "7"}},
		{c.STA.Clients[0].MaxLifetime, 90 * time.Minute},
		{c.Gateway.PublicPort, uint16(443)},
		{c.Gateway.Listen, netip.MustParseAddrPort("127.0.0.1:8443")},
		{c.Gateway.Upstream, Upstream{
			Sources: []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5")}, UserTimeout: 90 * time.Second}},
		{c.Gateway.Policy.ExchangeServer, Several{"mail.example.com", "192.0.2.1"}},
		{c.SplitDNS.Hosts, map[string][]netip.Addr{"xn--bcher-kva.example": {
			netip.MustParseAddr("10.0.0.25"), netip.MustParseAddr("10.0.0.26"), netip.MustParseAddr("fd00::1")}}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%#v, want %#v", tt.got, tt.want)
		}
	}
}

// split_tunnel's values are truth values to some readers of YAML.
func TestSplitTunnelNeedsNoQuotes(t *testing.T) {
	dir := folder(t)
	for _, word := range []string{"on", "off", "reverse", `"on"`, `'off'`} {
		text := edit(t, `policy: {`, `policy: {split_tunnel: `+word+`, `)
		c, diagnostics := Parse("f", []byte(text), dir)
		if diagnostics.HasErrors() {
			t.Errorf("%s: %s", word, diagnostics)
		} else if c.Gateway.Policy.SplitTunnel != strings.Trim(word, `"'`) {
			t.Errorf("%s was read as %q", word, c.Gateway.Policy.SplitTunnel)
		}
	}
}

// No host is all addresses of both families, and IPv4's wildcard is IPv4's.
func TestListenEverywhere(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{":8443", "[::]:8443"}, {"0.0.0.0:8443", "0.0.0.0:8443"}, {"'[::]:8443'", "[::]:8443"},
	} {
		dir := folder(t)
		text := edit(t, "listen: 127.0.0.1:8443", "listen: "+test.text)
		text = strings.Replace(text, "certs: {mode: dev}", "certs: {mode: files, files: [{cert: enrolment.key, key: enrolment.key}]}", 1)
		if c := good(t, text, dir); c.Gateway.Listen.String() != test.want {
			t.Errorf("%s is %v", test.text, c.Gateway.Listen)
		}
	}
}

func TestPortZero(t *testing.T) {
	dir := folder(t)
	text := edit(t, "127.0.0.1:8443", "127.0.0.1:0")
	want := []string{"f:7:11: gateway.listen: needs a port from 1 to 65535"}
	if got := said(text, dir); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	c := good(t, text, dir, AllowPortZero)
	if c.Gateway.Listen != netip.MustParseAddrPort("127.0.0.1:0") || c.Gateway.PublicPort != 0 {
		t.Errorf("listen %v, public port %d", c.Gateway.Listen, c.Gateway.PublicPort)
	}
	// Any number of listeners may take a free port each.
	good(t, strings.Replace(text, "127.0.0.1:8442", "127.0.0.1:0", 1), dir, AllowPortZero)
}

func TestAllMistakesAtOnce(t *testing.T) {
	text := `log: {level: verbose, level: info}
sta:
gateway:
  listn: 1
  quic: yes
  policy: []
  idle_timeout: 7d
  fqdn: 10.0.0.1
  public_port: 70000
? [a]
: b
<<: {node: x}
ticket_lifetime: 3h
`
	want := []string{
		"f:1:1: certs.mode: is required: every listener needs a certificate; files for your own, dev for a try on this machine",
		"f:1:14: log.level: needs debug, info, warn or error",
		"f:1:23: log.level: the key stands on line 1 already",
		"f:2:5: sta: has no value; give it keys of its own, indented below it, or leave it out",
		"f:3:1: gateway.authorities: is required: whose tickets are taken, such as [local]",
		"f:3:1: gateway.listen: is required: an address and port such as 127.0.0.1:8443",
		"f:4:3: gateway.listn: unknown key; did you mean listen?",
		"f:5:9: gateway.quic: needs true or false",
		"f:6:11: gateway.policy: needs keys of its own, indented below it",
		"f:7:17: gateway.idle_timeout: needs a duration such as 168h; there are no days here, write 168h",
		"f:8:9: gateway.fqdn: needs a host name such as mail.example.com, not an address",
		"f:9:16: gateway.public_port: needs a whole number from 1 to 65535",
		"f:10:3: needs words as keys",
		"f:12:1: a merge key (<<) is not used in this file; write the keys out",
		"f:13:1: ticket_lifetime: unknown key; it belongs under sta",
	}
	if got := said(text, t.TempDir()); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLoad(t *testing.T) {
	dir := folder(t)
	write(t, dir, "sallyport.yaml", minimal, 0o644)
	t.Chdir(dir)
	c, diagnostics := Load("sallyport.yaml")
	if len(diagnostics) != 0 || c.STA.Clients[0].KeyFile != filepath.Join(dir, "enrolment.key") {
		t.Errorf("diagnostics %q, config %+v", diagnostics, c)
	}

	write(t, dir, "large.yaml", "# "+strings.Repeat("x", maxFile), 0o644)
	for file, want := range map[string]string{
		"absent.yaml": "absent.yaml:1:1: no such file\n",
		".":           ".:1:1: the file cannot be read\n",
		"large.yaml":  "large.yaml:1:1: the file is larger than 1 MiB\n",
	} {
		if c, diagnostics := Load(file); c != nil || diagnostics.String() != want {
			t.Errorf("%s: %q", file, diagnostics)
		}
	}
}

func TestErr(t *testing.T) {
	warning := Diagnostic{File: "f", Line: 2, Column: 1, Key: "admin", Severity: Warning, Message: "is not built yet"}
	mistake := Diagnostic{File: "f", Line: 1, Column: 1, Key: "node", Severity: Error, Message: "needs a name"}
	if err := (Diagnostics{warning}).Err(); err != nil {
		t.Errorf("a warning became the error %v", err)
	}
	found := Diagnostic{File: "f", Line: 1, Column: 2, Key: "k", Severity: Warning, Message: "is odd", Fix: "leave it out", Rule: "odd"}
	if want := "f:1:2: warning: k: is odd; leave it out (odd)"; found.String() != want {
		t.Errorf("got %s, want %s", found, want)
	}
	var invalid *InvalidError
	err := Diagnostics{mistake, warning}.Err()
	if !errors.As(err, &invalid) || len(invalid.Diagnostics) != 2 || err.Error() != "f:1:1: node: needs a name" {
		t.Errorf("%v", err)
	}
	if got := warning.String(); got != "f:2:1: warning: admin: is not built yet" {
		t.Error(got)
	}
}

func TestDiagnosticsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		b.WriteString("k" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26) + ": 1\n")
	}
	_, diagnostics := Parse("f", []byte(b.String()), t.TempDir())
	if n := len(diagnostics); n != maxDiagnostics+1 || !strings.HasSuffix(diagnostics[n-1].Message, " more") {
		t.Errorf("%d diagnostics, the last %q", n, diagnostics[n-1])
	}
}

func TestAt(t *testing.T) {
	c := good(t, minimal, folder(t))
	for key, want := range map[string]string{
		"gateway.policy.background_services": "f:9:33: warning: gateway.policy.background_services: m",
		"gateway.policy.ews_host":            "f:9:3: warning: gateway.policy.ews_host: m",
		"gateway.idle_timeout":               "f:5:1: warning: gateway.idle_timeout: m",
		"":                                   "f:1:1: warning: m",
	} {
		if got := c.At(key, Warning, "m").String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A file full of unknown keys is not searched for what each of them may mean.
func TestManyUnknownKeys(t *testing.T) {
	const many = 10 * maxDiagnostics
	var text strings.Builder
	for i := range many {
		fmt.Fprintf(&text, "nodes%d: x\n", i)
	}
	_, diagnostics := Parse("f", []byte(text.String()), t.TempDir())
	hints := 0
	for _, d := range diagnostics {
		if strings.Contains(d.Message, "did you mean node?") {
			hints++
		}
	}
	if hints == 0 || len(diagnostics) != maxDiagnostics+1 {
		t.Errorf("%d hints in %d diagnostics", hints, len(diagnostics))
	}
	if n := testing.AllocsPerRun(1, func() { Parse("f", []byte(text.String()), t.TempDir()) }); n > 100*many {
		t.Errorf("%.0f allocations", n)
	}
}

func TestSound(t *testing.T) {
	const list = `"mail.example.com:443"`
	for with, want := range map[string]bool{
		list:                                  true,
		`"mail.example.com"`:                  true, // a text, and its grammar is another's to judge
		list + ", exchange_server: mail.a":    true,
		"[mail.example.com:443]":              false,
		list + ", exchange_server: mail..a":   false,
		list + ", exchange_server: [a, b..c]": false,
		list + ", exchange_servers: mail.a":   false,
		list + ", split_tunnel: sometimes":    false,
		"":                                    false,
	} {
		dir := folder(t)
		c, _ := examine("f", []byte(edit(t, list, with)), dir)
		if got := c.Sound("gateway.policy"); got != want {
			t.Errorf("%s: sound is %v", with, got)
		}
		if !c.Sound("gateway.pol") || !c.Sound("gateway.policies") {
			t.Errorf("%s: what is beside it is unsound", with)
		}
	}
}
