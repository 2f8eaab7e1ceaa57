package httpconnect

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/tunnel"
)

// maxHost is the longest name that a carrier hands on.
const maxHost = 255

var errTarget = errors.New("the target is not host:port")

// parseTarget reads the authority form, host:port, of RFC 9112 §3.2.3. The port is
// required. An address becomes one, IPv6 in brackets; whatever else could be a name
// is handed on as it is, for the gateway to judge. A name that begins with a
// semicolon would be a credential, which does not stand here.
func parseTarget(authority string) (tunnel.Destination, error) {
	if len(authority) > maxHost+len("[]:65535") {
		return tunnel.Destination{}, errTarget
	}
	host, portText, err := net.SplitHostPort(authority)
	if err != nil {
		return tunnel.Destination{}, errTarget
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || portText[0] == '0' {
		return tunnel.Destination{}, errTarget
	}
	bracketed := strings.HasPrefix(authority, "[")
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" || bracketed != addr.Is6() {
			return tunnel.Destination{}, errTarget
		}
		return tunnel.Destination{Addr: addr, Port: uint16(port)}, nil
	}
	if bracketed || host == "" || len(host) > maxHost || host[0] == ';' || !utf8.ValidString(host) ||
		strings.ContainsFunc(host, isDelimiter) {
		return tunnel.Destination{}, errTarget
	}
	return tunnel.Destination{Host: host, Port: uint16(port)}, nil
}

// isDelimiter tells what no name has: what would begin another part of a URL, or
// encode it, and what cannot be seen.
func isDelimiter(r rune) bool {
	return strings.ContainsRune(`@/?#%\<>"[]`, r) || unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf)
}
