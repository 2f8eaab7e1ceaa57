package config

import (
	"net/netip"
	"time"
)

// The tags of the structs below steer the decoder:
//
//	yaml      the key; ",inline" takes the keys of an embedded struct
//	default   the value of a missing key, in YAML
//	oneof     the allowed values, separated by blanks; of a list, its items'
//	range     lowest..highest, both included
//	is        path    a file or folder; relative ones are relative to the file
//	          file    a path that must exist and be readable
//	          secret  a file that must exist and that only its owner may read
//	          made    a secret that is made at first start; if it is there, as secret
//	          host    a name or an IPv4 address, brought into its one spelling
//	          fqdn    a name, brought into its one spelling

// Config is a whole file. Sections that are nil are not there, and the process
// does not do what they describe.
type Config struct {
	// Node is this process's name in logs and metrics: 1 to 64 letters, digits,
	// '.', '_' and '-', beginning with a letter or digit. The default is the
	// host's name.
	Node string `yaml:"node"`
	// Log says what is logged to standard error, and how.
	Log Log `yaml:"log"`
	// STA makes the process an authority.
	STA *STA `yaml:"sta"`
	// Gateway makes the process a gateway.
	Gateway *Gateway `yaml:"gateway"`
	// SplitDNS says how a gateway finds addresses.
	SplitDNS SplitDNS `yaml:"splitdns"`
	// Certs is the TLS identity of every listener of the process.
	Certs Certs `yaml:"certs"`
	// Admin is the operators' API; nil means none.
	Admin *Admin `yaml:"admin"`
	// Health is for load balancers.
	Health Health `yaml:"health"`

	file   string
	places map[string]place
	lines  []string
}

// Log says what is logged.
type Log struct {
	// Level is the least important level that is logged.
	Level string `yaml:"level" default:"info" oneof:"debug info warn error"`
	// Format is json, a line an event, or console, for people.
	Format string `yaml:"format" default:"json" oneof:"json console"`
}

// STA describes an authority.
type STA struct {
	// ID names the authority in every ticket: STA and 1 to 13 digits or
	// upper-case letters. Required.
	ID string `yaml:"id"`
	// Listen is where clients and gateways reach the authority, always over
	// TLS. Required.
	Listen netip.AddrPort `yaml:"listen"`
	// Audience lists the gateways that tickets are for, by FQDN. The default is
	// the gateway of the same file; without one it is required.
	Audience Several `yaml:"audience" is:"fqdn"`
	// TicketLifetime is how long a refreshable ticket lives.
	TicketLifetime time.Duration `yaml:"ticket_lifetime" default:"168h" range:"1m..8760h"`
	// SigningKey is the key that signs tickets.
	SigningKey string `yaml:"signing_key" default:"data/sta.key" is:"made"`
	// Store is where tickets are kept.
	Store Store `yaml:"store"`
	// State is the folder of this node's own revocation log; never shared.
	State string `yaml:"state" default:"data/sta" is:"path"`
	// Audit is the file that every issued, renewed and revoked ticket is
	// written to.
	Audit string `yaml:"audit" default:"data/audit.log" is:"path"`
	// Clients are those who may ask the authority. At least one is required.
	Clients []Client `yaml:"clients"`
}

// Store is where an authority keeps tickets: an embedded database at Path, or
// Redis, which several nodes may share.
type Store struct {
	// Path is the embedded database's file.
	Path string `yaml:"path" default:"data/sta.db" is:"path"`
	// Redis, when set, takes the place of Path.
	Redis *Redis `yaml:"redis"`
}

// Redis describes a Redis deployment: one server, Sentinel or Cluster.
type Redis struct {
	// Addrs are the servers, or with MasterName the Sentinels, as host:port.
	Addrs []string `yaml:"addrs"`
	// MasterName is the name that Sentinel knows the master by.
	MasterName string `yaml:"master_name"`
	// Cluster says that Addrs are seeds of a Redis Cluster.
	Cluster bool `yaml:"cluster" default:"false"`
	// DB is the number of the database; a Cluster has only 0.
	DB int `yaml:"db" default:"0" range:"0..15"`
	// Replicas is how many replicas must confirm a ticket within 100 ms before
	// it is handed out.
	Replicas int `yaml:"replicas" default:"0" range:"0..5"`
	// TLS switches TLS on, even when it is empty.
	TLS *RedisTLS `yaml:"tls"`
	// User is the ACL user.
	User string `yaml:"user"`
	// PasswordFile holds the ACL user's password.
	PasswordFile string `yaml:"password_file" is:"secret"`
	// SentinelUser and SentinelPasswordFile are those of the Sentinels.
	SentinelUser         string `yaml:"sentinel_user"`
	SentinelPasswordFile string `yaml:"sentinel_password_file" is:"secret"`
}

// RedisTLS says how Redis is spoken to over TLS.
type RedisTLS struct {
	// CA is a PEM file of roots; the default is the system's.
	CA string `yaml:"ca" is:"file"`
	// Cert and Key are the client certificate, if Redis wants one.
	Cert string `yaml:"cert" is:"file"`
	Key  string `yaml:"key" is:"secret"`
	// ServerName is the name in the server's certificate, when it is not the
	// host of the address.
	ServerName string `yaml:"server_name" is:"fqdn"`
}

// Client is one who may ask the authority.
type Client struct {
	// Name is unique among the clients, and stands in the audit log: 1 to 64
	// letters, digits, '.', '_' and '-'. Required.
	Name string `yaml:"name"`
	// KeyFile holds one or two lines of base64, each of at least 32 random
	// bytes. Two are for rotation: both are good. Required, unless there are
	// Certificates.
	KeyFile string `yaml:"key_file" is:"secret"`
	// Certificates are fingerprints of the keys of client certificates, any of
	// which is the client. Who signed them does not matter.
	Certificates []string `yaml:"certificates"`
	// May lists what the client may do.
	May []string `yaml:"may" default:"[issue, renew]" oneof:"issue renew redeem revoke list"`
	// Policies lists the policies that the client may issue tickets for;
	// default is gateway.policy. It is nil, which means all, or not empty.
	Policies []string `yaml:"policies"`
	// MaxLifetime bounds the life of the tickets that the client issues; zero
	// means that TicketLifetime alone does.
	MaxLifetime time.Duration `yaml:"max_lifetime" range:"1m..8760h"`
	// Sources lists the networks that the client may come from; empty means
	// all.
	Sources []netip.Prefix `yaml:"sources"`
	// Rate is the greatest number of requests a minute; zero means no bound.
	Rate int `yaml:"rate" range:"1..1000000"`
}

// Gateway describes a gateway.
type Gateway struct {
	// FQDN is the name that devices know the gateway by. Required.
	FQDN string `yaml:"fqdn" is:"fqdn"`
	// PublicPort is the port that devices are told. The default is the port of
	// Listen; it is zero only if that is.
	PublicPort uint16 `yaml:"public_port" range:"1..65535"`
	// Listen is where devices arrive: TCP, and UDP when QUIC is on. Required.
	Listen netip.AddrPort `yaml:"listen"`
	// PublicAddresses are further addresses under which devices reach the
	// gateway at PublicPort, such as a load balancer's, beside those that FQDN
	// resolves to. No tunnel may lead to them.
	PublicAddresses []netip.Addr `yaml:"public_addresses"`
	// QUIC switches QUIC on, at the same address.
	QUIC bool `yaml:"quic" default:"false"`
	// HTTPSProxy lets devices come by HTTP CONNECT as well, at the same address:
	// HTTP/1.1 and HTTP/2, and HTTP/3 if QUIC is on.
	HTTPSProxy bool `yaml:"https_proxy" default:"false"`
	// CredentialHeader is a further header of HTTP that a ticket may stand in, for
	// platforms that cannot set Proxy-Authorization; empty means none.
	CredentialHeader string `yaml:"credential_header" is:"header"`
	// State is the folder of what the gateway must remember over a restart.
	State string `yaml:"state" default:"data/gateway" is:"path"`
	// Authorities lists whose tickets the gateway takes. At least one is
	// required.
	Authorities []Authority `yaml:"authorities"`
	// RecordLayer chooses the TLS record layer of tunnels.
	RecordLayer string `yaml:"record_layer" default:"std" oneof:"std direct auto"`
	// MaxTunnels bounds the live tunnels of the process.
	MaxTunnels int `yaml:"max_tunnels" default:"100000" range:"1..10000000"`
	// IdleTimeout ends a tunnel over which no byte went either way for so long.
	// It must be longer than Direct Push's longest heartbeat, 59 minutes.
	IdleTimeout time.Duration `yaml:"idle_timeout" default:"3900s" range:"1m..24h"`
	// SetupTimeout bounds the whole of a tunnel's handshake and negotiation.
	SetupTimeout time.Duration `yaml:"setup_timeout" default:"10s" range:"1s..60s"`
	// DrainTimeout is how long live tunnels may go on after SIGTERM.
	DrainTimeout time.Duration `yaml:"drain_timeout" default:"1h" range:"0s..24h"`
	// Upstream says how services are connected to.
	Upstream Upstream `yaml:"upstream"`
	// Inside is a door for servers on the inner network, which need no ticket; nil
	// means none.
	Inside *Inside `yaml:"inside"`
	// Policy is the default policy.
	Policy Policy `yaml:"policy"`
	// Policies are further policies, by name. The first in the file that matches
	// a ticket is its policy.
	Policies map[string]NamedPolicy `yaml:"policies"`
	// Facts is a file that takes the place of the built-in facts about push
	// registration, Exchange Online and dates, which lint goes by.
	Facts string `yaml:"facts" is:"file"`
	// MatchCatalogue lets an address of the catalogue stand for the listed name
	// that it belongs to, whatever that name resolves to.
	MatchCatalogue bool `yaml:"match_catalogue" default:"false"`
}

// Authority is one whose tickets a gateway takes: the word local, which is the
// authority of the same file, or a mapping that describes a remote one.
type Authority struct {
	// Local says that it is the authority of the same file; all else is empty.
	Local bool `yaml:"-"`
	// ID is the authority's ID, as in its sta.id.
	ID string `yaml:"id"`
	// URL is where it is asked: https://host:port, or ctxsta+https://host:port
	// for an authority that speaks only the XML protocol. Several are nodes of
	// one authority, the one to ask first before the others.
	URL Several `yaml:"url"`
	// Spread asks all nodes that are up in turn, not the first of them.
	Spread bool `yaml:"spread" default:"false"`
	// Bypass is how long a node that is down is left alone.
	Bypass time.Duration `yaml:"bypass" default:"30s" range:"1s..1h"`
	// CA is a PEM file of roots for its certificate; the default is the
	// system's.
	CA string `yaml:"ca" is:"file"`
	// Pin is the fingerprint of its root key, as its sta init printed it.
	// Required, but for one that speaks only XML, which has none.
	Pin string `yaml:"pin"`
	// KeyFile holds the key by which the authority knows this gateway.
	KeyFile string `yaml:"key_file" is:"secret"`
	// Cert and Key are a client certificate, beside the key or in its place.
	Cert string `yaml:"cert" is:"file"`
	Key  string `yaml:"key" is:"secret"`
	// Policies lists the policies that its tickets may have, be they named or
	// matched; default is gateway.policy. It is nil, which means all.
	Policies []string `yaml:"policies"`
}

// Policy says what devices may reach, and what they are told about it.
type Policy struct {
	// NetworkAccess is the device policy of that name.
	NetworkAccess string `yaml:"network_access" default:"tunneled" oneof:"unrestricted tunneled web_sso"`
	// ExchangeServer is the mail server or servers, most wanted first: what a
	// ticket without destination means.
	ExchangeServer Several `yaml:"exchange_server" is:"host"`
	// BackgroundServices is the allow-list, host:port,host:port without blanks.
	BackgroundServices string `yaml:"background_services" is:"services"`
	// EWSHost is where Exchange Web Services live; empty means the mail server.
	EWSHost string `yaml:"ews_host" is:"host"`
	// PushRegion is the listener service's region that the Exchange server
	// uses.
	PushRegion string `yaml:"push_region" oneof:"americas emea apac"`
	// SplitTunnel tells devices what to send to the gateway; it never changes
	// what is allowed.
	SplitTunnel string `yaml:"split_tunnel" default:"off" oneof:"on off reverse"`
	// SplitDNS tells devices whose DNS to ask.
	SplitDNS string `yaml:"split_dns" default:"both" oneof:"remote local both"`
	// WebDomains are what network access web_sso opens on ports 80 and 443 beside
	// the list: names, or *.example.com for every name below one.
	WebDomains []string `yaml:"web_domains"`

	// The rest decides on no tunnel: it is what lint and export go by.

	// Mailboxes says where they are.
	Mailboxes string `yaml:"mailboxes" oneof:"on_premises hybrid exchange_online"`
	// Platforms are those of the devices; empty means both.
	Platforms []string `yaml:"platforms" oneof:"ios android"`
	// TrustedExchangeOnline are the names that stand for Exchange Online.
	TrustedExchangeOnline []string `yaml:"trusted_exchange_online" default:"[outlook.office365.com]"`
	// TrustedADFS are the names of AD FS or another identity provider.
	TrustedADFS []string `yaml:"trusted_adfs" default:"[login.microsoftonline.com]"`
	// LDAPServers are internal directories, host:port.
	LDAPServers []string `yaml:"ldap_servers"`
	// RichPush says that iOS devices show rich push notifications.
	RichPush bool `yaml:"rich_push" default:"false"`
	// ModernAuthentication says that devices log on to Office 365 with it.
	ModernAuthentication bool `yaml:"modern_authentication" default:"false"`
	// DerivedCredentials says that devices log on with them.
	DerivedCredentials bool `yaml:"derived_credentials" default:"false"`
	// Intune says that apps are managed by the Intune integration.
	Intune bool `yaml:"intune" default:"false"`
	// ServicesGateway is the gateway that devices are told, fqdn:port; the default
	// is this one.
	ServicesGateway string `yaml:"services_gateway"`
}

// Upstream says how a gateway connects to services.
type Upstream struct {
	// Sources are addresses of this machine that connections come from; empty
	// means that the system chooses.
	Sources []netip.Addr `yaml:"sources"`
	// UserTimeout is how long a service may leave unacknowledged what was sent to
	// it (RFC 5482): at least 5 s, or 0, which leaves it to the system.
	UserTimeout time.Duration `yaml:"user_timeout" default:"2m" range:"0s..1h"`
}

// Inside is an HTTP proxy without authentication for servers on the inner network.
type Inside struct {
	// Listen is its address, plain HTTP, and never all addresses. Required.
	Listen netip.AddrPort `yaml:"listen"`
	// Sources lists the networks that servers may come from; whoever is in them may
	// use it. At least one is required.
	Sources []netip.Prefix `yaml:"sources" is:"servers"`
	// Services is what may be reached, host:port,host:port without blanks and
	// wildcards. Required.
	Services string `yaml:"services" is:"services"`
	// MaxTunnels bounds its live tunnels, which are beside those of devices.
	MaxTunnels int `yaml:"max_tunnels" default:"20000" range:"1..1000000"`
}

// NamedPolicy is a policy for the tickets that match, or that name it.
type NamedPolicy struct {
	// Match chooses the tickets. Without any list it chooses none.
	Match  Match `yaml:"match"`
	Policy `yaml:",inline"`
}

// Match chooses tickets by what they say. A ticket matches if each list that
// is not empty holds what the ticket says.
type Match struct {
	Apps      []string `yaml:"apps"`
	Platforms []string `yaml:"platforms"`
	Groups    []string `yaml:"groups"`
}

// SplitDNS says how a gateway finds the addresses of listed names.
type SplitDNS struct {
	// Zones have DNS servers of their own. The one with the longest suffix that
	// holds a name is asked for it.
	Zones []Zone `yaml:"zones"`
	// Public are the DNS servers for names in no zone, spelt as those of zones;
	// the default is those of /etc/resolv.conf.
	Public []string `yaml:"public"`
	// Hosts pins names to addresses. A pinned name is never looked up, and
	// pinning is the only way to reach loopback and link-local addresses.
	Hosts map[string][]netip.Addr `yaml:"hosts" is:"fqdn"`
	// NAT64 are the translation prefixes of this network (RFC 6052).
	NAT64 []netip.Prefix `yaml:"nat64"`
	// Timeout bounds the look-up of a name.
	Timeout time.Duration `yaml:"timeout" default:"5s" range:"100ms..30s"`
	// Cache says what is remembered.
	Cache Cache `yaml:"cache"`
}

// Cache says what of DNS is remembered.
type Cache struct {
	// Entries is the greatest number of answers; 0 remembers none.
	Entries int `yaml:"entries" default:"10000" range:"0..1000000"`
	// MaxTTL bounds how long an answer is remembered.
	MaxTTL time.Duration `yaml:"max_ttl" default:"24h" range:"0s..168h"`
	// Stale is how long past its TTL an answer may serve while no server does.
	Stale time.Duration `yaml:"stale" default:"1h" range:"0s..72h"`
}

// Zone is a part of the name space with servers of its own.
type Zone struct {
	// Suffix is the zone's name. Required.
	Suffix string `yaml:"suffix" is:"fqdn"`
	// Servers are asked for its names, the first before the others: an address,
	// or udp://, tcp:// and tls://ADDRESS:PORT, or https://ADDRESS/PATH, the
	// latter two with #NAME where the certificate has a name. Without servers the
	// public ones are asked.
	Servers []string `yaml:"servers"`
	// CA is a PEM file of roots for tls and https; the default is the system's.
	CA string `yaml:"ca" is:"file"`
	// Allow lists the private networks that its names may lead to.
	Allow []netip.Prefix `yaml:"allow"`
}

// Certs is a TLS identity.
type Certs struct {
	// Mode says where certificates come from. The default is files when there
	// are Files, and acme when there is ACME; else it is required.
	Mode string `yaml:"mode" oneof:"dev files acme"`
	// Dir is the folder in which mode dev and acme keep what they make.
	Dir string `yaml:"dir" default:"data/certs" is:"path"`
	// Files are the certificates of mode files. The first one serves those who
	// ask for no name or an unknown one.
	Files []Pair `yaml:"files"`
	// ACME describes the certificate authority of mode acme.
	ACME *ACME `yaml:"acme"`
}

// Pair is a certificate chain and its key, both PEM.
type Pair struct {
	Cert string `yaml:"cert" is:"file"`
	Key  string `yaml:"key" is:"secret"`
}

// ACME describes an ACME certificate authority (RFC 8555).
type ACME struct {
	// Directory is the URL of its directory.
	Directory string `yaml:"directory"`
	// Email is whom it may write to.
	Email string `yaml:"email"`
	// CA is a PEM file of roots for the directory's own certificate; the
	// default is the system's.
	CA string `yaml:"ca" is:"file"`
}

// Admin describes the operators' API.
type Admin struct {
	// Listen is its address.
	Listen netip.AddrPort `yaml:"listen" default:"127.0.0.1:9443"`
	// TokenFile holds the bearer token.
	TokenFile string `yaml:"token_file" default:"data/admin.token" is:"made"`
}

// Health describes the listener for load balancers.
type Health struct {
	// Listen is its address, plain HTTP; empty means none.
	Listen netip.AddrPort `yaml:"listen"`
}

// Several is a list that may also be written as its only item.
type Several []string
