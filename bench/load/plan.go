package load

import (
	"net/netip"
	"time"
)

// Plan is what one client does: one scenario at one load through one endpoint. It
// is sent to other hosts as JSON; secrets travel in it over the control connection
// and nowhere else, and Redacted takes them out for reports.
type Plan struct {
	Scenario Scenario `json:"scenario"`
	Endpoint Endpoint `json:"endpoint"`
	// Service is host:port of the sink as the endpoint knows it.
	Service string `json:"service"`
	// Sources are the local addresses to dial from, in turn; empty leaves it to the system.
	Sources []netip.Addr `json:"sources,omitempty"`
	// Begin is when the schedule begins, by this host's clock; zero is at once.
	Begin time.Time `json:"begin"`
	// Share and Of say which part of the load is this client's: it does the
	// operations whose number modulo Of is Share.
	Share int `json:"share"`
	Of    int `json:"of"`
	// Seed makes sizes and moments the same on every run.
	Seed uint64 `json:"seed"`
	// MaxInFlight bounds the operations under way, so that a gateway that stopped
	// answering does not exhaust the generator. What waits for it counts as slip.
	// Polls that are held, and bulk transfers, are not among them.
	MaxInFlight int `json:"max_in_flight"`
	// Patience ends a step of an operation, a set-up or an exchange, and with it the
	// operation: a failure. For the first step it runs from the scheduled moment, so
	// what waited that long to begin never does; with a bulk transfer, for as long as
	// no byte moves.
	Patience time.Duration `json:"patience"`
}

// Endpoint is how to get to the service.
type Endpoint struct {
	Name string `json:"name"` // what reports call it
	// Way is socks (SOCKS5 over TLS), https (HTTP CONNECT over TLS), tls (TLS that
	// ends at the endpoint, which forwards to the service by itself) or tcp (no
	// gateway: the direct run).
	Way     string `json:"way"`
	Address string `json:"address"` // host:port
	// ServerName is verified in the certificate; empty means the address's host.
	ServerName string `json:"server_name,omitempty"`
	CA         []byte `json:"ca,omitempty"` // PEM; empty means the system's roots
	User       string `json:"user,omitempty"`
	// Tickets are presented in turn, as the password (socks) or the bearer (https).
	Tickets []string `json:"tickets,omitempty"`
	// ALPN, Curve (X25519, P-256, X25519MLKEM768; empty for Go's choice), Resume and
	// TLS12 shape the handshake.
	ALPN   string `json:"alpn,omitempty"`
	Curve  string `json:"curve,omitempty"`
	Resume bool   `json:"resume,omitempty"`
	TLS12  bool   `json:"tls12,omitempty"`
}

// Scenario is the shape of the load. Fields that a kind does not use are zero;
// the package documentation has the kinds with their defaults, and Check the rules.
type Scenario struct {
	// Kind is setup, idle, bulk, requests, push, storm, morning, revoke, extender,
	// attachments or day.
	Kind string `json:"kind"`
	// Rate is operations a second at the top of the ramp.
	Rate float64 `json:"rate,omitempty"`
	// Devices is how many tunnels are held, or devices take part.
	Devices int `json:"devices,omitempty"`
	// Streams is how many bulk transfers go on at a time.
	Streams int `json:"streams,omitempty"`
	// Ramp up, sustain, ramp down. Only what was scheduled within sustain counts.
	Ramp    time.Duration `json:"ramp"`
	Sustain time.Duration `json:"sustain"`
	Down    time.Duration `json:"down"`
	// Within is the time in which all devices are woken (storm, morning).
	Within time.Duration `json:"within,omitempty"`
	// Heartbeat is the shortest and longest long poll; Scale divides it, and every
	// other time of day in a scenario: how often mail comes, how long a streaming
	// connection lasts. 60 makes minutes seconds; 0 means 1.
	Heartbeat [2]time.Duration `json:"heartbeat"`
	Scale     float64          `json:"scale,omitempty"`
	// UpBytes and DownBytes are the bodies of an exchange, Write the bytes of one write.
	UpBytes   int64 `json:"up_bytes,omitempty"`
	DownBytes int64 `json:"down_bytes,omitempty"`
	Write     int   `json:"write,omitempty"`
	// Direction of bulk: down, up or both.
	Direction string `json:"direction,omitempty"`
	// Warm is the share of devices, 0 to 1, that hold a tunnel already when they are woken.
	Warm float64 `json:"warm,omitempty"`
	// Poisson schedules arrivals at random, else they are evenly spaced.
	Poisson bool `json:"poisson,omitempty"`
	// Trigger is a command that is run at the middle of sustain (revoke): from its
	// start until a tunnel ends is the latency.
	Trigger []string `json:"trigger,omitempty"`
	// Accounts and Mailboxes of a Cloud Extender: 12 and 1,250.
	Accounts  int `json:"accounts,omitempty"`
	Mailboxes int `json:"mailboxes,omitempty"`
}
