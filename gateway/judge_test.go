package gateway_test

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// answers is a resolver that knows these names.
type answers map[string]gateway.Resolution

func (a answers) Resolve(_ context.Context, name string) (gateway.Resolution, error) {
	if found, ok := a[name]; ok {
		return found, nil
	}
	switch name {
	case "slow.example.com":
		return gateway.Resolution{}, &net.DNSError{Err: "no answer in time from 10.0.0.53", Name: name, IsTimeout: true}
	case "broken.example.com":
		return gateway.Resolution{}, &net.DNSError{Err: "zone example.com: SERVFAIL\x1b[31m", Name: name}
	}
	return gateway.Resolution{}, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// judgedWorld is a snapshot with something of everything.
func judgedWorld(t testing.TB) *gateway.Snapshot {
	t.Helper()
	set, err := policy.CompileSet(policy.Spec{
		Services: "mail.example.com:443,outside.example.net:443,pinned.example.com:443,private.example.net:443," +
			"meta.example.net:443,never.example.net:443,own.example.com:8443,gone.example.com:443,slow.example.com:443," +
			"broken.example.com:443,9.9.9.9:443,stale.example.com:443,many.example.net:443,*.wild.example.net:443",
		ExchangeServers: []string{"mail.example.com"},
	}, []policy.Named{
		{Name: "vips", Match: policy.Match{Groups: []string{"vip"}}, Spec: policy.Spec{Services: "vip.example.com:443"}},
		{Name: "free", Match: policy.Match{Groups: []string{"free"}}, Spec: policy.Spec{NetworkAccess: "unrestricted"}},
	})
	must(t, err)
	inside, err := policy.Compile("inside", policy.Spec{Services: "push.example.com:443,own.example.com:8443,gone.example.com:443"})
	must(t, err)
	return &gateway.Snapshot{
		Inside:   inside,
		Policies: set, Since: time.Date(2026, 11, 22, 13, 0, 0, 0, time.FixedZone("CET", 3600)),
		Resolver: answers{
			"mail.example.com":    {Addrs: addrs("10.0.0.25"), Source: "zone example.com", Server: "10.0.0.53"},
			"push.example.com":    {Addrs: addrs("10.0.0.27"), Source: "zone example.com", Server: "10.0.0.53"},
			"outside.example.net": {Addrs: addrs("52.7.65.6", "10.1.1.1"), Source: "public", Server: "192.0.2.53", Chain: []string{"a.example.org", "b.example.org"}},
			"pinned.example.com":  {Addrs: addrs("127.0.0.1"), Source: "hosts"},
			"private.example.net": {Addrs: addrs("10.9.9.9"), Source: "public"},
			"meta.example.net":    {Addrs: addrs("169.254.169.254"), Source: "public"},
			"never.example.net":   {Addrs: addrs("0.0.0.0", "224.0.0.1"), Source: "public"},
			"own.example.com":     {Addrs: addrs("10.0.0.1"), Source: "zone example.com"},
			"stale.example.com":   {Addrs: addrs("10.0.0.26"), Source: "zone example.com", Stale: true},
			"many.example.net":    {Addrs: addrs("8.0.0.1", "8.0.0.2", "8.0.0.3", "8.0.0.4", "8.0.0.5", "8.0.0.6"), Source: "public"},
		},
		Address: policy.NewAddressRules(policy.AddressConfig{
			Own: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:8443"), netip.MustParseAddrPort("10.0.0.2:443")}, OwnNames: map[string][]uint16{"gw.example.com": {443}},
			Pinned: map[string][]netip.Addr{"pinned.example.com": addrs("127.0.0.1")},
			Zones:  []policy.Zone{{Suffix: "example.com", Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}},
		}),
		Catalogue: map[string][]netip.Addr{
			"eu.wild.example.net": addrs("54.154.200.233"), "unlisted.example.net": addrs("54.154.200.234"),
		},
	}
}

// Each decision says which rule, which version, since when, which answer; and
// what to do about it.
func TestJudge(t *testing.T) {
	snapshot := judgedWorld(t)
	version := "policy default, snapshot " + snapshot.Policies.Snapshot() + ", in force since 2026-11-22T12:00:00Z"
	vips := policy.Holder{Groups: []string{"vip"}}
	secret := strings.Repeat("a1b2c3d4", 4)
	for name, c := range map[string]struct {
		ask              gateway.Ask
		reason, why, fix string
	}{
		"in a zone": {askFor("mail.example.com", 443), "listed",
			"mail.example.com:443 is entry 1 of " + version + "; zone example.com answered 10.0.0.25, which the zone allows", ""},
		"nothing said": {gateway.Ask{}, "listed",
			"mail.example.com:443 is entry 1 of " + version + "; zone example.com answered 10.0.0.25, which the zone allows", ""},
		"public, by aliases": {askFor("outside.example.net", 443), "listed",
			"outside.example.net:443 is entry 2 of " + version + "; public DNS answered 52.7.65.6 by way of a.example.org, b.example.org, a public address", ""},
		"pinned": {askFor("pinned.example.com", 443), "listed",
			"pinned.example.com:443 is entry 3 of " + version + "; splitdns.hosts pins it to 127.0.0.1, which is what it may have", ""},
		"stale": {askFor("stale.example.com", 443), "listed",
			"stale.example.com:443 is entry 12 of " + version + "; zone example.com, whose servers do not answer now, had answered 10.0.0.26, which the zone allows", ""},
		"many": {askFor("many.example.net", 443), "listed",
			"many.example.net:443 is entry 13 of " + version + "; public DNS answered 8.0.0.1, 8.0.0.2, 8.0.0.3, 8.0.0.4, 2 more, a public address", ""},
		"listed address": {askFor("9.9.9.9", 443), "listed", "9.9.9.9:443 is entry 11 of " + version + "; 9.9.9.9 is a public address", ""},
		"matched back": {askFor("10.0.0.25", 443), "listed",
			"10.0.0.25 is an address of mail.example.com, and mail.example.com:443 is entry 1 of " + version + "; 10.0.0.25 is what it may have", ""},
		"matched by the catalogue": {askFor("54.154.200.233", 443), "listed",
			"54.154.200.233 is an address of eu.wild.example.net, and eu.wild.example.net:443 is entry 14 of " + version + "; 54.154.200.233 is a public address", ""},

		"unlisted": {askFor("evil.example.com", 443), "not_listed",
			"evil.example.com:443 is not listed in " + version, "add evil.example.com:443 to gateway.policy.background_services"},
		"another port": {askFor("pinned.example.com", 8444), "not_listed",
			"pinned.example.com:8444 is not listed in " + version + "; it is listed with port 443",
			"add pinned.example.com:8444 to gateway.policy.background_services"},
		"what servers may reach": {askFor("push.example.com", 443), "not_listed",
			"push.example.com:443 is not listed in " + version,
			"none for devices: the inside door opens it, to servers that need no ticket (gateway.inside.services)"},
		"what servers may reach, another port": {askFor("push.example.com", 8443), "not_listed",
			"push.example.com:8443 is not listed in " + version, "add push.example.com:8443 to gateway.policy.background_services"},
		"a single label": {askFor("intranet", 443), "not_listed", "intranet:443 is not listed in " + version,
			"list it with its domain in gateway.policy.background_services, and have devices use that name"},
		"the gateway itself": {askFor("gw.example.com", 443), "not_listed", "gw.example.com:443 is not listed in " + version,
			"none is needed: it is the gateway itself, or its authority, where no tunnel may lead"},
		"DNS on another port": {askFor(gateway.DeviceDNS, 853), "not_listed", "dns.sallyport.internal:853 is not listed in " + version,
			"have devices ask it on its port, 53"},
		"unlisted in a named policy": {gateway.Ask{Holder: vips, Host: policy.Host{Name: "mail.example.com"}, Port: 443}, "not_listed",
			"mail.example.com:443 is not listed in " + strings.Replace(version, "default", "vips", 1),
			"add mail.example.com:443 to gateway.policies.vips.background_services"},
		"a secret": {askFor(secret+".example.com", 443), "not_listed",
			"[secret].example.com:443 is not listed in " + version, ""},
		"unlisted address": {askFor("54.154.200.234", 443), "address_not_listed",
			"54.154.200.234:443 is not listed in " + version + ", and is no address that the gateway finds for a name listed with that port",
			"list the name that 54.154.200.234 belongs to in gateway.policy.background_services, and if devices resolve it to other addresses than the gateway, pin it under splitdns.hosts"},
		"loopback": {askFor("127.0.0.9", 443), "address_not_listed",
			"127.0.0.9:443 is not listed in " + version + ", and is no address that the gateway finds for a name listed with that port",
			"if something there is meant, list a name for it in gateway.policy.background_services, and pin that to the address under splitdns.hosts"},
		"nowhere": {askFor("0.0.0.9", 443), "address_not_listed",
			"0.0.0.9:443 is not listed in " + version + ", and is no address that the gateway finds for a name listed with that port",
			"none is needed: it is an address that is never dialled"},
		"the gateway's address": {askFor("10.0.0.2", 443), "address_not_listed",
			"10.0.0.2:443 is not listed in " + version + ", and is no address that the gateway finds for a name listed with that port",
			"none is needed: it is the gateway itself, or its authority, where no tunnel may lead"},
		"narrowed": {narrowed(askFor("mail.example.com", 443), "gone.example.com:443"), "narrowed",
			"mail.example.com:443 is listed in " + version + ", but not in the ticket's own list",
			"issue the ticket with mail.example.com:443 among its services, or without a list"},
		"narrowing unreadable": {narrowed(askFor("mail.example.com", 443), "mail.example.com"), "bad_narrowing",
			"the ticket's own list of services cannot be read, so that nothing is allowed", "issue the ticket with services written as host:port"},
		"no such policy": {gateway.Ask{Holder: policy.Holder{Policy: "nobody\n"}, Host: policy.Host{Name: "mail.example.com"}, Port: 443}, "no_such_policy",
			`the ticket names the policy nobody\u{000a}, which is not among those of snapshot ` + snapshot.Policies.Snapshot() + ": vips, free, default",
			"add the policy under gateway.policies, or issue the ticket without naming one"},
		"nobody's server": {gateway.Ask{Holder: vips}, "no_destination",
			"neither client nor ticket names a host and port, and " + strings.Replace(version, "default", "vips", 1) + " has no Exchange server",
			"set gateway.policies.vips.exchange_server, or issue the ticket with an ICAAddress"},
		"unrestricted": {gateway.Ask{Holder: policy.Holder{Groups: []string{"free"}}, Host: policy.Host{Name: "mail.example.com"}, Port: 443}, "unrestricted",
			"network access is unrestricted in " + strings.Replace(version, "default", "free", 1) + ": then devices send nothing here, and nothing is allowed",
			"set gateway.policies.free.network_access to tunneled, or let the devices go there directly"},
		"private": {askFor("private.example.net", 443), "address_private",
			"private.example.net:443 is entry 4 of " + version + "; but public DNS answered 10.9.9.9, a private address, outside what the name's zone allows and not pinned to the name",
			"pin private.example.net to 10.9.9.9 under splitdns.hosts, or allow its network in the zone of private.example.net (splitdns.zones)"},
		"metadata": {askFor("meta.example.net", 443), "address_pinned_only",
			"meta.example.net:443 is entry 5 of " + version + "; but public DNS answered 169.254.169.254, a loopback, link-local or metadata address, not pinned to the name",
			"mend the DNS of meta.example.net, or pin it to 169.254.169.254 under splitdns.hosts if that is meant"},
		"never": {askFor("never.example.net", 443), "address_never",
			"never.example.net:443 is entry 6 of " + version + "; but public DNS answered 0.0.0.0, an address that is never dialled",
			"mend the DNS of never.example.net"},
		"our own": {askFor("own.example.com", 8443), "address_own",
			"own.example.com:8443 is entry 7 of " + version + "; but zone example.com answered 10.0.0.1, a listener of the gateway or its authority",
			"take own.example.com:8443 off gateway.policy.background_services: it leads back to the gateway or to its authority"},
		"no such name": {askFor("gone.example.com", 443), "name_not_found",
			"gone.example.com:443 is entry 8 of " + version + "; but not found, or without address: no such host",
			"pin gone.example.com under splitdns.hosts, or mend its DNS"},
		"slow": {askFor("slow.example.com", 443), "name_timeout",
			"slow.example.com:443 is entry 9 of " + version + "; but the resolver did not answer in time: no answer in time from 10.0.0.53",
			"look at the DNS servers of splitdns that are asked for slow.example.com, or pin it under splitdns.hosts"},
		"broken": {askFor("broken.example.com", 443), "name_failed",
			"broken.example.com:443 is entry 10 of " + version + `; but the resolver failed: zone example.com: SERVFAIL\u{001b}[31m`,
			"look at the DNS servers of splitdns that are asked for broken.example.com, or pin it under splitdns.hosts"},
		"DNS that is not offered": {askFor(gateway.DeviceDNS, 53), "not_listed",
			"dns.sallyport.internal:53 is the gateway's own DNS for devices, which is not offered under " + version, ""},
	} {
		t.Run(name, func(t *testing.T) {
			j := gateway.Judge(t.Context(), snapshot, c.ask)
			if j.Reason != c.reason || j.Allow != (c.reason == "listed") || j.Allow != (j.Refusal == nil) {
				t.Errorf("reason %s, allow %v, refusal %v", j.Reason, j.Allow, j.Refusal)
			}
			if j.Why != c.why {
				t.Errorf("why\n  %s\nwant\n  %s", j.Why, c.why)
			}
			if j.Fix != c.fix {
				t.Errorf("fix\n  %s\nwant\n  %s", j.Fix, c.fix)
			}
			if j.Snapshot != snapshot.Policies.Snapshot() || !j.Since.Equal(snapshot.Since) {
				t.Errorf("of %s since %v", j.Snapshot, j.Since)
			}
			if text, err := json.Marshal(j); err != nil || strings.Contains(string(text), secret) {
				t.Errorf("%s, %v", text, err)
			}
		})
	}
}

// A server at the inside door is judged by the door's list, whatever devices may reach.
func TestJudgeInside(t *testing.T) {
	snapshot := judgedWorld(t)
	version := "policy inside, snapshot " + snapshot.Inside.Snapshot()
	for host, c := range map[string]struct{ reason, why, fix string }{
		"push.example.com": {"listed",
			"push.example.com:443 is entry 1 of " + version + "; zone example.com answered 10.0.0.27, which the zone allows", ""},
		"mail.example.com": {"not_listed", "mail.example.com:443 is not listed in " + version, "add mail.example.com:443 to gateway.inside.services"},
		"10.0.0.27": {"listed",
			"10.0.0.27 is an address of push.example.com, and push.example.com:443 is entry 1 of " + version + "; 10.0.0.27 is what it may have", ""},
		"gone.example.com": {"name_not_found", "gone.example.com:443 is entry 3 of " + version + "; but not found, or without address: no such host",
			"pin gone.example.com under splitdns.hosts, or mend its DNS"},
		gateway.DeviceDNS: {"not_listed", gateway.DeviceDNS + ":443 is not listed in " + version, "none is needed: it is for devices alone"},
	} {
		ask := gateway.Ask{Inside: true, Holder: policy.Holder{Groups: []string{"vip"}}, Services: []string{"nothing"}, Port: 443}
		j := gateway.JudgeText(t.Context(), snapshot, ask, host)
		if j.Reason != c.reason || j.Allow != (c.reason == "listed") || j.Why != c.why || j.Fix != c.fix ||
			j.Snapshot != snapshot.Inside.Snapshot() || !j.Since.IsZero() || j.Policy != "inside" {
			t.Errorf("%s: %+v", host, j)
		}
	}
	closed := *snapshot
	closed.Inside = nil
	if j := gateway.JudgeText(t.Context(), &closed, gateway.Ask{Inside: true, Port: 443}, "push.example.com"); j.Allow || j.Snapshot != "" {
		t.Errorf("without a list: %+v", j)
	}
}

// A host as a client writes it is judged as the host that it is, or in the words of
// a tunnel that is refused for being none.
func TestJudgeText(t *testing.T) {
	w := newWorld(t, options{})
	snapshot := judgedWorld(t)
	w.gateway.Use(*snapshot)
	handle := w.issue(nil).Handle.Reveal()
	for text, want := range map[string]string{
		"MAIL.example.com.": "listed", "9.9.9.9": "listed", "::ffff:9.9.9.9": "listed", "evil.example.com": "not_listed",
		"mail..example.com": "host_label", "[::1]": "host_bracket", "0x7f.1": "host_numeric", "mail example.com": "host_blank",
		"fe80::1%eth0": "host_address", ";40;STA01;x": "host_credential",
	} {
		j := gateway.JudgeText(t.Context(), snapshot, gateway.Ask{Port: 443}, text)
		if j.Reason != want || j.Allow != (want == "listed") || j.Why == "" || (j.Fix == "") != j.Allow {
			t.Errorf("%s: %+v", text, j)
		}
		if !strings.HasPrefix(want, "host_") || want == "host_address" {
			continue
		}
		if !strings.HasPrefix(j.Why, "the destination is no host: ") {
			t.Errorf("%s: %s", text, j.Why)
		}
		if _, err := w.open(handle, text, 443); err == nil {
			t.Errorf("%s opens", text)
		}
		if got := next(t, w.refused, "refusal").attempt.Judgement(); got.Reason != j.Reason || got.Why != j.Why || got.Fix != j.Fix {
			t.Errorf("the tunnel to %s: %+v\nthe judgement: %+v", text, got, j)
		}
	}
}

// Whoever's ticket is refused is told nothing, and the log says why, and what can be
// done.
func TestRefusedTicketsAreExplained(t *testing.T) {
	w := newWorld(t, options{})
	issued := w.issue(nil)
	_, err := w.authority.Revoke(t.Context(), w.client, sta.RevokeRequest{Ticket: issued.ID})
	must(t, err)
	for handle, want := range map[string]string{
		issued.Handle.Reveal(): "revoked", ticket.NewHandle().Reveal(): "unknown_ticket", "x": "malformed",
	} {
		if _, err := w.open(handle, "mail.example.com", w.port); err == nil {
			t.Errorf("%s: opens", want)
		}
		r := next(t, w.refused, "refusal")
		j := r.attempt.Judgement()
		if j == nil || j.Reason != want || j.Allow || j.Why != r.why.Text || j.Fix == "" || j.Policy+j.Rule+j.Snapshot != "" {
			t.Errorf("%s: %+v", want, j)
		}
	}
}

// What a program reads of a judgement.
func TestJudgementAsJSON(t *testing.T) {
	snapshot := judgedWorld(t)
	text, err := json.Marshal(gateway.Judge(t.Context(), snapshot, askFor("outside.example.net", 443)))
	must(t, err)
	var got map[string]any
	must(t, json.Unmarshal(text, &got))
	for key, want := range map[string]string{
		"allow": `true`, "reason": `"listed"`, "policy": `"default"`, "since": `"2026-11-22T13:00:00+01:00"`,
		"snapshot": strconv.Quote(snapshot.Policies.Snapshot()), "rule": `"default/services[2]"`,
		"to": `{"host":"outside.example.net","port":443}`, "source": `"public"`, "server": `"192.0.2.53"`,
		"chain": `["a.example.org","b.example.org"]`,
		"addresses": `[{"addr":"52.7.65.6","class":"public"},{"addr":"10.1.1.1","class":"private",` +
			`"refused":"a private address, outside what the name's zone allows and not pinned to the name"}]`,
	} {
		if part, _ := json.Marshal(got[key]); string(part) != want {
			t.Errorf("%s is %s, want %s", key, part, want)
		}
	}
	if _, ok := got["fix"]; ok || got["why"] == "" {
		t.Errorf("%s", text)
	}
}

// A tunnel is judged as Judge says, by the same steps: same label, same rule.
func TestTunnelsAreJudgedByJudge(t *testing.T) {
	w := newWorld(t, options{})
	snapshot := judgedWorld(t)
	w.gateway.Use(*snapshot)
	handle := w.issue(nil).Handle.Reveal()
	for _, host := range []string{"evil.example.com", "private.example.net", "never.example.net", "gone.example.com", "broken.example.com", "8.8.8.8"} {
		want := gateway.Judge(t.Context(), snapshot, askFor(host, 443))
		if _, err := w.open(handle, host, 443); err == nil {
			t.Errorf("%s opens", host)
		}
		r := next(t, w.refused, "refusal")
		got := r.attempt.Judgement()
		if r.why.Label != want.Reason || got.Reason != want.Reason || got.Why != want.Why || got.Fix != want.Fix ||
			r.attempt.Decision.Rule != want.Rule || !slices.Equal(got.Addresses, want.Addresses) {
			t.Errorf("the tunnel: %+v\nthe judgement: %+v", got, want)
		}
	}
}

func askFor(host string, port uint16) gateway.Ask {
	ask := gateway.Ask{Port: port}
	if addr, err := netip.ParseAddr(host); err == nil {
		ask.Host.Addr = addr
	} else {
		ask.Host.Name = host
	}
	return ask
}

func narrowed(ask gateway.Ask, services ...string) gateway.Ask {
	ask.Services = services
	return ask
}

// What a refusal costs that is told, and what a tunnel that is allowed costs.
func BenchmarkJudge(b *testing.B) {
	snapshot := judgedWorld(b)
	for _, host := range []string{"mail.example.com", "evil.example.com"} {
		b.Run(host, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				gateway.Judge(b.Context(), snapshot, askFor(host, 443))
			}
		})
	}
}
