package config

import (
	"net/netip"
	"slices"
	"testing"
)

const insideServices = "eu-west-1.mailboxlistener.xm.citrix.com:443"

// A door that asks for no ticket is refused unless all of it is said outright.
func TestInside(t *testing.T) {
	const (
		listen   = "listen: '127.0.0.1:3128', "   // from column 12 on
		sources  = "sources: [10.0.0.0/8], "      // from column 38 on
		services = "services: '" + insideServices // from column 61 on
		noListen = "gateway.inside.listen: is required: an inner address and port such as 10.0.0.5:3128"
		nobody   = "gateway.inside.sources: is required: the servers that may use it, such as [10.0.0.25]; whoever is in them needs no ticket"
		nothing  = "gateway.inside.services: is required: what may be reached, such as " + insideServices
		home     = "f:6:20: gateway.inside.listen: certs.mode dev is for loopback only; listen on 127.0.0.1 or use mode files"
		all      = "f:6:20: gateway.inside.listen: is every address of this machine, the outer ones too; name the inner one, such as 10.0.0.5:3128"
		wide     = " is wider than any inner network, and whoever is in it would need no ticket; name the servers, such as 10.0.0.25"
		own      = ", the door's own address, from where devices' tunnels come; name the servers alone"
		wildcard = " is a wildcard, which is not taken here; name each host"
	)
	dir := folder(t)
	for _, c := range []struct {
		text string
		want []string
	}{
		{listen + sources + services + "'", nil},
		{listen + "sources: [127.0.0.0/8, '::1', 10.0.0.5, 'fc00::/7'], " + services + "'", nil},
		{"", []string{"f:6:3: " + noListen, "f:6:3: " + nothing, "f:6:3: " + nobody}},
		{listen + services + "'", []string{"f:6:3: " + nobody}},
		{listen + "sources: [], " + services + "'", []string{"f:6:38: " + nobody}},
		{listen + sources + "services: ''", []string{"f:6:71: " + nothing}},
		{listen + "sources: [0.0.0.0/0, '::/0', 0.0.0.0/1, '2000::/3', '::ffff:0.0.0.0/96'], " + services + "'", []string{
			"f:6:48: gateway.inside.sources[0]: 0.0.0.0/0" + wide, "f:6:59: gateway.inside.sources[1]: ::/0" + wide,
			"f:6:67: gateway.inside.sources[2]: 0.0.0.0/1" + wide, "f:6:78: gateway.inside.sources[3]: 2000::/3" + wide,
			"f:6:90: gateway.inside.sources[4]: is an IPv4 network written as an IPv6 one, which nobody comes from; write it as IPv4"}},
		{listen + "sources: [193.9.9.0/24, 10.0.0.1/8], " + services + "'", []string{
			"f:6:48: warning: gateway.inside.sources[0]: 193.9.9.0/24 holds public addresses; whoever has one of them and reaches this door needs no ticket",
			"f:6:62: gateway.inside.sources[1]: is an address within a network; write 10.0.0.0/8 for the network"}},
		{"listen: ':3128', " + sources + services + "'", []string{home, all}},
		{"listen: '[::]:3128', " + sources + services + "'", []string{home, all}},
		{"listen: '10.0.0.5:3128', " + sources + services + "'", []string{home,
			"f:6:47: warning: gateway.inside.sources[0]: 10.0.0.0/8 holds 10.0.0.5" + own}},
		{"listen: '193.9.9.9:3128', " + sources + services + "'", []string{
			"f:6:20: warning: gateway.inside.listen: 193.9.9.9 is a public address; this door asks for no ticket, so its place is an inner one", home}},
		{"listen: '127.0.0.1:8443', " + sources + services + "'", []string{
			"f:6:20: gateway.inside.listen: is the address of gateway.listen too; choose another port"}},
		{listen + sources + services + ", b.example:443'", []string{
			"f:6:116: gateway.inside.services: entry 2 holds a blank; write the list without blanks; the corrected list is " + insideServices + ",b.example:443"}},
		{listen + sources + "services: [a.example:443]", []string{
			"f:6:71: gateway.inside.services: is a list; write it as one text: a.example:443"}},
		{listen + sources + "services: 'bücher.example:443,*.b.example:443,*.c.example:443'", []string{
			"f:6:91: gateway.inside.services: entry 2" + wildcard}},
		{listen + sources + "services: '*.b.example:443'", []string{"f:6:72: gateway.inside.services: entry 1" + wildcard}},
		{listen + "sources: 10.0.0.25, " + services + "'", []string{"f:6:47: gateway.inside.sources: needs a list such as [10.0.0.25]"}},
		{listen + "sources: [exchange.example.com], " + services + "'", []string{
			"f:6:48: gateway.inside.sources[0]: needs the address of a server such as 10.0.0.25, or a network of them such as 10.0.0.24/29"}},
		{"listen: '10.0.0.5:3128', sources: [10.0.0.25, 10.0.0.5, 10.0.0.0/29, 10.0.0.16/28], " + services + "'", []string{home,
			"f:6:58: warning: gateway.inside.sources[1]: is 10.0.0.5" + own, "f:6:68: warning: gateway.inside.sources[2]: 10.0.0.0/29 holds 10.0.0.5" + own}},
		{listen + sources + "services: 'eu-west-1.mailboxlistener.xml.citrix.com:443,10.0.0.26:8080,193.9.9.9:443,127.0.0.1:80,224.0.0.1:80'", []string{
			"f:6:72: warning: gateway.inside.services: entry 1 eu-west-1.mailboxlistener.xml.citrix.com:443 is spelt as in one manual, and there is no such host; write " + insideServices + " (xml-spelling)",
			"f:6:117: warning: gateway.inside.services: entry 2 10.0.0.26:8080 would be refused as address_private: no such address is dialled by itself; list a name in its place, and pin the name to 10.0.0.26 under splitdns.hosts (address-not-public)",
			"f:6:146: warning: gateway.inside.services: entry 4 127.0.0.1:80 would be refused as address_pinned_only: no such address is dialled by itself; list a name in its place, and pin the name to 127.0.0.1 under splitdns.hosts (address-not-public)",
			"f:6:159: warning: gateway.inside.services: entry 5 224.0.0.1:80 would be refused as address_never: no such address is dialled by itself; leave it out (address-not-public)"}},
		{listen + sources + "services: 'a.example:443', max_tunnels: 0", []string{
			"f:6:101: gateway.inside.max_tunnels: needs a whole number from 1 to 1000000"}},
	} {
		if got := said(edit(t, "  fqdn:", "  inside: {"+c.text+"}\n  fqdn:"), dir); !slices.Equal(got, c.want) {
			t.Errorf("%s\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

func TestInsidePolicy(t *testing.T) {
	dir := folder(t)
	if p, err := good(t, minimal, dir).InsidePolicy(); p != nil || err != nil {
		t.Errorf("without a door: %v, %v", p, err)
	}
	c := good(t, edit(t, "  fqdn:", "  inside: {listen: '127.0.0.1:3128', sources: [10.0.0.0/24, 'fd00::/64'], services: '"+insideServices+"'}\n  fqdn:"), dir)
	p, err := c.InsidePolicy()
	if err != nil || p.Name() != "inside" || len(p.Services()) != 1 || p.Services()[0].String() != insideServices {
		t.Errorf("%v, %v", p, err)
	}
	if c.Gateway.Inside.MaxTunnels != 20_000 {
		t.Errorf("%d tunnels", c.Gateway.Inside.MaxTunnels)
	}
	for addr, want := range map[string]bool{
		"10.0.0.9": true, "::ffff:10.0.0.9": true, "10.0.1.9": false, "fd00::1": true, "fd00::1%eth0": true,
		"fd00:0:0:1::1": false, "::": false, "127.0.0.1": false,
	} {
		if got := c.Gateway.Inside.Admits(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %t", addr, got)
		}
	}
	if c.Gateway.Inside.Admits(netip.Addr{}) {
		t.Error("who has no address is let in")
	}
}
