package tunnel

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Negotiation is one client stream on its way to become a tunnel; the carrier
// behind it speaks the protocol. Its methods are called by one goroutine, in
// the order Credential, Destination, Succeed. Refuse may come in place of any
// of them and ends it. A step out of order is an error and writes nothing.
//
// Errors of Credential and Destination are *Refusal. They too are answered by
// Refuse.
type Negotiation interface {
	// Peer says who dialled. It is good from the start, and does not change.
	Peer() Peer
	// Credential reads what the client presents.
	Credential(ctx context.Context) (Credential, error)
	// Destination answers the credential with success, then reads where the
	// client wants to go. So it is called only once the credential is good.
	Destination(ctx context.Context) (Destination, error)
	// Refuse answers in the carrier's own words for err (see Refusal) and
	// closes the stream, lingering for a second at most so that the answer
	// arrives. A second call does nothing, nor does one after Succeed.
	Refuse(err error)
	// Succeed answers success and lifts the set-up deadline. Bytes that the
	// client sent ahead come first out of the Stream, which is from here on the
	// caller's to close. The error is a *Refusal, LabelFull for one when there
	// are as many tunnels as may be, and is answered by Refuse as well.
	Succeed() (Stream, error)
}

// Handler gets every stream of a listener, each in a goroutine of its own.
// When ServeTunnel returns, the stream is over: one that was neither refused
// nor granted is refused, and the connection is closed.
//
// The context ends when the server is closed, not when it drains, and when the
// connection is shed to make room for others, which happens only before
// Succeed. A set-up that does not heed it holds others up.
type Handler interface {
	ServeTunnel(ctx context.Context, n Negotiation)
}

// Stream is a connection whose two directions end apart. *net.TCPConn is one.
type Stream interface {
	net.Conn
	// CloseWrite ends our side's direction: the peer reads to the end, and can
	// go on sending.
	CloseWrite() error
}

// Peer is who dialled, and over what. Its strings are safe to log.
type Peer struct {
	Carrier string         // "socks5", or what another carrier calls itself
	Remote  netip.AddrPort // the client; zero over anything but TCP and UDP
	Local   netip.AddrPort // where it reached us

	TLSVersion  uint16 // tls.VersionTLS12 or above; zero where a carrier has no TLS
	CipherSuite uint16 // a crypto/tls constant
	ServerName  string // SNI as SafeText; "" if none was sent
	ALPN        string // negotiated; "", ALPN, or another carrier's
	Resumed     bool   // the session was resumed, which grants nothing
	Direct      bool   // our own record layer carries it, not crypto/tls's

	// Owner is whose the connection is, where it carries many tunnels; else nil.
	Owner *Owner

	Accepted time.Time // when the connection was accepted
	Deadline time.Time // when set-up must be over; Succeed fails after it
}

// Credential is what a client presents. It prints without its secret, with
// every verb of package fmt and in JSON.
type Credential struct {
	// User is the name that the client claims, as SafeText of at most 255
	// bytes. Nobody has checked it.
	User string
	// Secret is the raw password, token or destination, as By says; may be
	// empty. It is never to be logged.
	Secret string `json:"-"`
	// By is where in the carrier's protocol it stood.
	By Presented
}

// Presented is where in a carrier's protocol a credential stood.
type Presented uint8

const (
	// ByPassword: the password of RFC 1929, at most 255 bytes.
	ByPassword Presented = iota
	// ByToken: the private method, at most socks.MaxToken bytes.
	ByToken
	// ByDestination: in place of the name of a destination, at most 255 bytes,
	// and beginning with a semicolon.
	ByDestination
	// ByHeader: a header of HTTP's, at most 4,096 bytes: password or token.
	ByHeader
	// ByNothing: the carrier knows its clients otherwise, and Secret is empty.
	ByNothing
)

// String tells the claimed user, and that there is a secret.
func (c Credential) String() string {
	return fmt.Sprintf("{User:%q Secret:%s}", c.User, redacted)
}

// GoString is String: %#v shows no more.
func (c Credential) GoString() string { return c.String() }

// Format prints String whatever the verb, %x included.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// Destination is where a client wants to go. It prints as SafeText.
type Destination struct {
	// InCredential says that the client named no destination beside its
	// credential: Host and Addr are empty, and Port is what stood there.
	InCredential bool
	// Host is the name as the client sent it: at most 255 bytes, unvalidated,
	// not to be logged (a name that begins with a semicolon is a credential).
	// Empty when Addr is set.
	Host string
	// Addr is the address of a client that resolved for itself; an IPv4
	// address in IPv6 form is left so.
	Addr netip.Addr
	Port uint16
}

// String is host:port for the log.
func (d Destination) String() string {
	host := d.Addr.String()
	switch {
	case d.InCredential:
		host = "(as the ticket says)"
	case !d.Addr.IsValid():
		host = SafeText(d.Host, 255)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(d.Port)))
}

// GoString is String: %#v shows no more.
func (d Destination) GoString() string { return d.String() }

// Format prints String whatever the verb.
func (d Destination) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }
