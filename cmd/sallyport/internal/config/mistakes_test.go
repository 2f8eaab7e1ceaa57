package config

import (
	"slices"
	"strings"
	"testing"
)

// TestMistakes changes one thing in a good file, and wants exactly the lines
// that belong to it.
func TestMistakes(t *testing.T) {
	const (
		id      = "id: STA01"
		client  = "{name: enrolment, key_file: enrolment.key}"
		name    = "name: enrolment"
		keyFile = "key_file: enrolment.key"
		fqdn    = "fqdn: gateway.example.com"
		listen  = "listen: 127.0.0.1:8443"
		takes   = "[local]"
		list    = `"mail.example.com:443"`
		certs   = "certs: {mode: dev}"

		reserved = " is a header of HTTP or of proxies with a meaning of its own, where a ticket would not stand alone or not arrive; take one such as X-Ticket, or Authorization"
	)
	tests := []struct {
		old, with string
		want      []string
	}{
		// Keys.
		{id, id + "\n  keyFile: x", []string{"f:3:3: sta.keyFile: unknown key"}},
		{name, "Name: enrolment", []string{
			"f:4:13: sta.clients[0].name: is required: a name of its own",
			"f:4:14: sta.clients[0].Name: unknown key; did you mean name?"}},
		{keyFile, "keyFile: enrolment.key", []string{
			"f:4:13: sta.clients[0].key_file: is required: the name of a file with the client's key; make one with  (umask 077; head -c32 /dev/urandom | base64 > NAME.key)",
			"f:4:31: sta.clients[0].keyFile: unknown key; did you mean key_file?"}},
		{id, id + "\n  id: STA02", []string{"f:3:3: sta.id: the key stands on line 2 already"}},
		{id, `"\e[31m": 1` + "\n  " + id, []string{`f:2:3: sta."\x1b[31m": unknown key`}},
		{id, id + "\n  audit: ~", []string{"f:3:10: sta.audit: has no value; give it a path, or leave it out"}},
		{id, id + "\n  audit: \"\"", []string{"f:3:10: sta.audit: is empty; it needs a path"}},

		// Kinds.
		{takes, "local", []string{"f:8:16: gateway.authorities: needs a list such as [local]"}},
		{takes, "{a: b}", []string{"f:8:16: gateway.authorities: needs a list such as [local]"}},
		{fqdn, "fqdn: [a]", []string{"f:6:9: gateway.fqdn: needs a host name such as mail.example.com"}},
		{fqdn, fqdn + "\n  quic: maybe", []string{"f:7:9: gateway.quic: needs true or false"}},
		{fqdn, fqdn + "\n  credential_header: x-ticket", []string{"f:7:22: warning: gateway.credential_header: does nothing without gateway.https_proxy"}},
		{fqdn, fqdn + "\n  credential_header: host", []string{"f:7:22: gateway.credential_header: Host" + reserved}},
		{fqdn, fqdn + "\n  credential_header: cookie", []string{"f:7:22: gateway.credential_header: Cookie" + reserved}},
		{fqdn, fqdn + "\n  credential_header: x-forwarded-for", []string{"f:7:22: gateway.credential_header: X-Forwarded-For" + reserved}},
		{fqdn, fqdn + "\n  credential_header: Proxy-Authenticate", []string{"f:7:22: gateway.credential_header: Proxy-Authenticate" + reserved}},
		{fqdn, fqdn + "\n  credential_header: proxy-authorization", []string{"f:7:22: gateway.credential_header: is where a ticket is looked for in any case; leave it out, or name a further header such as X-Ticket"}},
		{fqdn, fqdn + "\n  https_proxy: true\n  credential_header: authorization", nil},
		{fqdn, fqdn + "\n  credential_header: 'X Ticket'", []string{"f:7:22: gateway.credential_header: is no name of an HTTP header"}},
		{fqdn, fqdn + "\n  max_tunnels: 1e5", []string{"f:7:16: gateway.max_tunnels: needs a whole number from 1 to 10000000"}},
		{fqdn, fqdn + "\n  max_tunnels: 0", []string{"f:7:16: gateway.max_tunnels: needs a whole number from 1 to 10000000"}},
		{fqdn, fqdn + "\n  max_tunnels: 99999999999999999999", []string{"f:7:16: gateway.max_tunnels: needs a whole number from 1 to 10000000"}},
		{fqdn, fqdn + "\n  idle_timeout: 3900", []string{"f:7:17: gateway.idle_timeout: needs a duration such as 168h"}},
		{fqdn, fqdn + "\n  idle_timeout: -5m", []string{"f:7:17: gateway.idle_timeout: needs a duration from 1m to 24h"}},
		{fqdn, fqdn + "\n  policies: {a b: {}}", []string{
			"f:7:14: gateway.policies.a b: " + nameRule}},
		{certs, certs + "\nsplitdns: {hosts: {a.example: 10.0.0.1}}", []string{"f:11:31: splitdns.hosts.a.example: needs a list such as [10.0.0.25]"}},

		// Values.
		{id, "id: sta01", []string{"f:2:7: sta.id: needs STA and 1 to 13 digits or upper-case letters, such as STA01"}},
		{id, "id: STA01234567890ABC", []string{"f:2:7: sta.id: needs STA and 1 to 13 digits or upper-case letters, such as STA01"}},
		{id, id + "\n  ticket_lifetime: 30s", []string{"f:3:20: sta.ticket_lifetime: needs a duration from 1m to 8760h"}},
		{fqdn, "fqdn: mail..example.com", []string{"f:6:9: gateway.fqdn: host refused: a label is empty, longer than 63 bytes, or begins or ends with '-'"}},
		{fqdn, `fqdn: "a\nb"`, []string{"f:6:9: gateway.fqdn: holds a control character or a line end"}},
		{fqdn, fqdn + "\n  public_port: 0", []string{"f:7:16: gateway.public_port: needs a whole number from 1 to 65535"}},
		{listen, "listen: 127.0.0.1:70000", []string{"f:7:11: gateway.listen: needs a port from 1 to 65535"}},
		{listen, "listen: 127.0.0.1", []string{"f:7:11: gateway.listen: needs an address and port such as 127.0.0.1:8443"}},
		{listen, "listen: gw.example.com:443", []string{"f:7:11: gateway.listen: needs an address and port such as 127.0.0.1:8443; names are not looked up here"}},
		{listen, `listen: ""`, []string{"f:7:11: gateway.listen: is required: an address and port such as 127.0.0.1:8443"}},
		{name, "name: -x", []string{"f:4:20: sta.clients[0].name: " + nameRule}},
		{name, name + ", may: [isue]", []string{"f:4:37: sta.clients[0].may[0]: needs issue, renew, redeem, revoke or list; did you mean issue?"}},
		{name, name + ", may: []", []string{"f:4:31: sta.clients[0].may: is required: what the client may do, such as [issue, renew]"}},
		{name, name + ", may: [list, list]", []string{"f:4:43: sta.clients[0].may[1]: stands in the list already"}},
		{name, name + ", policies: []", []string{"f:4:31: sta.clients[0].policies: is empty; name a policy, or leave it out for all"}},
		{name, name + ", policies: ['']", []string{"f:4:42: sta.clients[0].policies[0]: is empty"}},
		{certs, certs + "\nnode: gw 1", []string{"f:11:7: node: " + nameRule}},
		{certs, certs + "\nsplitdns: {hosts: {a.example: [10.0.0.1/8]}}", []string{"f:11:32: splitdns.hosts.a.example[0]: needs an IP address such as 10.0.0.25"}},
		{certs, certs + "\nsplitdns: {hosts: {a.example: [224.0.0.1]}}", []string{"f:11:32: splitdns.hosts.a.example[0]: 224.0.0.1 is no address that a server can have"}},
		{certs, certs + "\nsplitdns: {hosts: {a.example: []}}", []string{"f:11:20: splitdns.hosts.a.example: is required: at least one address"}},
		{certs, certs + "\nsplitdns: {hosts: {a.example: [10.0.0.1], A.example.: [10.0.0.1]}}", []string{"f:11:43: splitdns.hosts.a.example: is the same name as one above, in another spelling"}},

		{"{background_services: " + list + "}", "{background_services: [mail.corp.example:443, 'ADFS.corp.example']}", []string{"f:9:33: gateway.policy.background_services: is a list; write it as one text: mail.corp.example:443,adfs.corp.example:443"}},
		{"{background_services: " + list + "}", "{background_services: [a.example:443, {b.example: 443}]}", []string{"f:9:33: gateway.policy.background_services: is a list; write it as one text: mail.example.com:443,ews.example.com:443"}},

		// The way to services.
		{fqdn, fqdn + "\n  upstream: {sources: [10.0.0.5, 0.0.0.0, 224.0.0.1, 255.255.255.255, 'fe80::1', '::ffff:10.0.0.5']}", []string{
			"f:7:34: gateway.upstream.sources[1]: 0.0.0.0 is no address that a connection can come from",
			"f:7:43: gateway.upstream.sources[2]: 224.0.0.1 is no address that a connection can come from",
			"f:7:54: gateway.upstream.sources[3]: 255.255.255.255 is no address that a connection can come from",
			"f:7:71: gateway.upstream.sources[4]: fe80::1 is no address that a connection can come from",
			"f:7:82: gateway.upstream.sources[5]: stands in the list already"}},
		{fqdn, fqdn + "\n  upstream: {sources: [mail.example.com, 'fe80::1%eth0', 127.0.0.1, 'fd00::1']}", []string{
			"f:7:24: gateway.upstream.sources[0]: needs an IP address such as 10.0.0.25",
			"f:7:42: gateway.upstream.sources[1]: needs an IP address such as 10.0.0.25"}},
		{fqdn, fqdn + "\n  upstream: {sources: [" + strings.Repeat("10.0.0.5, ", 65) + "]}", []string{"f:7:14: gateway.upstream.sources: has 65 addresses; at most 64 can be used"}},
		{fqdn, fqdn + "\n  upstream: {user_timeout: 0s}", nil},
		{fqdn, fqdn + "\n  upstream: {user_timeout: 4999ms}", []string{"f:7:28: gateway.upstream.user_timeout: needs 0s, which leaves it to the system, or a duration from 5s to 1h"}},
		{fqdn, fqdn + "\n  upstream: {user_timeout: 75s}", []string{"f:7:28: warning: gateway.upstream.user_timeout: ends an idle tunnel for one lost keep-alive probe; more than 75s gives it another"}},
		{fqdn, fqdn + "\n  upstream: {user_timeout: 2h}", []string{"f:7:28: gateway.upstream.user_timeout: needs a duration from 0s to 1h"}},

		// The allow-list, to the very character.
		{list, "a.example:443,b.example:443", []string{"f:9:47: gateway.policy.b.example:443: unknown key; between braces, quote a value that has commas"}},
		{"policy: {background_services: " + list + "}", "policy:\n    background_services: a.example:443,b.example", []string{"f:10:49: gateway.policy.background_services: entry 2 has no port; write b.example:443; the corrected list is a.example:443,b.example:443"}},
		{list, `"a.example:443, b.example:443"`, []string{"f:9:48: gateway.policy.background_services: entry 2 holds a blank; write the list without blanks; the corrected list is a.example:443,b.example:443"}},
		{list, `'bücher.example:443,b.example:99999'`, []string{"f:9:63: gateway.policy.background_services: entry 2 has a port that is no number from 1 to 65535"}},
		{list, `"a.example:443,\x20b.example:443"`, []string{"f:9:33: gateway.policy.background_services: entry 2 holds a blank; write the list without blanks; the corrected list is a.example:443,b.example:443"}},
		{list, `""`, []string{"f:9:33: warning: gateway.policy.background_services: nothing is listed, so every tunnel will be refused"}},

		// Policies, each in its place, and all together.
		{list, `"mail.example.com:443", web_domains: [sso.example.com]`, []string{"f:9:71: gateway.policy.web_domains[0]: belongs to network_access web_sso; list host:port in background_services, or leave it out"}},
		{list, `"mail.example.com:443", network_access: web_sso, web_domains: [sso.example.com, "*.com"]`, []string{"f:9:113: gateway.policy.web_domains[1]: is too wide; a wildcard needs a domain of two labels at least, as in *.example.com:443"}},
		{list, `"mail.example.com:443", ldap_servers: ["ldap.example.com"]`, []string{"f:9:72: gateway.policy.ldap_servers[0]: has no port; write ldap.example.com:389, or ldap.example.com:636 for TLS"}},
		{list, `"mail.example.com:443", services_gateway: "gateway.example.com"`, []string{"f:9:75: gateway.policy.services_gateway: has no port; write gateway.example.com:443"}},
		{fqdn, fqdn + "\n  policies: {lab: {match: {groups: [lab]}, background_services: 'a.example:443, b.example:443'}}", []string{"f:7:80: gateway.policies.lab.background_services: entry 2 holds a blank; write the list without blanks; the corrected list is a.example:443,b.example:443"}},
		{fqdn, fqdn + "\n  policies: {default: {background_services: 'a.example:443'}}", []string{"f:7:14: gateway.policies.default: is the name of the policy that holds where no other does; choose another"}},
		{fqdn, fqdn + "\n  policies:\n    all: {match: {apps: [Secure Mail]}, background_services: 'a.example:443'}\n    few: {match: {apps: [secure mail], groups: [lab]}, background_services: 'b.example:443'}", []string{"f:9:11: gateway.policies.few.match: matches no ticket that does not go to all before; put it in front, or match less there"}},

		// Zones.
		{certs, certs + "\nsplitdns: {zones: [{servers: [193.9.9.9]}]}", []string{"f:11:20: splitdns.zones[0].suffix: is required: the zone's name, such as corp.example.com"}},
		{certs, certs + "\nsplitdns: {zones: [{suffix: a.example}]}", []string{"f:11:20: splitdns.zones[0]: has neither servers nor allow, and so no effect; add one of them"}},
		{certs, certs + "\nsplitdns: {zones: [{suffix: a.example, servers: [dns.example]}]}", []string{"f:11:50: splitdns.zones[0].servers[0]: server \"dns.example\": \"dns.example\" is no IP address: a name server is given by its address, for nobody could look up its name"}},
		{certs, certs + "\nsplitdns: {zones: [{suffix: a.example, servers: ['https://dns.example/q']}], public: ['ftp://10.0.0.53']}", []string{"f:11:50: splitdns.zones[0].servers[0]: server \"https://dns.example/q\": \"dns.example\" is no IP address: a name server is given by its address, for nobody could look up its name", "f:11:87: splitdns.public[0]: server \"ftp://10.0.0.53\": the network is udp, tcp, tls or https, not \"ftp\""}},
		{certs, certs + "\nsplitdns: {zones: [{suffix: a.example, servers: [193.9.9.9]}, {suffix: A.Example., allow: [10.0.0.0/8]}]}", []string{"f:11:72: splitdns.zones[1].suffix: another zone has this suffix already"}},
		{certs, certs + "\nsplitdns: {zones: [{suffix: a.example, allow: [127.0.0.0/8, 10.0.0.1/8]}]}", []string{"f:11:48: warning: splitdns.zones[0].allow[0]: 127.0.0.0/8 holds no private address, so it opens nothing: public ones are open, and loopback and link-local ones need splitdns.hosts", "f:11:61: splitdns.zones[0].allow[1]: is an address within a network; write 10.0.0.0/8 for the network"}},
		{certs, certs + "\nsplitdns: {zones: [{suffix: a.example, servers: [10.0.0.53]}]}", []string{"f:11:20: warning: splitdns.zones[0]: has servers inside and no allow, so its names may lead to public addresses only; if they are private, add their networks, such as allow: [10.0.0.0/8]"}},
		{certs, certs + "\nsplitdns: {zones: [{suffix: a.example, servers: [9.9.9.9], allow: [0.0.0.0/0]}]}", []string{"f:11:68: warning: splitdns.zones[0].allow[0]: opens every private address there is to the names of the zone; name the networks that they are in"}},
		{certs, certs + "\nsplitdns: {nat64: ['64:ff9b:1::/95', 10.0.0.0/8]}", []string{"f:11:20: splitdns.nat64[0]: needs an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits (RFC 6052)", "f:11:38: splitdns.nat64[1]: needs an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits (RFC 6052)"}},
		{certs, certs + "\nsplitdns: {cache: {entries: -1}, timeout: 1m}", []string{"f:11:29: splitdns.cache.entries: needs a whole number from 0 to 1000000", "f:11:43: splitdns.timeout: needs a duration from 100ms to 30s"}},

		// What must be there, and what contradicts what.
		{"  " + fqdn + "\n", "", []string{"f:5:1: gateway.fqdn: is required: the name that devices know the gateway by, such as gateway.example.com"}},
		{"[" + client + "]", "[]", []string{"f:4:3: sta.clients: is required: at least one client, such as {name: enrolment, key_file: enrolment.key}"}},
		{client, client + ", 5", []string{"f:4:57: sta.clients[1]: needs keys of its own, indented below it"}},
		{client, client + ", " + client, []string{
			"f:4:64: sta.clients[1].name: another client has this name already",
			"f:4:85: sta.clients[1].key_file: holds a key of the client enrolment; every client needs a key of its own"}},
		{takes, "[]", []string{"f:8:3: gateway.authorities: is required: whose tickets are taken, such as [local]"}},
		{takes, "[local, local]", []string{"f:8:24: gateway.authorities[1]: local stands in the list already"}},
		{takes, "[locl]", []string{"f:8:17: gateway.authorities[0]: needs the word local, or a mapping with id, url and pin"}},
		{id, id + "\n  audience: other.example.com", []string{"f:3:13: sta.audience: lacks gateway.example.com, the gateway of this file, which would refuse every ticket"}},
		{id, id + "\n  state: data/gateway", []string{
			"f:6:1: gateway.state: is the same file as sta.state"}},
		{listen, "listen: 127.0.0.1:8442", []string{"f:7:11: gateway.listen: is the address of sta.listen too; choose another port"}},
		{listen, "listen: 0.0.0.0:8442", []string{
			"f:7:11: gateway.listen: certs.mode dev is for loopback only; listen on 127.0.0.1 or use mode files",
			"f:7:11: gateway.listen: is the address of sta.listen too; choose another port"}},
		{listen, "listen: :8443", []string{"f:7:11: gateway.listen: certs.mode dev is for loopback only; listen on 127.0.0.1 or use mode files"}},
		{certs, "", []string{"f:1:1: certs.mode: is required: every listener needs a certificate; files for your own, dev for a try on this machine"}},
		{certs, "certs: {mode: files}", []string{"f:10:1: certs.files: mode files needs at least one {cert: FILE, key: FILE}"}},
		{certs, "certs: {mode: dev, files: [{cert: enrolment.key, key: enrolment.key}]}", []string{"f:10:20: certs.files: mode dev makes its own certificates; leave files out or set mode to files"}},
		{certs, "certs: {files: [{cert: enrolment.key}]}", []string{"f:10:17: certs.files[0].key: is required: the PEM file of the certificate's key"}},
	}
	dir := folder(t)
	for _, tt := range tests {
		if got := said(edit(t, tt.old, tt.with), dir); !slices.Equal(got, tt.want) {
			t.Errorf("%s instead of %s:\n got %q\nwant %q", tt.with, tt.old, got, tt.want)
		}
	}
}

func TestSections(t *testing.T) {
	dir := folder(t)
	sta := `sta: {id: STA01, listen: "127.0.0.1:8442", clients: [{name: e, key_file: enrolment.key}]`
	gateway := `gateway: {fqdn: g.example.com, listen: "127.0.0.1:8443", authorities: [local], policy: {background_services: "m.example.com:443"}}`
	for text, want := range map[string][]string{
		"certs: {mode: dev}\n":                                                                 {"f:1:1: there is nothing to do; " + least},
		sta + "}\ncerts: {mode: dev}\n":                                                        {"f:1:1: sta.audience: is required: the names of the gateways that tickets are for"},
		sta + ", audience: g.example.com}\ncerts: {mode: dev}\n":                               nil,
		gateway + "\ncerts: {mode: dev}\n":                                                     {"f:1:72: gateway.authorities[0]: local is the authority of this file, which has no sta section"},
		sta + ", store: {path: x, redis: {}}, audience: g.example.com}\ncerts: {mode: dev}":    {"f:1:105: sta.store.path: the store is path or redis, not both", "f:1:108: sta.store.redis.addrs: is required: the servers, such as [redis1.example.com:6379]; with master_name the Sentinels"},
		sta + "}\n" + gateway + "\ncerts: {mode: dev}\nhealth: {listen: \"127.0.0.1:8443\"}\n": {"f:4:18: warning: health.listen: 127.0.0.1:8443: the health listener is not built yet; nothing will listen there", "f:4:18: health.listen: is the address of gateway.listen too; choose another port"},
	} {
		if got := said(text, dir); !slices.Equal(got, want) {
			t.Errorf("%s\n got %q\nwant %q", text, got, want)
		}
	}
}
