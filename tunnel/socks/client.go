package socks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// ErrAuth says that the server refused the credential. It does not say why.
var ErrAuth = errors.New("socks: credential refused")

// Auth is what a client presents, each of at most 255 bytes. The zero value
// offers to go without authentication; anything else offers RFC 1929 alone.
type Auth struct {
	User     string
	Password string `json:"-"`
}

// String hides the password. So does every other verb of package fmt.
func (a Auth) String() string { return fmt.Sprintf("{User:%q Password:[secret]}", a.User) }

// Format prints String whatever the verb.
func (a Auth) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// ClientHandshake speaks the client's side on conn and asks for a stream to
// host and port: ClientAuthenticate, then ClientRequest. Host is a domain name of
// 1 to 255 bytes, or an IP address in its textual form without a zone. When it
// returns nil, the next byte read from conn is the first of the stream: nothing
// behind the reply has been read.
//
// The end of ctx ends the handshake. conn's own deadlines count too, unless ctx
// has ended: then they have been moved. After an error conn is of no further
// use, and closing it is left to the caller.
//
// Errors are ErrAuth, a *ReplyError, a Problem, the context's, or the
// connection's.
func ClientHandshake(ctx context.Context, conn net.Conn, auth Auth, host string, port uint16) error {
	request, err := AppendRequest(nil, host, port)
	if err != nil {
		return err
	}
	if err := ClientAuthenticate(ctx, conn, auth); err != nil {
		return err
	}
	return ClientRequest(ctx, conn, request)
}

// ClientAuthenticate is the first step of a handshake: it presents the credential.
// When it returns nil, the server has taken it, knows nothing of a destination
// yet, and waits for ClientRequest. What is said of ClientHandshake holds for it.
func ClientAuthenticate(ctx context.Context, conn net.Conn, auth Auth) error {
	if len(auth.User) > 255 || len(auth.Password) > 255 {
		return errors.New("socks: user name or password longer than 255 bytes")
	}
	return within(ctx, conn, func() error { return clientAuthenticate(conn, auth) })
}

// ClientRequest is the second step: it sends a request made by AppendRequest, once,
// and reads the reply. What is said of ClientHandshake holds for it.
func ClientRequest(ctx context.Context, conn net.Conn, request []byte) error {
	return within(ctx, conn, func() error {
		if _, err := conn.Write(request); err != nil {
			return fmt.Errorf("socks: asking for the stream: %w", err)
		}
		return ReadReply(conn)
	})
}

// within bounds what talks on conn by ctx.
func within(ctx context.Context, conn net.Conn, talk func() error) error {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	err := talk()
	if !stop() {
		// The deadline has been moved, even if too late to stop the talk.
		<-interrupted
		return fmt.Errorf("socks: %w", context.Cause(ctx))
	}
	return err
}

func clientAuthenticate(conn io.ReadWriter, auth Auth) error {
	method := byte(methodUserPass)
	if auth == (Auth{}) {
		method = methodNoAuth
	}
	if _, err := conn.Write([]byte{Version, 1, method}); err != nil {
		return fmt.Errorf("socks: greeting: %w", err)
	}
	var answer [2]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("socks: reading the choice of method: %w", err)
	}
	switch {
	case answer[0] != Version:
		return BadVersion
	case answer[1] != method:
		return NoMethod
	case method == methodNoAuth:
		return nil
	}
	if _, err := conn.Write(appendUserPass(nil, auth)); err != nil {
		return fmt.Errorf("socks: presenting the credential: %w", err)
	}
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("socks: reading the verdict: %w", err)
	}
	switch {
	case answer[0] != userPassVersion:
		return BadAuth
	case answer[1] != userPassGood:
		return ErrAuth
	}
	return nil
}

func appendUserPass(b []byte, a Auth) []byte {
	b = append(b, userPassVersion, byte(len(a.User)))
	b = append(b, a.User...)
	b = append(b, byte(len(a.Password)))
	return append(b, a.Password...)
}

// AppendRequest appends the request for a stream to host and port, which are as
// ClientHandshake says. It is an error if they cannot be asked for.
func AppendRequest(b []byte, host string, port uint16) ([]byte, error) {
	b = append(b, Version, 1, 0) // CONNECT
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && addr.Zone() != "":
		return nil, errors.New("socks: an address with a zone means nothing elsewhere")
	case err == nil && addr.Is4():
		b = append(append(b, addrIPv4), addr.AsSlice()...)
	case err == nil:
		b = append(append(b, addrIPv6), addr.AsSlice()...)
	case host == "" || len(host) > 255:
		return nil, errors.New("socks: host name must have 1 to 255 bytes")
	default:
		b = append(append(b, addrName, byte(len(host))), host...)
	}
	return append(b, byte(port>>8), byte(port)), nil
}

// ReadReply reads a server's reply to a request, to its last byte and no
// further, and drops the bound address. A refusal is a *ReplyError, told by
// the first four bytes; some servers send no more then.
func ReadReply(r io.Reader) error {
	var b [255 + 2]byte
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return fmt.Errorf("socks: reading the reply: %w", err)
	}
	switch {
	case b[0] != Version:
		return BadVersion
	case Reply(b[1]) != Succeeded:
		return &ReplyError{Reply: Reply(b[1])}
	case b[2] != 0:
		return BadReserved
	}
	var n int
	switch b[3] {
	case addrIPv4:
		n = 4
	case addrIPv6:
		n = 16
	case addrName:
		if err := readRest(r, b[:1]); err != nil {
			return fmt.Errorf("socks: reading the reply: %w", err)
		}
		n = int(b[0])
	default:
		return BadAddressType
	}
	if err := readRest(r, b[:n+2]); err != nil {
		return fmt.Errorf("socks: reading the reply: %w", err)
	}
	return nil
}
