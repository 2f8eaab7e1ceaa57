package lint_test

import (
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/lint"
)

// A ruleCase is a policy that breaks a rule and one, as near as can be, that does
// not.
type ruleCase struct {
	name     string
	with     func(*lint.Input)
	rules    []string // exactly what with has
	severity lint.Severity
	field    string
	place    [3]int // index, entry and column
	fix      string // a part of it
	without  func(*lint.Input)
}

var cases = []ruleCase{
	{
		name: "registration host missing, split tunnel off by default", rules: []string{"pushreg-not-listed"},
		with:     func(in *lint.Input) { in.Spec.Services = "mail.example.com:443,ews.example.com:443" },
		severity: lint.Error, field: "background_services", place: [3]int{-1, 0, 0},
		fix: `the corrected list is "` + sound + `"`,
		without: func(in *lint.Input) {
			in.Spec.SplitTunnel, in.Spec.Services = "on", "mail.example.com:443,ews.example.com:443"
		},
	}, {
		name: "registration host on another port", rules: []string{"pushreg-not-listed"},
		with: func(in *lint.Input) {
			in.Spec.SplitTunnel, in.Spec.Services = "off", strings.Replace(sound, emea, strings.Replace(emea, ":443", ":80", 1), 1)
		},
		severity: lint.Error, field: "background_services", place: [3]int{-1, 0, 0}, fix: emea,
		without: func(in *lint.Input) {
			in.Spec.Services = "mail.example.com:443,ews.example.com:443,*.pushreg.xm.citrix.com:443"
		},
	}, {
		name: "registration host of another region", rules: []string{"pushreg-other-region"},
		with:     func(in *lint.Input) { in.Spec.Services += "," + americas },
		severity: lint.Warning, field: "background_services", place: [3]int{-1, 4, 78},
		fix:     `"` + sound + `"`,
		without: func(in *lint.Input) { in.Spec.PushRegion, in.Spec.Services = "", in.Spec.Services+","+americas },
	}, {
		name: "listener host", rules: []string{"mailboxlistener-listed"},
		with: func(in *lint.Input) {
			in.Spec.Services = "eu-west-1.mailboxlistener.xm.citrix.com:443," + sound
		},
		severity: lint.Warning, field: "background_services", place: [3]int{-1, 1, 1}, fix: `"` + sound + `"`,
	}, {
		name: "xml spelling of a registration host", rules: []string{"pushreg-not-listed", "xml-spelling"},
		with:     func(in *lint.Input) { in.Spec.Services = strings.Replace(sound, ".xm.", ".xml.", 1) },
		severity: lint.Error, field: "background_services", place: [3]int{-1, 3, 42},
		fix: `write ` + emea + `; the corrected list is "` + sound + `"`,
	}, {
		name: "xml spelling of a listener host", rules: []string{"xml-spelling"},
		with: func(in *lint.Input) {
			in.Spec.Services += ",eu-west-1.mailboxlistener.xml.citrix.com:443"
		},
		severity: lint.Error, field: "background_services", place: [3]int{-1, 4, 78}, fix: `leave it out; the corrected list is "` + sound + `"`,
		without: func(in *lint.Input) { in.Spec.Services += ",files.example.com:443" },
	}, {
		name: "rich push and web SSO", rules: []string{"rich-push-network-access"},
		with:     func(in *lint.Input) { in.Spec.NetworkAccess, in.Spec.Console.RichPush = "web_sso", true },
		severity: lint.Error, field: "rich_push", place: [3]int{-1, 0, 0}, fix: "tunneled",
		without: func(in *lint.Input) { in.Spec.Console.RichPush = true },
	}, {
		name: "rich push without the EWS host", rules: []string{"rich-push-ews-not-listed"},
		with: func(in *lint.Input) {
			in.Spec.Console.RichPush, in.Spec.Services = true, "mail.example.com:443,"+emea
		},
		severity: lint.Error, field: "background_services", place: [3]int{-1, 0, 0}, fix: "add ews.example.com:443",
		without: func(in *lint.Input) { // the mail server stands in for the EWS host
			in.Spec.Console.RichPush, in.Spec.EWSHost, in.Spec.Services = true, "", "mail.example.com:443,"+emea
		},
	}, {
		name: "rich push without any EWS host", rules: []string{"rich-push-ews-not-listed"},
		with: func(in *lint.Input) {
			in.Spec.Console.RichPush, in.Spec.EWSHost, in.Spec.ExchangeServers = true, "", nil
		},
		severity: lint.Error, field: "ews_host", place: [3]int{-1, 0, 0}, fix: "name the EWS host",
		without: func(in *lint.Input) {
			in.Spec.Console.RichPush, in.Spec.EWSHost, in.Spec.ExchangeServers, in.Spec.Console.Platforms = true, "", nil, []string{"android"}
		},
	}, {
		name: "rich push and modern authentication", rules: []string{"rich-push-modern-authentication"},
		with: func(in *lint.Input) {
			in.Spec.Console.RichPush, in.Spec.Console.ModernAuthentication = true, true
		},
		severity: lint.Error, field: "rich_push", place: [3]int{-1, 0, 0}, fix: "modern_authentication: false",
		without: func(in *lint.Input) { in.Spec.Console.ModernAuthentication = true },
	}, {
		name: "rich push and derived credentials", rules: []string{"rich-push-derived-credentials"},
		with: func(in *lint.Input) {
			in.Spec.Console.RichPush, in.Spec.Console.DerivedCredentials = true, true
		},
		severity: lint.Error, field: "rich_push", place: [3]int{-1, 0, 0}, fix: "derived_credentials: false",
		without: func(in *lint.Input) { // android devices have no rich push
			in.Spec.Console.RichPush, in.Spec.Console.DerivedCredentials, in.Match.Platforms = true, true, []string{"Android"}
		},
	}, {
		name: "rich push and Intune", rules: []string{"intune-with-sta", "rich-push-intune"},
		with:     func(in *lint.Input) { in.Spec.Console.RichPush, in.Spec.Console.Intune = true, true },
		severity: lint.Warning, field: "rich_push", place: [3]int{-1, 0, 0}, fix: "try it",
		without: func(in *lint.Input) { in.Spec.Console.RichPush = true },
	}, {
		name: "Intune", rules: []string{"intune-with-sta"},
		with:     func(in *lint.Input) { in.Spec.Console.Intune = true },
		severity: lint.Error, field: "intune", place: [3]int{-1, 0, 0}, fix: "intune: false",
	}, {
		name: "EWS in Exchange Online, by name", rules: []string{"ews-exchange-online"},
		with: func(in *lint.Input) {
			in.Spec.EWSHost, in.Spec.Services = "Outlook.Office365.com", sound+",outlook.office365.com:443"
		},
		severity: lint.Warning, field: "ews_host", place: [3]int{-1, 0, 0}, fix: "the tenant allows",
	}, {
		name: "EWS in Exchange Online, by where mailboxes are", rules: []string{"ews-exchange-online"},
		with: func(in *lint.Input) {
			in.Spec.Console.Mailboxes, in.Spec.Console.Platforms, in.Spec.EWSHost = "exchange_online", []string{"ios"}, ""
			in.Spec.Services += ",outlook.office365.com:443"
		},
		severity: lint.Warning, field: "push_region", place: [3]int{-1, 0, 0}, fix: "the tenant allows",
		without: func(in *lint.Input) { // nothing here uses EWS
			in.Spec.Console.Mailboxes, in.Spec.Console.Platforms, in.Spec.EWSHost = "exchange_online", []string{"ios"}, ""
			in.Spec.PushRegion = ""
			in.Spec.Services += ",outlook.office365.com:443"
		},
	}, {
		name: "EWS host missing", rules: []string{"ews-not-listed"},
		with:     func(in *lint.Input) { in.Spec.Services = "mail.example.com:443," + emea },
		severity: lint.Error, field: "ews_host", place: [3]int{-1, 0, 0},
		fix: `the corrected list is "mail.example.com:443,` + emea + `,ews.example.com:443"`,
		without: func(in *lint.Input) {
			in.Spec.EWSHost, in.Spec.Services = "mail.example.com", "mail.example.com:443,"+emea
		},
	}, {
		name: "mail server missing, mailboxes not said", rules: []string{"exchange-not-listed"},
		with: func(in *lint.Input) {
			in.Spec.ExchangeServers = []string{"mail.example.com", "mail2.example.com"}
		},
		severity: lint.Warning, field: "exchange_server", place: [3]int{1, 0, 0}, fix: "add mail2.example.com:443",
		without: func(in *lint.Input) {
			in.Spec.ExchangeServers = []string{"mail.example.com", "mail2.example.com"}
			in.Spec.Services += ",mail2.example.com:8443"
		},
	}, {
		name: "mail server missing, split tunnel on", rules: []string{"exchange-not-listed"},
		with: func(in *lint.Input) {
			in.Spec.SplitTunnel, in.Spec.ExchangeServers = "on", []string{"mail2.example.com"}
		},
		severity: lint.Error, field: "exchange_server", place: [3]int{0, 0, 0}, fix: "add mail2.example.com:443",
	}, {
		name: "mail server missing, mailboxes on premises", rules: []string{"exchange-not-listed"},
		with: func(in *lint.Input) {
			in.Spec.Console.Mailboxes, in.Spec.ExchangeServers = "on_premises", []string{"mail2.example.com"}
		},
		severity: lint.Error, field: "exchange_server", place: [3]int{0, 0, 0}, fix: "add mail2.example.com:443",
		without: func(in *lint.Input) {
			in.Spec.Console.Mailboxes, in.Spec.NetworkAccess, in.Spec.Services = "on_premises", "unrestricted", ""
			in.Spec.ExchangeServers = []string{"mail2.example.com"}
		},
	}, {
		name: "Exchange Online missing on iOS", rules: []string{"ews-exchange-online", "exchange-online-not-listed"},
		with: func(in *lint.Input) {
			in.Spec.Console.Mailboxes, in.Spec.Console.Platforms = "exchange_online", []string{"ios"}
			in.Spec.ExchangeServers = []string{"outlook.office365.com"}
		},
		severity: lint.Warning, field: "background_services", place: [3]int{-1, 0, 0}, fix: "outlook.office365.com:443",
		without: func(in *lint.Input) {
			in.Spec.Console.Mailboxes, in.Spec.Console.Platforms = "exchange_online", []string{"ios"}
			in.Spec.ExchangeServers = []string{"unlisted.example.com"}
			in.Spec.Services += ",outlook.office365.com:443"
		},
	}, {
		name: "Exchange Online missing on iOS, split tunnel on", rules: []string{"ews-exchange-online", "exchange-online-not-listed"},
		with: func(in *lint.Input) {
			in.Spec.Console.Mailboxes, in.Spec.Console.Platforms = "exchange_online", []string{"ios"}
			in.Spec.ExchangeServers, in.Spec.SplitTunnel = []string{"outlook.office365.com"}, "on"
		},
		severity: lint.Error, field: "background_services", place: [3]int{-1, 0, 0}, fix: "outlook.office365.com:443",
	}, {
		name: "Exchange Online not trusted", rules: []string{"exchange-online-not-trusted"},
		with: func(in *lint.Input) {
			in.Spec.Console = policy.Console{Mailboxes: "hybrid", Platforms: []string{"ios"}, TrustedExchangeOnline: []string{"outlook.example.net"}}
		},
		severity: lint.Warning, field: "trusted_exchange_online", place: [3]int{-1, 0, 0}, fix: "add it",
		without: func(in *lint.Input) {
			in.Spec.Console = policy.Console{Mailboxes: "hybrid", Platforms: []string{"ios"}, TrustedExchangeOnline: []string{"outlook.example.net", " outlook.office365.com"}}
		},
	}, {
		name: "mail server trusted as Exchange Online", rules: []string{"trusted-mail-server"},
		with: func(in *lint.Input) {
			in.Spec.Console.TrustedExchangeOnline = []string{"outlook.office365.com", "mail.example.com"}
		},
		severity: lint.Warning, field: "trusted_exchange_online", place: [3]int{1, 0, 0}, fix: "leave it out",
		without: func(in *lint.Input) { in.Spec.Console.TrustedExchangeOnline = []string{"outlook.office365.com"} },
	}, {
		name: "log-on service trusted as Exchange Online", rules: []string{"trusted-swapped"},
		with: func(in *lint.Input) {
			in.Spec.Console.TrustedExchangeOnline = []string{"outlook.office365.com", "login.microsoftonline.com"}
		},
		severity: lint.Warning, field: "trusted_exchange_online", place: [3]int{1, 0, 0}, fix: "move it to trusted_adfs",
	}, {
		name: "Exchange Online trusted as log-on service", rules: []string{"trusted-swapped"},
		with:     func(in *lint.Input) { in.Spec.Console.TrustedADFS = []string{"outlook.office365.com"} },
		severity: lint.Warning, field: "trusted_adfs", place: [3]int{0, 0, 0}, fix: "move it to trusted_exchange_online",
		without: func(in *lint.Input) { in.Spec.Console.TrustedADFS = []string{"login.microsoftonline.com"} },
	}, {
		name: "trusted name on a port that devices do not use", rules: []string{"trusted-wrong-port"},
		with: func(in *lint.Input) {
			in.Spec.Console.TrustedADFS = []string{"adfs.example.com"}
			in.Spec.Services += ",adfs.example.com:80"
		},
		severity: lint.Warning, field: "trusted_adfs", place: [3]int{0, 0, 0}, fix: "add adfs.example.com:443",
		without: func(in *lint.Input) {
			in.Spec.Console.TrustedADFS = []string{"adfs.example.com"}
			in.Spec.Services += ",adfs.example.com:80,adfs.example.com:443"
		},
	}, {
		name: "AD FS missing on Android", rules: []string{"adfs-not-listed"},
		with: func(in *lint.Input) {
			in.Spec.Console = policy.Console{Mailboxes: "hybrid", TrustedADFS: []string{"login.microsoftonline.com", "adfs.example.com"}}
		},
		severity: lint.Error, field: "trusted_adfs", place: [3]int{1, 0, 0}, fix: "add adfs.example.com:443",
		without: func(in *lint.Input) {
			in.Spec.Console = policy.Console{Mailboxes: "hybrid", TrustedADFS: []string{"login.microsoftonline.com", "adfs.example.com"}}
			in.Match.Platforms = []string{"ios"}
		},
	}, {
		name: "AD FS not named on Android", rules: []string{"adfs-not-named"},
		with: func(in *lint.Input) {
			in.Spec.Console = policy.Console{Mailboxes: "hybrid", TrustedADFS: []string{"login.microsoftonline.com"}}
		},
		severity: lint.Warning, field: "trusted_adfs", place: [3]int{-1, 0, 0}, fix: "name it here",
		without: func(in *lint.Input) {
			in.Spec.Console = policy.Console{Mailboxes: "hybrid", TrustedADFS: []string{"adfs.example.com"}}
			in.Spec.Services += ",adfs.example.com:443"
		},
	}, {
		name: "directory on iOS", rules: []string{"ldap-ios-prompts"},
		with: func(in *lint.Input) {
			in.Spec.Console.LDAPServers = []string{"ldap.example.com:3269"}
			in.Spec.Services += ",ldap.example.com:3269"
		},
		severity: lint.Warning, field: "ldap_servers", place: [3]int{0, 0, 0}, fix: "platforms: [ios]",
		without: func(in *lint.Input) {
			in.Spec.Console.LDAPServers, in.Spec.Console.Platforms = []string{"ldap.example.com:3269"}, []string{"android"}
			in.Spec.Services += ",ldap.example.com:3269"
		},
	}, {
		name: "directory on iOS, by its port", rules: []string{"ldap-ios-prompts"},
		with:     func(in *lint.Input) { in.Spec.Services += ",ldap.example.com:636" },
		severity: lint.Warning, field: "background_services", place: [3]int{-1, 4, 78}, fix: "platforms: [ios]",
		without: func(in *lint.Input) {
			in.Spec.Services += ",ldap.example.com:636"
			in.Match.Platforms = []string{"android"}
		},
	}, {
		name: "directory missing on Android", rules: []string{"ldap-not-listed"},
		with: func(in *lint.Input) {
			in.Spec.Console.Platforms = []string{"android"}
			in.Spec.Console.LDAPServers = []string{"ldap.example.com:389"}
		},
		severity: lint.Error, field: "ldap_servers", place: [3]int{0, 0, 0}, fix: "add ldap.example.com:389",
		without: func(in *lint.Input) {
			in.Spec.Console.Platforms = []string{"android"}
			in.Spec.Console.LDAPServers = []string{"ldap.example.com:389"}
			in.Spec.Services += ",ldap.example.com:389"
		},
	}, {
		name: "wildcard over names and a wildcard", rules: []string{"wildcard-swallows"},
		with: func(in *lint.Input) {
			in.Spec.Services = "*.eu.example.com:443,*.example.com:443,a.eu.example.com:443," + sound
		},
		severity: lint.Warning, field: "background_services", place: [3]int{-1, 2, 22}, fix: `"*.example.com:443,` + emea + `"`,
		without: func(in *lint.Input) {
			in.Spec.Services = "*.example.com:80,example.com:443,*.eu.example.com:443," + sound
		},
	}, {
		name: "wildcard over web domains", rules: []string{"wildcard-swallows"},
		with: func(in *lint.Input) {
			in.Spec.NetworkAccess, in.Spec.WebDomains = "web_sso", []string{"a.example.net", "*.example.net"}
		},
		severity: lint.Warning, field: "web_domains", place: [3]int{1, 0, 0}, fix: "leave those out",
		without: func(in *lint.Input) {
			in.Spec.NetworkAccess, in.Spec.WebDomains = "web_sso", []string{"example.net", "*.example.net"}
		},
	}, {
		name: "unrestricted with a list", rules: []string{"unrestricted-lists-services"},
		with:     func(in *lint.Input) { in.Spec.NetworkAccess = "unrestricted" },
		severity: lint.Error, field: "network_access", place: [3]int{-1, 0, 0}, fix: "write tunneled",
		without: func(in *lint.Input) { in.Spec.NetworkAccess, in.Spec.Services = "unrestricted", "" },
	}, {
		name: "web SSO with nothing", rules: []string{"web-sso-without-hosts"},
		with: func(in *lint.Input) {
			in.Spec = policy.Spec{NetworkAccess: "web_sso"}
		},
		severity: lint.Warning, field: "network_access", place: [3]int{-1, 0, 0}, fix: "web_domains",
		without: func(in *lint.Input) {
			in.Spec = policy.Spec{NetworkAccess: "web_sso", WebDomains: []string{"portal.example.com"}}
		},
	}, {
		name: "split tunnel reverse", rules: []string{"split-tunnel-reverse"},
		with:     func(in *lint.Input) { in.Spec.SplitTunnel = "reverse" },
		severity: lint.Warning, field: "split_tunnel", place: [3]int{-1, 0, 0}, fix: `"off"`,
		without: func(in *lint.Input) { in.Spec.SplitTunnel = "on" },
	}, {
		name: "split DNS local and a zone", rules: []string{"split-dns-local-zone"},
		with:     func(in *lint.Input) { in.Spec.SplitDNS = "local" },
		severity: lint.Warning, field: "split_dns", place: [3]int{-1, 0, 0}, fix: "both",
		without: func(in *lint.Input) { in.Spec.SplitDNS, in.Zones = "local", []string{"ple.com", "a.example.com"} },
	}, {
		name: "another gateway", rules: []string{"services-gateway-differs"},
		with:     func(in *lint.Input) { in.Spec.Console.ServicesGateway = "gateway3.example.com:8443" },
		severity: lint.Warning, field: "services_gateway", place: [3]int{-1, 0, 0}, fix: "gateway3.example.com:443",
		without: func(in *lint.Input) { in.Spec.Console.ServicesGateway = "Gateway3.example.com:443" },
	}, {
		name: "the gateway itself", rules: []string{"gateway-listed"},
		with:     func(in *lint.Input) { in.Spec.Services += ",gateway3.example.com:443" },
		severity: lint.Error, field: "background_services", place: [3]int{-1, 4, 78}, fix: `"` + sound + `"`,
		without: func(in *lint.Input) { in.Spec.Services += ",gateway4.example.com:443" },
	}, {
		name: "the gateway's machine", rules: []string{"gateway-listed"},
		with:     func(in *lint.Input) { in.Spec.Services += ",gateway3.example.com:22" },
		severity: lint.Warning, field: "background_services", place: [3]int{-1, 4, 78}, fix: `"` + sound + `"`,
	}, {
		name: "single label", rules: []string{"single-label"},
		with:     func(in *lint.Input) { in.Spec.Services += ",intranet:443" },
		severity: lint.Warning, field: "background_services", place: [3]int{-1, 4, 78}, fix: "with its domain",
		without: func(in *lint.Input) { in.Spec.Services += ",intranet.example.com:443" },
	}, {
		name: "private address", rules: []string{"address-not-public"},
		with:     func(in *lint.Input) { in.Spec.Services += ",10.0.0.25:443" },
		severity: lint.Error, field: "background_services", place: [3]int{-1, 4, 78}, fix: "pin the name to 10.0.0.25 under splitdns.hosts",
		without: func(in *lint.Input) { in.Spec.Services += ",8.8.8.8:443" },
	},
}
