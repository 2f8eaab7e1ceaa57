package policy

import (
	"errors"
	"strings"
	"testing"
)

func TestConsoleIsChecked(t *testing.T) {
	good := Console{
		Mailboxes: "hybrid", Platforms: []string{"ios", "android"},
		// With the blanks that the manuals' examples have.
		TrustedExchangeOnline: []string{"outlook.office365.com", " outlook.office.com", "\toutlook.example.com "},
		TrustedADFS:           []string{" login.microsoftonline.com"},
		LDAPServers:           []string{"ldap.example.com:636", "192.0.2.7:389"},
		RichPush:              true, ServicesGateway: "Gateway3.example.com.:443",
	}
	if _, err := Compile("p", Spec{Console: good}); err != nil {
		t.Errorf("a sound console: %v", err)
	}
	for _, c := range []struct {
		spoil func(*Console)
		field string
		index int
		says  string
	}{
		{func(c *Console) { c.Mailboxes = "cloud" }, "mailboxes", 0, "on_premises, hybrid, exchange_online"},
		{func(c *Console) { c.Mailboxes = "Hybrid" }, "mailboxes", 0, "needs one of"},
		{func(c *Console) { c.Platforms = []string{"ios", "windows"} }, "platforms", 1, "ios, android"},
		{func(c *Console) { c.Platforms = []string{""} }, "platforms", 0, "ios, android"},
		{func(c *Console) { c.TrustedExchangeOnline = []string{"a.example", ""} }, "trusted_exchange_online", 1, "empty"},
		{func(c *Console) { c.TrustedExchangeOnline = []string{"  "} }, "trusted_exchange_online", 0, "empty"},
		{func(c *Console) { c.TrustedExchangeOnline = []string{"a. example"} }, "trusted_exchange_online", 0, "blank"},
		{func(c *Console) { c.TrustedExchangeOnline = []string{"a.example:443"} }, "trusted_exchange_online", 0, "character"},
		{func(c *Console) { c.TrustedADFS = []string{"a.example", "https://adfs.example"} }, "trusted_adfs", 1, "character"},
		{func(c *Console) { c.TrustedADFS = []string{"a.example, b.example"} }, "trusted_adfs", 0, "blank"},
		{func(c *Console) { c.TrustedADFS = []string{"127.1"} }, "trusted_adfs", 0, "number"},
		{func(c *Console) { c.LDAPServers = []string{"ldap.example.com"} }, "ldap_servers", 0, "write ldap.example.com:389, or ldap.example.com:636 for TLS"},
		{func(c *Console) { c.LDAPServers = []string{"a:389", "ldap://a:389"} }, "ldap_servers", 1, "URL"},
		{func(c *Console) { c.LDAPServers = []string{" a:389"} }, "ldap_servers", 0, "blank"},
		{func(c *Console) { c.LDAPServers = []string{"*.example.com:389"} }, "ldap_servers", 0, "wildcard"},
		{func(c *Console) { c.ServicesGateway = "gateway.example.com" }, "services_gateway", 0, "has no port"},
		{func(c *Console) { c.ServicesGateway = "gateway.example.com:0" }, "services_gateway", 0, "1 to 65535"},
		{func(c *Console) { c.ServicesGateway = "*.example.com:443" }, "services_gateway", 0, "wildcard"},
		{func(c *Console) { c.ServicesGateway = "192.0.2.7:443" }, "services_gateway", 0, "gateway.example.com:443"},
		{func(c *Console) { c.ServicesGateway = "https://gateway.example.com" }, "services_gateway", 0, "URL"},
	} {
		bad := good
		c.spoil(&bad)
		_, err := Compile("p", Spec{Console: bad})
		var inSpec *SpecError
		if !errors.As(err, &inSpec) || inSpec.Field != c.field || inSpec.Index != c.index || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s[%d]: %v, want %q", c.field, c.index, err, c.says)
		}
	}
}

func TestWebDomainsAreChecked(t *testing.T) {
	for _, c := range []struct {
		domains string // parted by '|'
		index   int
		says    string
	}{
		{"a.example|", 1, "no host"},
		{"a.example|b.example:443", 1, "without scheme and port"},
		{"https://a.example", 0, "without scheme and port"},
		{"a.example/owa", 0, "character"},
		{"*", 0, "'*'"},
		{"*.com", 0, "too wide"},
		{"a.*.example", 0, "'*'"},
		{"*a.example", 0, "'*'"},
		{"192.0.2.7", 0, "is an address"},
		{"*.192.0.2.7", 0, "too wide"},
		{" a.example", 0, "blank"},
		{"a.example|*.a.example|A.example.", 2, "repeats entry 1"},
		{"127.1", 0, "number"},
	} {
		_, err := Compile("p", Spec{NetworkAccess: "web_sso", WebDomains: strings.Split(c.domains, "|")})
		var inSpec *SpecError
		if !errors.As(err, &inSpec) || inSpec.Field != "web_domains" || inSpec.Index != c.index || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want entry %d, %q", c.domains, err, c.index+1, c.says)
		}
	}
}

// FuzzCompile: whatever an administrator writes is compiled or refused with a
// place, and what is refused shows no raw bytes.
func FuzzCompile(f *testing.F) {
	f.Add("web_sso", "mail.example.com", "mail.example.com:443", "*.web.example", "ios", " login.example", "ldap.example:636", "gw.example:443")
	f.Add("tunneled", "", "", "", "", "", "", "")
	f.Add("unrestricted", "a\x00", "b\xff:1", "*.", "ı", "\u202e", "[::1]:1", ":")
	f.Fuzz(func(t *testing.T, access, exchange, services, web, platform, trusted, ldap, gateway string) {
		spec := Spec{
			NetworkAccess: access, Services: services, EWSHost: exchange,
			Console: Console{ServicesGateway: gateway},
		}
		for list, text := range map[*[]string]string{
			&spec.ExchangeServers: exchange, &spec.WebDomains: web, &spec.Console.Platforms: platform,
			&spec.Console.TrustedADFS: trusted, &spec.Console.TrustedExchangeOnline: trusted, &spec.Console.LDAPServers: ldap,
		} {
			if text != "" {
				*list = []string{text}
			}
		}
		p, err := Compile("p", spec)
		if err != nil {
			var inSpec *SpecError
			if p != nil || !errors.As(err, &inSpec) || inSpec.Field == "" {
				t.Fatalf("%+v: %v", spec, err)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("%+v: raw bytes in %q", spec, err)
			}
			return
		}
		for _, s := range p.Services() {
			if h := (Host{Name: s.Name, Addr: s.Addr}); !s.Wildcard && p.Opens(h, s.Port) != (access != AccessUnrestricted) {
				t.Fatalf("%v is listed and not open, with access %q", s, access)
			}
		}
	})
}
