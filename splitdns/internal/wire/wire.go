package wire

import "strings"

// Sizes in bytes.
const (
	// HeaderSize is the least that a message has (RFC 1035 §4.1.1).
	HeaderSize = 12
	// MaxMessage is the most that its length on a stream can say (§4.2.2).
	MaxMessage = 65535
	// PacketSize is what our OPT records announce: it fits a packet without
	// fragments on every path.
	PacketSize = 1232
)

// IsData tells types that records have from those for questions, transactions
// and signalling (RFC 6895 §3.1). 0 and 65535 are reserved, and OPT is the one
// outlaw below 128.
func IsData(rrtype uint16) bool {
	const opt, reserved = 41, 65535
	switch rrtype {
	case 0, opt, reserved:
		return false
	}
	return rrtype < 128 || rrtype > 255
}

// EndsInNumber tells names, in lower case, that some programs read as an IPv4
// address: by the last label, decimal, or hexadecimal with 0x in front.
func EndsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if digits, hex := strings.CutPrefix(last, "0x"); hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// Lower turns ASCII letters to lower case and leaves all other bytes alone:
// names compare by nothing else (RFC 4343).
func Lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
