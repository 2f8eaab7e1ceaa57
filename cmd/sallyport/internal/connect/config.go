package connect

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
)

// LocalUser is the user name that applications present to the local listener.
const LocalUser = "sallyport"

// setUpLimit bounds a tunnel's set-up, from the application's first byte or
// from Dial to the gateway's reply: the longer of the two times that a mail app
// has for a whole background sync.
const setUpLimit = 30 * time.Second

// requestLimit is how long an application may take of it until it has said, over
// SOCKS5 or HTTP, who it is and where it wants to go.
const requestLimit = 10 * time.Second

// minPassword is the least length of a given password, in bytes.
const minPassword = 16

// maxField is the longest that RFC 1929 can carry, in bytes.
const maxField = 255

// Config says where the gateway is, what to show it, and what to send there. A
// Client reads Gateway, ServerName, RootCAs, Pin, Ticket, User, Carrier, KeepAlive
// and LocalDNS of it.
type Config struct {
	// Listen is the local listener's host:port. The host must be a loopback
	// address or "localhost"; port 0 takes a free one.
	Listen string
	// Password is what applications present locally with LocalUser, 16 to 255
	// bytes. "" means a random one; see Proxy.Password.
	Password string
	// Gateway is the host:port to dial. Required.
	Gateway string
	// ServerName is the name that the gateway's certificate must have. "" means
	// the host of Gateway.
	ServerName string
	// RootCAs are whom the gateway's certificate must come from; nil means the
	// system's.
	RootCAs *x509.CertPool
	// Pin, if not nil, is the one certificate that the gateway must show,
	// whoever issued it and whatever name it has. It must be in date.
	Pin *x509.Certificate
	// Ticket returns the ticket's handle. It is called for each tunnel, several
	// at a time. Required. Its errors are passed on; they must not hold the
	// ticket.
	Ticket func() (string, error)
	// User is the user name to claim, at most 255 bytes. The gateway logs it
	// and does not trust it.
	User string
	// Carrier is what tunnels reach the gateway by. The zero value is TCP.
	Carrier Carrier
	// KeepAlive is how long a connection to the gateway may be silent before a
	// packet is sent on it, for NATs and load balancers that forget silent flows.
	// Zero means for ever: a radio that sleeps is not woken. At least a second.
	KeepAlive time.Duration
	// NetworkAccess is "tunneled", which "" means too, "web_sso" or
	// "unrestricted", with which nothing goes to the gateway.
	NetworkAccess string
	// Services is the list that the split goes by.
	Services []policy.Service
	// WebDomains are listed too, on ports 80 and 443, when NetworkAccess is
	// "web_sso": names, or "*.example.com" for every name below one.
	WebDomains []string
	// SplitTunnel says what goes through the gateway.
	SplitTunnel Mode

	// HTTPListen is where the HTTP proxy listens, as Listen.
	HTTPListen string
	// DNSListen is where the DNS stub listens, UDP and TCP, as Listen.
	DNSListen string
	// SplitDNS says whose DNS is asked, by the stub and for what goes straight out.
	SplitDNS DNSMode
	// Suffixes are the zones that the gateway's DNS answers for: names, without
	// a wildcard, that stand for themselves and every name below.
	Suffixes []string
	// LocalDNS is the host:port of the DNS server that this machine asks outside
	// of the gateway; the host is an address. "" means the first server of
	// /etc/resolv.conf for the stub, and this machine's resolver for connections
	// straight out and to the gateway.
	LocalDNS string
	// Hooks tell what happens.
	Hooks Hooks
}

// Format prints no more than where the gateway is, whatever the verb: the
// password is a secret.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{Gateway:%q SplitTunnel:%v SplitDNS:%v}", c.Gateway, c.SplitTunnel, c.SplitDNS)
}

// Hooks are called on the connection's own goroutine, several at a time. Each
// may be nil.
type Hooks struct {
	// Tunnel is told of each connection once its set-up has come to an end,
	// good or bad.
	Tunnel func(Tunnel)
	// Lookup is told of each question to the DNS stub, once it is answered.
	Lookup func(Lookup)
	// Refused is told why an application did not come as far: a wrong password,
	// a command other than CONNECT, a request that cannot be read one way only.
	Refused func(error)
	// AcceptError is told of a failed accept, and how long the next one waits.
	AcceptError func(err error, backoff time.Duration)
}

// Tunnel is the account of one set-up.
type Tunnel struct {
	Destination tunnel.Destination
	// Listed: the destination is among Config.Services, or on port 80 or 443 of
	// Config.WebDomains where these count.
	Listed bool
	// NoList: there is nothing to be listed in, neither services nor web domains.
	NoList bool
	Via    Via
	// Carrier is what the tunnel goes by, if it stands and its Via is Gateway.
	Carrier Carrier
	Took    time.Duration
	Err     error // nil if it stands
}

// String is the line for the log. For a listed destination it reads as devices
// write it; QUIC is named behind, as what devices have not.
func (t Tunnel) String() string {
	var line string
	switch {
	case t.Via == Gateway && t.Listed:
		line = fmt.Sprintf("AG policy Intercepting %v for STA tunneling", t.Destination)
	case t.Via == Gateway && t.NoList:
		line = fmt.Sprintf("%v goes to the gateway", t.Destination)
	case t.Via == Gateway:
		line = fmt.Sprintf("%v goes to the gateway, and is not on the list", t.Destination)
	default:
		line = fmt.Sprintf("%v goes straight out", t.Destination)
	}
	switch {
	case t.Err != nil:
		line += ": " + oneLine(t.Err)
	case t.Via == Gateway && t.Carrier == QUIC:
		line += ", over QUIC"
	}
	return line
}

// oneLine is an error for a line of the log. Joined ones have a line each.
func oneLine(err error) string {
	return tunnel.SafeText(strings.ReplaceAll(err.Error(), "\n", "; "), 300)
}

// newPassword takes the given password, or makes one of 130 random bits.
func newPassword(given string) (string, error) {
	if given == "" {
		return rand.Text(), nil
	}
	if len(given) < minPassword || len(given) > maxField {
		return "", fmt.Errorf("the local password must have %d to %d bytes", minPassword, maxField)
	}
	return given, nil
}

// The listeners as people name them who have to mend an address.
const (
	socksFlag = "--listen"
	httpFlag  = "--http-listen"
	dnsFlag   = "--dns-listen"
)

// checkLoopback refuses addresses that others could reach.
func checkLoopback(flag, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s needs host:port: %w", flag, err)
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(host, "localhost") {
		return nil
	}
	return fmt.Errorf("%s must be on loopback, such as 127.0.0.1; %q is not", flag, host)
}
