package connect

import "errors"

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

// DNSMode is split DNS's setting: whose DNS is asked for a name.
type DNSMode uint8

// The modes. With the zero value, no name of the zones is asked outside.
const (
	Remote DNSMode = iota // the gateway's for names of the zones, the local one for the rest
	Local                 // the local one for everything
	Both                  // as Remote, and the local one when the gateway's has no answer
)

// String returns the mode as it is written in configuration files.
func (m DNSMode) String() string {
	switch m {
	case Remote:
		return "remote"
	case Local:
		return "local"
	case Both:
		return "both"
	}
	return "unknown"
}

// ParseDNSMode reads "remote", "local" or "both".
func ParseDNSMode(s string) (DNSMode, error) {
	for _, m := range []DNSMode{Remote, Local, Both} {
		if s == m.String() {
			return m, nil
		}
	}
	return Remote, errors.New("split DNS must be remote, local or both")
}
