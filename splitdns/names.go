package splitdns

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

// isNormalised is the last look at a name before it leaves the machine. It
// takes what a name can consist of after normalisation, underscores for
// services among it, and no number in the last label: some resolvers would read
// the whole as an IPv4 address.
func isNormalised(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	start := 0 // of the label
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if i == start || i-start > 63 {
				return false
			}
			start = i + 1
		case (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_':
			return false
		}
	}
	last := name[start:]
	if last == "" || len(last) > 63 {
		return false
	}
	return !wire.EndsInNumber(last)
}

// canonical turns a name out of a message into the form that isNormalised
// takes, if it has one: bytes that a name of ours cannot hold stay escaped with
// a backslash, and are refused there.
func canonical(name string) string {
	return strings.TrimSuffix(dns.CanonicalName(name), ".")
}

// within tells whether a name is the suffix or lies below it, by whole labels:
// "badexample.com" does not lie within "example.com". All lie within "".
func within(name, suffix string) bool {
	above, ok := strings.CutSuffix(name, suffix)
	return ok && (above == "" || suffix == "" || above[len(above)-1] == '.')
}

// isSpecial tells names that no server may be asked for (RFC 6761 §6.3 and
// §6.4, RFC 7686 §2) unless they are within a zone.
func isSpecial(name string) bool {
	return within(name, "localhost") || within(name, "invalid") || within(name, "onion")
}
