package socks

import (
	"fmt"
	"io"
	"net/netip"

	socks5 "github.com/armon/go-socks5"
)

// Address types, RFC 1928 section 5.
const (
	addrIPv4 = 1
	addrName = 3
	addrIPv6 = 4
)

const (
	requestHead = 4                         // VER CMD RSV ATYP
	maxRequest  = requestHead + 1 + 255 + 2 // with a name of 255 bytes
)

// Request is a CONNECT request: where the client wants to go. Either Host or
// Addr is set, never both.
type Request struct {
	// Host is a domain name of 1 to 255 bytes as the client sent them. Nothing
	// is promised of them: they may hold NUL, blanks, or no UTF-8 at all.
	Host string
	// Addr is the address of a client that resolved for itself. An IPv4 address
	// in IPv6 clothes is left in them.
	Addr netip.Addr
	Port uint16 // zero is possible
}

// ReadRequest reads one request and accepts it if it is a CONNECT:
//
//	+-----+-----+-------+------+----------+----------+
//	| VER | CMD |  RSV  | ATYP | DST.ADDR | DST.PORT |
//	|  1  |  1  | X'00' |  1   | Variable |    2     |
//	+-----+-----+-------+------+----------+----------+
//
// A Problem is reported only of a message that came as far as its fault lets
// it be read; of several faults the leftmost is told. For one cut short the
// error is the reader's.
func ReadRequest(r io.Reader) (Request, error) {
	rec := recorder{src: r}
	parsed, parseErr := socks5.NewRequest(&rec)
	if rec.err != nil {
		return Request{}, fmt.Errorf("socks: reading request: %w", rec.err)
	}
	if p := judge(rec.seen()); p != "" {
		return Request{}, p
	}
	if parseErr != nil {
		// Nothing wrong in the bytes, and yet the parser will not have them:
		// side with the parser. The text of its error stays here.
		return Request{}, Malformed
	}
	return convert(parsed), nil
}

// judge reads the verdict from the recorded bytes, left to right. The recorder
// saw no error, so the bytes reach as far as the parser wanted to read: three,
// when it stopped at the version.
func judge(b []byte) Problem {
	switch {
	case b[0] != Version:
		return BadVersion
	case b[1] != socks5.ConnectCommand:
		return BadCommand
	case b[2] != 0:
		return BadReserved
	}
	switch b[3] {
	case addrIPv4, addrIPv6:
		return ""
	case addrName:
		if b[4] == 0 {
			return EmptyName
		}
		return ""
	}
	return BadAddressType
}

func convert(parsed *socks5.Request) Request {
	dest := parsed.DestAddr
	req := Request{Host: dest.FQDN, Port: uint16(dest.Port)} // made of two bytes
	if req.Host == "" {
		req.Addr, _ = netip.AddrFromSlice(dest.IP) // 4 or 16 bytes, so always good
	}
	return req
}

// recorder stands between the library's parser and the connection. It makes
// every Read a full one, because the parser asks for single bytes without
// looking at how many it got; it keeps what went through, and the first error.
// It cannot be made to read more than the longest request.
type recorder struct {
	src io.Reader
	buf [maxRequest]byte
	n   int
	err error
}

func (r *recorder) seen() []byte { return r.buf[:r.n] }

func (r *recorder) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if len(p) > len(r.buf)-r.n {
		r.err = io.ErrShortBuffer
		return 0, r.err
	}
	n, err := io.ReadFull(r.src, p)
	r.n += copy(r.buf[r.n:], p[:n])
	if err == io.EOF && r.n > 0 {
		err = io.ErrUnexpectedEOF
	}
	r.err = err
	return n, err
}
