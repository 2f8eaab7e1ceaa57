package policy

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	// maxRawHost bounds what ParseHost looks at, in bytes: no carrier hands
	// over more, since SOCKS5 counts a name in one byte (RFC 1928 §5).
	maxRawHost = 255
	// maxName and maxLabel are the bounds of RFC 1035 §2.3.4 in text form,
	// without the trailing dot.
	maxName  = 253
	maxLabel = 63
)

// Host is a destination in its one spelling: a name or an IPv4 or IPv6
// address. Exactly one of the fields is set; the zero Host is no destination
// and is never allowed.
type Host struct {
	// Name is an A-label name: lower case, no trailing dot, at most 253 bytes
	// of a–z, 0–9, '-', '_' and '.'.
	Name string
	// Addr is unmapped and has no zone.
	Addr netip.Addr
}

// String returns the name or the address.
func (h Host) String() string {
	if h.Addr.IsValid() {
		return h.Addr.String()
	}
	return h.Name
}

// HostReason says why a host was refused. The list is closed, so that it may
// serve as a metric label.
type HostReason string

// The reasons of a HostError.
const (
	HostEmpty      HostReason = "empty"      // nothing, or nothing but a dot
	HostTooLong    HostReason = "too_long"   // over 255 bytes as sent, 253 as a name
	HostCredential HostReason = "credential" // begins with ';', so it is a ticket and no name
	HostEncoding   HostReason = "encoding"   // not UTF-8
	HostControl    HostReason = "control"    // NUL, a control or an invisible character
	HostBlank      HostReason = "blank"      // a blank of any kind
	HostBracket    HostReason = "bracket"    // '[' or ']', as around IPv6 addresses in URLs
	HostZone       HostReason = "zone"       // '%', as in the zone of an IPv6 address
	HostCharacter  HostReason = "character"  // another character that no host name holds
	HostLabel      HostReason = "label"      // a label that is empty, over 63 bytes, or begins or ends with '-'
	HostNumeric    HostReason = "numeric"    // an address in a notation other than the dotted quad
	HostIDNA       HostReason = "idna"       // not a valid internationalised name
	HostAddress    HostReason = "address"    // not a usable IP address
)

// HostError reports a refused host. It never holds what the client sent.
type HostError struct {
	Reason HostReason
}

// Error tells the reason in words.
func (e *HostError) Error() string {
	return "host refused: " + e.Reason.Text()
}

// Text is the reason in words, for a sentence about "it".
func (r HostReason) Text() string {
	switch r {
	case HostEmpty:
		return "it is empty"
	case HostTooLong:
		return "it is longer than 253 bytes"
	case HostCredential:
		return "it begins with ';' and so is no host"
	case HostEncoding:
		return "it is not UTF-8"
	case HostControl:
		return "it holds a control character"
	case HostBlank:
		return "it holds a blank"
	case HostBracket:
		return "it holds a bracket"
	case HostZone:
		return "it holds a '%'"
	case HostCharacter:
		return "it holds a character that no host name has"
	case HostLabel:
		return "a label is empty, longer than 63 bytes, or begins or ends with '-'"
	case HostNumeric:
		return "it is a number; an IPv4 address is written as four decimal parts"
	case HostIDNA:
		return "it is no valid internationalised name"
	case HostAddress:
		return "it is no usable IP address"
	}
	return "it is not acceptable"
}

// ParseHost brings a host, as a client or an administrator wrote it, into its
// one spelling. A plain dotted quad becomes an address. Every other notation
// that some resolver would take for an IPv4 address (decimal, octal, hex,
// short) is refused, and so are IPv6 addresses: carriers deliver those in
// binary, see AddrHost. Errors are *HostError.
//
// Parsing is idempotent: the String of a result parses to the same result.
func ParseHost(s string) (Host, error) {
	if mayBeQuad(s) {
		if addr, err := netip.ParseAddr(s); err == nil && addr.Is4() {
			return Host{Addr: addr}, nil
		}
	}
	if r := refuseText(s); r != "" {
		return Host{}, &HostError{r}
	}
	name, ok := normalise(s)
	if !ok {
		return Host{}, &HostError{HostIDNA}
	}
	name = strings.TrimSuffix(name, ".")
	if r := refuseName(name); r != "" {
		return Host{}, &HostError{r}
	}
	return Host{Name: name}, nil
}

// mayBeQuad spares names the making of an error that nobody reads.
func mayBeQuad(s string) bool {
	n := len(s)
	return n > 0 && n <= len("255.255.255.255") && '0' <= s[n-1] && s[n-1] <= '9'
}

// HostOf makes a Host of what a carrier delivers: an address in binary if addr is
// valid, else a name.
func HostOf(name string, addr netip.Addr) (Host, error) {
	if addr.IsValid() {
		return AddrHost(addr)
	}
	return ParseHost(name)
}

// AddrHost makes a Host of an address that arrived in binary. An IPv4-mapped
// IPv6 address becomes the IPv4 address that it stands for; an address with a
// zone is refused, since zones mean something only on one machine. Errors are
// *HostError.
func AddrHost(addr netip.Addr) (Host, error) {
	if !addr.IsValid() || addr.Zone() != "" {
		return Host{}, &HostError{HostAddress}
	}
	return Host{Addr: addr.Unmap()}, nil
}

// refuseText judges the text as sent, before IDNA can map anything away.
func refuseText(s string) HostReason {
	switch {
	case s == "":
		return HostEmpty
	case s[0] == ';':
		return HostCredential
	case len(s) > maxRawHost:
		return HostTooLong
	case !utf8.ValidString(s):
		return HostEncoding
	}
	for _, r := range s {
		switch {
		case r == '\u200c' || r == '\u200d':
			// The two joiners are spelling in some scripts; IDNA knows where.
		case unicode.IsSpace(r):
			return HostBlank
		case unicode.IsControl(r) || unicode.In(r, invisible...):
			return HostControl
		case r == '[' || r == ']':
			return HostBracket
		case r == '%':
			return HostZone
		}
	}
	return ""
}

// invisible are the characters that show nothing. IDNA would drop most of them,
// so that what an operator reads and what a client sent were not the same.
var invisible = []*unicode.RangeTable{
	unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point,
}

// normalise lower-cases and applies IDNA. Pure ASCII without A-labels needs no
// tables, and is what nearly every client sends.
func normalise(s string) (string, bool) {
	ascii := strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
	if ascii {
		s = strings.ToLower(s)
		if !strings.Contains(s, "xn--") {
			return s, true
		}
	}
	// The lookup profile of RFC 5891 §5, but for three things that occur in
	// real names or are checked by refuseName: '_' in Active Directory, "--"
	// in third place in content networks, and lengths.
	profile := idna.New(
		idna.MapForLookup(),
		idna.BidiRule(),
		idna.StrictDomainName(false),
		idna.CheckHyphens(false),
	)
	name, err := profile.ToASCII(s)
	return name, err == nil
}

// refuseName judges the outcome, whatever led to it: full-width digits have
// become digits here, and ideographic full stops dots.
func refuseName(name string) HostReason {
	if name == "" {
		return HostEmpty
	}
	if len(name) > maxName {
		return HostTooLong
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if r := refuseLabel(label); r != "" {
			return r
		}
		last = label
	}
	if isNumber(last) {
		return HostNumeric
	}
	return ""
}

func refuseLabel(label string) HostReason {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return HostLabel
	}
	for i := range len(label) {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c <= ' ' || c == 0x7f:
			return HostControl
		case c == '[' || c == ']':
			return HostBracket
		case c == '%':
			return HostZone
		default:
			return HostCharacter
		}
	}
	return ""
}

// isNumber reports whether inet_aton would read the label as a number. No top
// level domain is one (RFC 3696 §2), so a name whose last label is a number
// can only be an address in disguise, or a mistake.
func isNumber(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")
	for i := range len(digits) {
		c := digits[i]
		if ('0' <= c && c <= '9') || (hex && 'a' <= c && c <= 'f') {
			continue
		}
		return false
	}
	return true
}
