package socks

import (
	"fmt"
	"io"
	"slices"

	socks5 "github.com/armon/go-socks5"
)

// Version is the first byte of every SOCKS5 message but those of the
// authentication methods.
const Version = 5

// Authentication methods, RFC 1928 section 3. 0x80 to 0xFE are private.
const (
	methodUserPass     = socks5.UserPassAuth // RFC 1929
	methodNoAuth       = socks5.NoAuth
	methodNoAcceptable = 0xFF
)

// The keys of an AuthContext's payload. Password is a secret: it may go to
// whoever checks it, and nowhere else.
const (
	PayloadUser     = "Username"
	PayloadPassword = "Password"
)

// Method is one authentication method, on the server's side.
//
// Its Authenticate writes the selection of the method, reads what the client
// presents and returns it in the AuthContext's payload. Unlike the library's
// own authenticators it does not judge: checking a ticket may take a round trip
// to an authority, and is no business of a wire format. Once the verdict is
// known, the caller writes Status(verdict).
type Method interface {
	socks5.Authenticator
	// Status returns the method's answer to the credential; nil for a method
	// that has none. The same bytes for every refusal, whatever its cause.
	Status(ok bool) []byte
}

// ReadGreeting reads the version and the methods that the client offers:
//
//	+-----+----------+----------+
//	| VER | NMETHODS | METHODS  |
//	|  1  |    1     | 1 to 255 |
//	+-----+----------+----------+
//
// An empty offer is returned as it is; no method will fit it.
// The only Problem is BadVersion, told by the first byte alone.
func ReadGreeting(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return nil, fmt.Errorf("socks: reading greeting: %w", err)
	}
	if head[0] != Version {
		return nil, BadVersion
	}
	if err := readRest(r, head[1:]); err != nil {
		return nil, fmt.Errorf("socks: reading greeting: %w", err)
	}
	methods := make([]byte, head[1])
	if err := readRest(r, methods); err != nil {
		return nil, fmt.Errorf("socks: reading greeting: %w", err)
	}
	return methods, nil
}

// Choose returns the first of the supported methods, in their order, that the
// client offered. The client's own order does not count (RFC 1928 leaves the
// choice to the server). Without one in common it returns nil, and the answer
// is NoAcceptable.
func Choose(offered []byte, supported []Method) Method {
	for _, m := range supported {
		if slices.Contains(offered, m.GetCode()) {
			return m
		}
	}
	return nil
}

// AppendNoAcceptable appends the answer to a greeting with no method in
// common; the server closes the connection behind it.
func AppendNoAcceptable(b []byte) []byte {
	return append(b, Version, methodNoAcceptable)
}

// UserPass is method 0x02, RFC 1929:
//
//	+-----+------+----------+------+----------+
//	| VER | ULEN |  UNAME   | PLEN |  PASSWD  |      +-----+--------+
//	|  1  |  1   | 0 to 255 |  1   | 0 to 255 |  →   | VER | STATUS |
//	+-----+------+----------+------+----------+      +-----+--------+
//
// The RFC wants at least one byte of each; clients that leave the user name
// empty exist, so lengths of zero are read, and judged by whoever checks them.
type UserPass struct{}

var _ Method = UserPass{}

const (
	userPassVersion = 1
	userPassGood    = 0
	userPassBad     = 1
)

// GetCode returns 0x02.
func (UserPass) GetCode() uint8 { return methodUserPass }

// Authenticate selects the method and reads user name and password into the
// payload, verbatim: bytes, not necessarily UTF-8. The only Problem is BadAuth.
func (UserPass) Authenticate(r io.Reader, w io.Writer) (*socks5.AuthContext, error) {
	if _, err := w.Write([]byte{Version, methodUserPass}); err != nil {
		return nil, fmt.Errorf("socks: selecting method: %w", err)
	}
	var version [1]byte
	if _, err := io.ReadFull(r, version[:]); err != nil {
		return nil, fmt.Errorf("socks: reading credential: %w", err)
	}
	if version[0] != userPassVersion {
		return nil, BadAuth
	}
	user, err := readCounted(r)
	if err != nil {
		return nil, fmt.Errorf("socks: reading user name: %w", err)
	}
	password, err := readCounted(r)
	if err != nil {
		return nil, fmt.Errorf("socks: reading password: %w", err)
	}
	return &socks5.AuthContext{
		Method:  methodUserPass,
		Payload: map[string]string{PayloadUser: user, PayloadPassword: password},
	}, nil
}

// Status returns 01 00 or 01 01.
func (UserPass) Status(ok bool) []byte {
	if ok {
		return []byte{userPassVersion, userPassGood}
	}
	return []byte{userPassVersion, userPassBad}
}

// readCounted reads one byte of length and that many bytes.
func readCounted(r io.Reader) (string, error) {
	var field [256]byte
	if err := readRest(r, field[:1]); err != nil {
		return "", err
	}
	n := int(field[0])
	if err := readRest(r, field[:n]); err != nil {
		return "", err
	}
	s := string(field[:n])
	clear(field[:n]) // it may be a password: the stack keeps no second copy
	return s, nil
}

// readRest fills p with bytes from the midst of a message, where even a clean
// end is an unexpected one.
func readRest(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
