package export

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/gateway/policy"
)

// sample has a value in every setting.
func sample() Settings {
	return Settings{
		Name:  "mail-emea",
		Match: policy.Match{Apps: []string{"Secure Mail"}, Platforms: []string{"ios"}, Groups: []string{`CN=Büro "Süd",OU=<Mail> & Co`}},
		Spec: policy.Spec{
			NetworkAccess:   "tunneled",
			ExchangeServers: []string{"mail.example.com", "outlook.office365.com"},
			Services:        "mail.example.com:443,ews.example.com:443,*.corp.example.com:8443,192.0.2.7:25,intranet:443,eu-west-1.pushreg.xm.citrix.com:443",
			EWSHost:         "ews.example.com", PushRegion: "emea", SplitTunnel: "on", SplitDNS: "remote",
			Console: policy.Console{
				Mailboxes: "hybrid", Platforms: []string{"ios", "android"},
				TrustedExchangeOnline: []string{"outlook.office365.com", " outlook.office.com"},
				TrustedADFS:           []string{"adfs.example.com"}, LDAPServers: []string{"ldap.example.com:636"},
				RichPush: true, ModernAuthentication: true, DerivedCredentials: true, Intune: true,
				ServicesGateway: "gateway3.example.com:443",
			},
		},
		Gateway: "gw-1.example.com:8443", TicketHours: 72,
		Suffixes: []string{"example.com", "corp.example"}, DNS: "dns.sallyport.internal:53",
		Pushreg: []string{"eu-west-1.pushreg.xm.citrix.com:443"}, Version: "1.4.0",
	}
}

// least is what has to be set.
func least() Settings {
	return Settings{Name: "default", Gateway: "gateway.example.com:443"}
}

// web is a policy with web domains.
func web() Settings {
	s := sample()
	s.Spec.NetworkAccess = "web_sso"
	s.Spec.WebDomains = []string{"www.example.com", "*.web.example.com"}
	return s
}

var proxies = Proxies{HTTP: "127.0.0.1:8118", SOCKS: "[::1]:1080"}

// formTest is a form as the tests see it: bytes from settings, and back.
type formTest struct {
	write func(Settings) ([]byte, error)
	parse func([]byte) (Settings, error)
}

var forms = map[string]formTest{
	"json": {JSON, ParseJSON},
	"mdx":  {MDX, ParseMDX},
	"vpn":  {VPNConfig, ParseVPNConfig},
	"pac": {
		func(s Settings) ([]byte, error) { return PAC(s, proxies) },
		func(file []byte) (Settings, error) {
			s, p, err := ParsePAC(file)
			if err == nil && p != proxies {
				err = fmt.Errorf("the proxies came back as %+v", p)
			}
			return s, err
		},
	},
}

func snapshot(t testing.TB, s Settings) string {
	t.Helper()
	p, err := policy.Compile(s.Name, s.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return p.Snapshot()
}

// wantError tells what is missing of an *Error with this key whose text is safe
// to print.
func wantError(t testing.TB, err error, key string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *Error", err)
	}
	if e.Key != key {
		t.Errorf("error %q is about %q, want %q", err, e.Key, key)
	}
	wantPrintable(t, err)
}

func wantPrintable(t testing.TB, err error) {
	t.Helper()
	for _, r := range err.Error() {
		if r < ' ' || r > '~' {
			t.Fatalf("error %q holds %q", err, r)
		}
	}
}

// random draws settings of every kind, in every spelling.
func random(t *rapid.T) Settings {
	label := rapid.StringMatching(`[a-zA-Z0-9_]([a-z0-9-]{0,8}[a-z0-9])?`)
	name := rapid.Custom(func(t *rapid.T) string {
		labels := rapid.SliceOfN(label, 0, 3).Draw(t, "labels")
		top := rapid.SampledFrom([]string{"example.com", "Example.NET", "test", "bücher.example", "example.org."}).Draw(t, "top")
		return strings.Join(append(labels, top), ".")
	})
	address := rapid.Custom(func(t *rapid.T) string {
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")
		return fmt.Sprintf("%d.%d.%d.%d", b[0], b[1], b[2], b[3])
	})
	host := rapid.OneOf(name, name, address)
	port := rapid.OneOf(rapid.SampledFrom([]int{443, 80}), rapid.IntRange(1, 65535))
	hostPort := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("%s:%d", host.Draw(t, "host"), port.Draw(t, "port")) })
	domain := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "*.sub."}).Draw(t, "star") + name.Draw(t, "domain")
	})
	trusted := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", " "}).Draw(t, "blank") + name.Draw(t, "trusted")
	})
	words := rapid.SliceOfN(rapid.OneOf(
		rapid.SampledFrom(nasty),
		rapid.StringOf(rapid.Rune().Filter(func(r rune) bool { return checkText(string(r), 8) == nil })).
			Filter(func(s string) bool { return len(s) <= maxWord }),
	), 0, 3)
	one := func(what string, values ...string) string {
		return rapid.SampledFrom(append(values, "")).Draw(t, what)
	}
	maybe := func(what string, from *rapid.Generator[string]) string {
		if rapid.Bool().Draw(t, what+" given") {
			return from.Draw(t, what)
		}
		return ""
	}
	// some draws a list without repetitions, which most lists do not take.
	some := func(what string, from *rapid.Generator[string], spell func(string) (string, error)) []string {
		return rapid.SliceOfNDistinct(from, 0, 4, func(s string) string {
			spelt, err := spell(s)
			if err != nil {
				t.Fatalf("%s: %q: %v", what, s, err)
			}
			return spelt
		}).Draw(t, what)
	}
	services := rapid.SliceOfNDistinct(rapid.OneOf(hostPort, hostPort, rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("*.sub.%s:%d", name.Draw(t, "below"), port.Draw(t, "port"))
	})), 0, 8, func(s string) string {
		spelt, err := spellServices(s)
		if err != nil {
			t.Fatal(err)
		}
		return spelt
	}).Draw(t, "services")

	s := Settings{
		Name:  rapid.StringMatching(`[a-zA-Z0-9._-]{1,20}`).Draw(t, "name"),
		Match: policy.Match{Apps: words.Draw(t, "apps"), Platforms: words.Draw(t, "platforms"), Groups: words.Draw(t, "groups")},
		Spec: policy.Spec{
			NetworkAccess:   one("access", "tunneled", "unrestricted", "web_sso"),
			ExchangeServers: some("exchange", host, spellHost), Services: strings.Join(services, ","),
			EWSHost: maybe("ews", host), PushRegion: one("region", "americas", "emea", "apac"),
			SplitTunnel: one("tunnel", "on", "off", "reverse"), SplitDNS: one("dns", "remote", "local", "both"),
			Console: policy.Console{
				Mailboxes:             one("mailboxes", "on_premises", "hybrid", "exchange_online"),
				Platforms:             rapid.SampledFrom([][]string{nil, {"ios"}, {"android"}, {"android", "ios"}}).Draw(t, "devices"),
				TrustedExchangeOnline: some("trusted", trusted, spellTrusted), TrustedADFS: some("adfs", trusted, spellTrusted),
				LDAPServers: some("ldap", hostPort, spellHostPort), RichPush: rapid.Bool().Draw(t, "rich"),
				ModernAuthentication: rapid.Bool().Draw(t, "modern"), DerivedCredentials: rapid.Bool().Draw(t, "derived"),
				Intune:          rapid.Bool().Draw(t, "intune"),
				ServicesGateway: maybe("told", name),
			},
		},
		Gateway:     fmt.Sprintf("%s:%d", name.Draw(t, "gateway"), port.Draw(t, "port")),
		TicketHours: rapid.IntRange(0, maxHours).Draw(t, "hours"),
		Suffixes:    some("suffixes", name, spellName), DNS: maybe("device dns", hostPort), Pushreg: some("pushreg", hostPort, spellHostPort),
		Version: one("version", nasty...),
	}
	if s.Spec.NetworkAccess == "web_sso" {
		s.Spec.WebDomains = some("web", domain, spellDomain)
	}
	if s.Spec.Console.ServicesGateway != "" {
		s.Spec.Console.ServicesGateway += ":443"
	}
	return s
}

// nasty are texts that would like to be more than text.
var nasty = []string{
	`"; return "DIRECT"; //`, `'+alert(1)+'`, `\"; DIRECT`, `\`, `\u0022`, `*/ evil() /*`, `</script><script>evil()</script>`,
	`</sp:setting><SplitTunnel>OFF</SplitTunnel><sp:setting key="name">x`, `<!-- `, ` -->`, `]]>`, `<![CDATA[x]]>`, `&lt;&#60;&amp;`,
	`<?xml version="1.0"?>`, `<!DOCTYPE x [<!ENTITY a "b">]>`, "a\u2028b\u2029c", "\u202egnp.exe", "\ufeff", " blanks ", "", ",", "a,b",
	"__proto__", "constructor", "${1}", "%s%d", "\U0001F600", "ä ö ü €", "\u007e", "${jndi:x}",
}
