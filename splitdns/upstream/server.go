package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

// Server is one DNS server. Two are the same when they are equal.
type Server struct {
	// Network is how it is asked: "udp" (over TCP when an answer is cut short),
	// "tcp" (RFC 7766), "tls" (RFC 7858) or "https" (RFC 8484).
	Network string
	// Addr is where: nothing is looked up in order to look something up.
	Addr netip.AddrPort
	// Name is what its certificate must be for, over tls and https; "" is the
	// address itself.
	Name string
	// Path is where it answers over https, "/dns-query" as a rule.
	Path string
}

// The networks, and the port of each when none is given.
var ports = map[string]uint16{"udp": 53, "tcp": 53, "tls": 853, "https": 443}

// The longest path of a server over https, in bytes.
const maxPath = 255

// ParseServer reads a server as it is written in a config:
//
//	10.0.0.53   10.0.0.53:5353   [fd00::53]:5353   udp://10.0.0.53
//	tcp://10.0.0.53
//	tls://10.0.0.53:853#dns.corp.example
//	https://10.0.0.53/dns-query#dns.corp.example
//
// It takes addresses only, IPv6 in brackets. The name behind the # is what the
// certificate must be for. Left out are the network udp, the usual port, and
// the path /dns-query. An error says what is wrong in words for the
// administrator.
func ParseServer(s string) (Server, error) {
	server, err := parseServer(s)
	if err != nil {
		return Server{}, fmt.Errorf("server %q: %w", s, err)
	}
	return server, nil
}

func parseServer(s string) (Server, error) {
	server := Server{Network: "udp"}
	rest := s
	if network, after, found := strings.Cut(s, "://"); found {
		server.Network, rest = network, after
	}
	if _, ok := ports[server.Network]; !ok {
		return Server{}, fmt.Errorf("the network is udp, tcp, tls or https, not %q", server.Network)
	}
	rest, name, named := strings.Cut(rest, "#")
	if named && name == "" {
		return Server{}, errors.New("there is no name behind the #")
	}
	server.Name = strings.ToLower(name)
	if at := strings.IndexByte(rest, '/'); at >= 0 {
		rest, server.Path = rest[:at], rest[at:]
	} else if server.Network == "https" {
		server.Path = "/dns-query"
	}
	var err error
	if server.Addr, err = parseAddr(rest, ports[server.Network]); err != nil {
		return Server{}, err
	}
	return server, server.check()
}

// parseAddr reads an address with or without a port.
func parseAddr(s string, port uint16) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Is6() {
			return netip.AddrPort{}, fmt.Errorf("an IPv6 address stands in brackets: [%s]", addr)
		}
		return netip.AddrPortFrom(addr, port), nil
	}
	if inner, ok := strings.CutSuffix(s, "]"); ok && strings.HasPrefix(s, "[") {
		if addr, err := netip.ParseAddr(inner[1:]); err == nil && addr.Is6() {
			return netip.AddrPortFrom(addr.Unmap(), port), nil
		}
	}
	both, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no IP address: a name server is given by its address, for nobody could look up its name", s)
	}
	return netip.AddrPortFrom(both.Addr().Unmap(), both.Port()), nil
}

// check holds for every server of a pool, parsed or put together by hand.
func (s Server) check() error {
	secure := s.Network == "tls" || s.Network == "https"
	addr := s.Addr.Addr()
	switch {
	case ports[s.Network] == 0:
		return fmt.Errorf("the network is udp, tcp, tls or https, not %q", s.Network)
	case !addr.IsValid(), addr.IsUnspecified(), addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%v is no address of one server", addr)
	case addr.Is4In6():
		return fmt.Errorf("%v is an IPv4 address and is written as one: %v", addr, addr.Unmap())
	case !zoneIsPlain(addr.Zone()):
		return fmt.Errorf("%q is no name of a network interface", addr.Zone())
	case s.Addr.Port() == 0:
		return errors.New("port 0 is none")
	case s.Name != "" && !secure:
		return fmt.Errorf("%s has no certificate to check the name %q against", s.Network, s.Name)
	case s.Name != "" && !isHostName(s.Name):
		return fmt.Errorf("%q is no host name; leave it out to check the certificate against the address", s.Name)
	case s.Path != "" && s.Network != "https":
		return fmt.Errorf("%s has no path", s.Network)
	case s.Network == "https" && !isPath(s.Path):
		return fmt.Errorf("the path %q is not of letters, digits and -._~/, or longer than %d bytes", s.Path, maxPath)
	}
	return nil
}

// String writes the server as ParseServer reads it, as short as it goes.
func (s Server) String() string {
	var b strings.Builder
	if s.Network != "udp" {
		b.WriteString(s.Network + "://")
	}
	addr := s.Addr.Addr()
	switch {
	case s.Addr.Port() != ports[s.Network]:
		b.WriteString(s.Addr.String())
	case addr.Is6():
		b.WriteString("[" + addr.String() + "]")
	default:
		b.WriteString(addr.String())
	}
	b.WriteString(s.Path)
	if s.Name != "" {
		b.WriteString("#" + s.Name)
	}
	return b.String()
}

// certificateName is what the server's certificate must be for.
func (s Server) certificateName() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Addr.Addr().WithZone("").String()
}

const lettersAndDigits = "abcdefghijklmnopqrstuvwxyz0123456789"

// isHostName says whether a certificate can be for the name: labels of letters,
// digits and hyphens in lower case, and no address in the guise of a name.
func isHostName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, lettersAndDigits+"-") != "" {
			return false
		}
	}
	return !wire.EndsInNumber(name)
}

func isPath(path string) bool {
	return strings.HasPrefix(path, "/") && len(path) <= maxPath &&
		strings.Trim(strings.ToLower(path), lettersAndDigits+"-._~/") == ""
}

// zoneIsPlain keeps out of an address whatever would end it in a text.
func zoneIsPlain(zone string) bool {
	return len(zone) <= 15 && strings.Trim(strings.ToLower(zone), lettersAndDigits+"-_.") == ""
}
