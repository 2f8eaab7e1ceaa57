package socks

import (
	"encoding/binary"
	"fmt"
	"io"

	socks5 "github.com/armon/go-socks5"
)

// MaxToken is the longest token that Token reads, in bytes.
const MaxToken = 4096

// PayloadToken is the key under which Token puts what it read. It is a secret,
// as a password is.
const PayloadToken = "Token"

// Token is method 0x80, private to Sallyport. It carries what does not fit into
// the 255 bytes of a password.
//
//	+-----+-----------------+----------+
//	| VER |      LEN        |  TOKEN   |      +-----+--------+
//	|  1  | 2, big endian   | 1 to LEN |  →   | VER | STATUS |
//	+-----+-----------------+----------+      +-----+--------+
//
// VER is 1; STATUS is 0 for a good token and 1 for any other.
type Token struct{}

var _ Method = Token{}

const (
	methodToken  = 0x80
	tokenVersion = 1
)

// GetCode returns 0x80.
func (Token) GetCode() uint8 { return methodToken }

// Authenticate selects the method and reads the token into the payload. The only
// Problem is BadAuth, for another version and for a length of 0 or over MaxToken.
func (Token) Authenticate(r io.Reader, w io.Writer) (*socks5.AuthContext, error) {
	if _, err := w.Write([]byte{Version, methodToken}); err != nil {
		return nil, fmt.Errorf("socks: selecting method: %w", err)
	}
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("socks: reading token: %w", err)
	}
	length := int(binary.BigEndian.Uint16(head[1:]))
	if head[0] != tokenVersion || length == 0 || length > MaxToken {
		return nil, BadAuth
	}
	token := make([]byte, length)
	if err := readRest(r, token); err != nil {
		return nil, fmt.Errorf("socks: reading token: %w", err)
	}
	return &socks5.AuthContext{Method: methodToken, Payload: map[string]string{PayloadToken: string(token)}}, nil
}

// Status returns 01 00 or 01 01.
func (Token) Status(ok bool) []byte {
	if ok {
		return []byte{tokenVersion, 0}
	}
	return []byte{tokenVersion, 1}
}

// AppendToken appends the client's message; a token of 1 to MaxToken bytes.
func AppendToken(b []byte, token string) []byte {
	b = append(b, tokenVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(token)))
	return append(b, token...)
}

// NoAuth is method 0x00 of RFC 1928: nothing is presented here. Whoever takes
// it must find a credential elsewhere.
type NoAuth struct{}

var _ Method = NoAuth{}

// GetCode returns 0x00.
func (NoAuth) GetCode() uint8 { return methodNoAuth }

// Authenticate selects the method.
func (NoAuth) Authenticate(_ io.Reader, w io.Writer) (*socks5.AuthContext, error) {
	if _, err := w.Write([]byte{Version, methodNoAuth}); err != nil {
		return nil, fmt.Errorf("socks: selecting method: %w", err)
	}
	return &socks5.AuthContext{Method: methodNoAuth}, nil
}

// Status returns nothing: the method has no answer.
func (NoAuth) Status(bool) []byte { return nil }
