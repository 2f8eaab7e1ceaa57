package gateway_test

import (
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta"
)

// A device knows what it may reach, and nothing else.
func TestView(t *testing.T) {
	w, d := dnsWorld(t, "")
	local := addrs("127.0.0.1")
	s := w.snapshot("mail.example.com:443,mail.example.com:993,*.wild.example.com:443,gw.example.com:443,"+
		"both.example.com:443,both.example.com:8443,9.9.9.9:443", netip.AddrPort{})
	s.DNS = d
	s.Address = policy.NewAddressRules(policy.AddressConfig{
		OwnNames: map[string][]uint16{"gw.example.com": {443}, "both.example.com": {443}}, Pinned: map[string][]netip.Addr{"mail.example.com": local},
		Own: []netip.AddrPort{netip.MustParseAddrPort("8.8.4.4:443")},
	})
	w.gateway.Use(s)
	view := func(change func(*sta.IssueRequest)) *gateway.View {
		w.mustOpen(w.issue(change).Handle.Reveal(), gateway.DeviceDNS, 53).Close()
		return next(t, d.views, "view")
	}
	whole := view(nil)
	narrow := view(func(r *sta.IssueRequest) {
		r.Services = []string{"mail.example.com:993", "evil.example.org:443", "a.b.wild.example.com:443"}
	})
	nothing := view(func(r *sta.IssueRequest) {
		r.Services = []string{"evil.example.org:443", "evil.example.com:443", "mail.example.com:1", "*.example.org:443", "9.9.9.9:443"}
	})

	type row struct {
		what                     string
		whole, narrowed, nothing bool
	}
	for _, c := range []struct {
		row
		ask func(*gateway.View) bool
	}{
		{row{"knows a name", true, true, false}, knows("mail.example.com")},
		{row{"knows one under a wildcard", true, false, false}, knows("a.wild.example.com")},
		{row{"knows one under both", true, true, false}, knows("a.b.wild.example.com")},
		{row{"knows the wildcard's own", false, false, false}, knows("wild.example.com")},
		{row{"knows what is not listed", false, false, false}, knows("evil.example.org")},
		{row{"knows a name in another spelling", false, false, false}, knows("MAIL.example.com")},
		{row{"knows a name with a dot", false, false, false}, knows("mail.example.com.")},
		{row{"knows an address", false, false, false}, knows("9.9.9.9")},
		{row{"knows nothing", false, false, false}, knows("")},
		{row{"knows the gateway", false, false, false}, knows("gw.example.com")},
		{row{"knows what else is there", true, false, false}, knows("both.example.com")},
		{row{"holds a domain", true, true, false}, holds("example.com")},
		{row{"holds a name's own", true, true, false}, holds("mail.example.com")},
		{row{"holds a domain under a wildcard", true, false, false}, holds("x.wild.example.com")},
		{row{"holds a domain over one", true, true, false}, holds("wild.example.com")},
		{row{"holds another's", false, false, false}, holds("example.org")},
		{row{"holds half a label", false, false, false}, holds("ple.com")},
		{row{"holds what is no name", false, false, false}, holds("EXAMPLE.com")},
		{row{"reaches a public address", true, true, false}, reaches("mail.example.com", "8.8.8.8")},
		{row{"reaches a pinned one", true, true, false}, reaches("mail.example.com", "127.0.0.1")},
		{row{"reaches one pinned to another", false, false, false}, reaches("a.b.wild.example.com", "127.0.0.1")},
		{row{"reaches a private one", false, false, false}, reaches("mail.example.com", "10.0.0.1")},
		{row{"reaches our own on another port", true, true, false}, reaches("mail.example.com", "8.8.4.4")},
		{row{"reaches our own", false, false, false}, reaches("a.b.wild.example.com", "8.8.4.4")},
		{row{"reaches the gateway", false, false, false}, reaches("gw.example.com", "8.8.8.8")},
		{row{"opens a port", true, false, false}, opens("mail.example.com", 443)},
		{row{"opens another port", true, true, false}, opens("mail.example.com", 993)},
		{row{"opens a port that is not listed", false, false, false}, opens("mail.example.com", 25)},
		{row{"opens the gateway's", false, false, false}, opens("gw.example.com", 443)},
		{row{"opens what is there beside ours", true, false, false}, opens("both.example.com", 8443)},
		{row{"opens ours", false, false, false}, opens("both.example.com", 443)},
	} {
		if got := (row{c.what, c.ask(whole), c.ask(narrow), c.ask(nothing)}); got != c.row {
			t.Errorf("%+v, want %+v", got, c.row)
		}
	}
}

func knows(name string) func(*gateway.View) bool {
	return func(v *gateway.View) bool { return v.Knows(name) }
}

func holds(domain string) func(*gateway.View) bool {
	return func(v *gateway.View) bool { return v.Holds(domain) }
}

func reaches(name, addr string) func(*gateway.View) bool {
	return func(v *gateway.View) bool { return v.Reaches(name, netip.MustParseAddr(addr)) }
}

func opens(name string, port uint16) func(*gateway.View) bool {
	return func(v *gateway.View) bool { return v.Opens(name, port) }
}
