package connect

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
)

// LocalUser is the user name that applications present to the local listener.
const LocalUser = "sallyport"

// setUpLimit bounds a tunnel's set-up, from the application's first byte or
// from Dial to the gateway's reply: the longer of the two times that a mail app
// has for a whole background sync.
const setUpLimit = 30 * time.Second

// minPassword is the least length of a given password, in bytes.
const minPassword = 16

// maxField is the longest that RFC 1929 can carry, in bytes.
const maxField = 255

// Config says where the gateway is, what to show it, and what to send there. A
// Client reads Gateway, ServerName, RootCAs, Pin, Ticket and User of it.
type Config struct {
	// Listen is the local listener's host:port. The host must be a loopback
	// address or "localhost"; port 0 takes a free one.
	Listen string
	// Password is what applications present locally with LocalUser, 16 to 255
	// bytes. "" means a random one; see Proxy.Password.
	Password string
	// Gateway is the host:port to dial. Required.
	Gateway string
	// ServerName is the name that the gateway's certificate must have. "" means
	// the host of Gateway.
	ServerName string
	// RootCAs are whom the gateway's certificate must come from; nil means the
	// system's.
	RootCAs *x509.CertPool
	// Pin, if not nil, is the one certificate that the gateway must show,
	// whoever issued it and whatever name it has. It must be in date.
	Pin *x509.Certificate
	// Ticket returns the ticket's handle. It is called for each tunnel, several
	// at a time. Required. Its errors are passed on; they must not hold the
	// ticket.
	Ticket func() (string, error)
	// User is the user name to claim, at most 255 bytes. The gateway logs it
	// and does not trust it.
	User string
	// Services is the list that the split goes by.
	Services []policy.Service
	// SplitTunnel says what goes through the gateway.
	SplitTunnel Mode
	// Hooks tell what happens.
	Hooks Hooks
}

// Format prints no more than where the gateway is, whatever the verb: the
// password is a secret.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{Gateway:%q SplitTunnel:%v}", c.Gateway, c.SplitTunnel)
}

// Hooks are called on the connection's own goroutine, several at a time. Each
// may be nil.
type Hooks struct {
	// Tunnel is told of each connection once its set-up has come to an end,
	// good or bad.
	Tunnel func(Tunnel)
	// Refused is told why an application did not come as far: a wrong password,
	// a command other than CONNECT.
	Refused func(error)
	// AcceptError is told of a failed accept, and how long the next one waits.
	AcceptError func(err error, backoff time.Duration)
}

// Tunnel is the account of one set-up.
type Tunnel struct {
	Destination tunnel.Destination
	Listed      bool // the destination is among Config.Services
	Via         Via
	Took        time.Duration
	Err         error // nil if it stands
}

// String is the line for the log. For a listed destination it reads as devices
// write it.
func (t Tunnel) String() string {
	var line string
	switch {
	case t.Via == Gateway && t.Listed:
		line = fmt.Sprintf("AG policy Intercepting %v for STA tunneling", t.Destination)
	case t.Via == Gateway:
		line = fmt.Sprintf("%v goes to the gateway, and is not on the list", t.Destination)
	default:
		line = fmt.Sprintf("%v goes straight out", t.Destination)
	}
	if t.Err != nil {
		line += ": " + tunnel.SafeText(t.Err.Error(), 300)
	}
	return line
}

// Via is the way that a connection takes.
type Via uint8

// The two ways.
const (
	Gateway Via = iota
	Direct
)

// String returns "gateway" or "direct".
func (v Via) String() string {
	if v == Direct {
		return "direct"
	}
	return "gateway"
}

// Mode is the split tunnel's setting.
type Mode uint8

// The modes. The zero value lets nothing past the gateway.
const (
	Off     Mode = iota // everything goes to the gateway
	On                  // the listed services do, the rest goes straight out
	Reverse             // all but the listed do
)

// String returns the mode as it is written in configuration files.
func (m Mode) String() string {
	switch m {
	case Off:
		return "off"
	case On:
		return "on"
	case Reverse:
		return "reverse"
	}
	return "unknown"
}

// ParseMode reads "off", "on" or "reverse".
func ParseMode(s string) (Mode, error) {
	for _, m := range []Mode{Off, On, Reverse} {
		if s == m.String() {
			return m, nil
		}
	}
	return Off, errors.New("split tunnel must be on, off or reverse")
}

// newPassword takes the given password, or makes one of 130 random bits.
func newPassword(given string) (string, error) {
	if given == "" {
		return rand.Text(), nil
	}
	if len(given) < minPassword || len(given) > maxField {
		return "", fmt.Errorf("the local password must have %d to %d bytes", minPassword, maxField)
	}
	return given, nil
}

// checkLoopback refuses addresses that others could reach.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("the local listener needs host:port: %w", err)
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(host, "localhost") {
		return nil
	}
	return fmt.Errorf("the local listener must be on loopback, such as 127.0.0.1; %q is not", host)
}
