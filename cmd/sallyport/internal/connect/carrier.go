package connect

import (
	"errors"

	"github.com/sallyport/sallyport/tunnel"
)

// Carrier is what tunnels reach the gateway by.
type Carrier uint8

// The carriers. With the zero value a Client is as simple as can be: it has no state
// between tunnels but TLS sessions.
const (
	TCP  Carrier = iota // a TLS connection for each tunnel
	QUIC                // one connection for all of them, and nothing else will do
	Auto                // QUIC, and TCP wherever it does not come through
)

// String returns the carrier as it is written on command lines.
func (c Carrier) String() string {
	switch c {
	case TCP:
		return "tcp"
	case QUIC:
		return "quic"
	case Auto:
		return "auto"
	}
	return "unknown"
}

// ParseCarrier reads "tcp", "quic" or "auto".
func ParseCarrier(s string) (Carrier, error) {
	for _, c := range []Carrier{TCP, QUIC, Auto} {
		if s == c.String() {
			return c, nil
		}
	}
	return TCP, errors.New("the carrier must be auto, tcp or quic")
}

// carrierOf tells what an open tunnel goes by.
func carrierOf(s tunnel.Stream) Carrier {
	if _, ok := s.(*linkStream); ok {
		return QUIC
	}
	return TCP
}
