package socks

import "fmt"

// Reply is the REP field of a server's reply, RFC 1928 section 6.
type Reply byte

// The replies of RFC 1928 section 6. 0x09 to 0xFF are unassigned.
const (
	Succeeded           Reply = 0x00
	GeneralFailure      Reply = 0x01
	NotAllowed          Reply = 0x02 // by the rule set
	NetworkUnreachable  Reply = 0x03
	HostUnreachable     Reply = 0x04
	ConnectionRefused   Reply = 0x05
	TTLExpired          Reply = 0x06 // widely used for "timed out", and so do we
	CommandNotSupported Reply = 0x07
	AddressNotSupported Reply = 0x08
)

// String names the reply in the words of the RFC.
func (r Reply) String() string {
	switch r {
	case Succeeded:
		return "succeeded"
	case GeneralFailure:
		return "general SOCKS server failure"
	case NotAllowed:
		return "connection not allowed by ruleset"
	case NetworkUnreachable:
		return "network unreachable"
	case HostUnreachable:
		return "host unreachable"
	case ConnectionRefused:
		return "connection refused"
	case TTLExpired:
		return "TTL expired (timed out)"
	case CommandNotSupported:
		return "command not supported"
	case AddressNotSupported:
		return "address type not supported"
	}
	return fmt.Sprintf("unassigned reply 0x%02x", byte(r))
}

// Append appends the whole reply message. The bound address is always
// 0.0.0.0:0: CONNECT clients have no use for it, and the address that a gateway
// dials from is nobody's business outside. A length that never varies also
// tells an observer of the records nothing.
func (r Reply) Append(b []byte) []byte {
	return append(b, Version, byte(r), 0, addrIPv4, 0, 0, 0, 0, 0, 0)
}

// ReplyError is a server's refusal of a request, as a client sees it.
type ReplyError struct {
	Reply Reply // never Succeeded
}

func (e *ReplyError) Error() string {
	return "socks: request refused: " + e.Reply.String()
}

// Problem is what is wrong with a message from the other side. The list is
// closed, so its values serve as metric labels too. Compare with errors.Is.
type Problem string

// The problems that readers of this package report. Anything else they return
// comes from the connection itself; a message cut short is
// io.ErrUnexpectedEOF, or io.EOF when not even its first byte came.
const (
	BadVersion     Problem = "bad_version"      // greeting, request or reply is not version 5
	NoMethod       Problem = "no_method"        // no authentication method in common
	BadAuth        Problem = "bad_auth"         // the method's own message is not of its version
	BadCommand     Problem = "bad_command"      // BIND, UDP ASSOCIATE or unassigned
	BadReserved    Problem = "bad_reserved"     // RSV is not zero
	BadAddressType Problem = "bad_address_type" // ATYP is neither IPv4, name nor IPv6
	EmptyName      Problem = "empty_name"       // a domain name of no length
	Malformed      Problem = "malformed"        // a request that the parser refuses for no reason on this list
)

// Error describes the problem without a word from the message itself.
func (p Problem) Error() string {
	switch p {
	case BadVersion:
		return "socks: not version 5"
	case NoMethod:
		return "socks: no acceptable authentication method"
	case BadAuth:
		return "socks: authentication message of unknown version"
	case BadCommand:
		return "socks: command other than CONNECT"
	case BadReserved:
		return "socks: reserved byte is not zero"
	case BadAddressType:
		return "socks: unknown address type"
	case EmptyName:
		return "socks: empty domain name"
	}
	return "socks: malformed message"
}

// Reply returns what a server answers to a request with this problem; for one
// that is not in a request it is GeneralFailure.
func (p Problem) Reply() Reply {
	switch p {
	case BadCommand:
		return CommandNotSupported
	case BadAddressType:
		return AddressNotSupported
	case EmptyName:
		return NotAllowed
	}
	return GeneralFailure
}
