package connect

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/splitdns/stub"
	"github.com/sallyport/sallyport/tunnel"
)

const localhost = "localhost"

// split decides the way of each connection and each question. It is immutable,
// and does no I/O.
type split struct {
	unrestricted bool
	tunnels      Mode
	names        DNSMode
	list         *policy.Policy
	noList       bool            // there is nothing in it
	own          map[string]bool // the gateway's own names
	suffixes     []string        // lower case, no dot at either end
}

// newSplit checks what the config says about ways.
func newSplit(c Config) (split, error) {
	if c.SplitTunnel > Reverse || c.SplitDNS > Both {
		return split{}, errors.New("unknown split tunnel or split DNS mode")
	}
	s := split{
		unrestricted: c.NetworkAccess == policy.AccessUnrestricted, tunnels: c.SplitTunnel, names: c.SplitDNS,
		noList: len(c.Services) == 0 && len(c.WebDomains) == 0, own: ownNames(c),
	}
	var err error
	if s.list, err = compileList(c); err != nil {
		return split{}, err
	}
	for _, suffix := range c.Suffixes {
		host, err := policy.ParseHost(suffix)
		if err == nil && host.Name == "" {
			err = errors.New("it is an address")
		}
		if err != nil {
			return split{}, fmt.Errorf("suffix %q: %w", tunnel.SafeText(suffix, maxField), err)
		}
		s.suffixes = append(s.suffixes, host.Name)
	}
	return s, nil
}

func compileList(c Config) (*policy.Policy, error) {
	spec := c.spec()
	if spec.NetworkAccess == policy.AccessUnrestricted {
		spec.NetworkAccess = "" // it would deny everything, and what is listed is told all the same
	}
	list, err := policy.Compile("connect", spec)
	if err != nil {
		return nil, fmt.Errorf("what is listed: %w", err)
	}
	return list, nil
}

// spec is the part of the config that is a policy.
func (c Config) spec() policy.Spec {
	entries := make([]string, len(c.Services))
	for i, s := range c.Services {
		entries[i] = s.String()
	}
	return policy.Spec{
		NetworkAccess: c.NetworkAccess, Services: strings.Join(entries, ","), WebDomains: c.WebDomains,
		SplitTunnel: c.SplitTunnel.String(), SplitDNS: c.SplitDNS.String(),
	}
}

// ownNames are the names of the gateway itself. An address that it is dialled at
// is none: what else is there, this program cannot know.
func ownNames(c Config) map[string]bool {
	own := make(map[string]bool)
	dialled, _, _ := net.SplitHostPort(c.Gateway)
	for _, name := range []string{c.ServerName, dialled} {
		if host, err := policy.ParseHost(name); err == nil && host.Name != "" {
			own[host.Name] = true
		}
	}
	return own
}

// route is how a destination is to be reached.
type route struct {
	via     Via
	carrier Carrier // once the tunnel stands
	listed  bool
	host    policy.Host // the zero Host if known is false
	known   bool        // it could be read as a name or an address
}

// way decides on a destination. What comes first decides; doc.go has it as a
// table.
func (s split) way(d tunnel.Destination) route {
	host, err := policy.HostOf(d.Host, d.Addr)
	r := route{host: host, known: err == nil, via: Gateway}
	r.listed = r.known && s.list.Decide(policy.Query{Host: host, Port: d.Port}).Allow
	switch {
	case s.unrestricted:
		r.via = Direct
	case s.own[host.Name]:
		r.via = Direct // a tunnel within the tunnel leads nowhere
	case host.Name == stub.DeviceDNS, isSingleLabel(host.Name):
		// Outside it would be a name of the inside, or what a search list makes
		// of it.
	case s.tunnels == On && !r.listed, s.tunnels == Reverse && r.listed:
		r.via = Direct
	}
	return r
}

// asked is who answers a question.
type asked uint8

const (
	askNobody  asked = iota // it is refused
	askItself               // localhost
	askLocal                // the local DNS
	askGateway              // the gateway's DNS
	askBoth                 // the gateway's; the local one if there is no answer
)

// String is for the log, after "is asked".
func (a asked) String() string {
	switch a {
	case askItself:
		return "here"
	case askLocal:
		return "of the local DNS"
	case askGateway:
		return "through the gateway"
	case askBoth:
		return "through the gateway, else of the local DNS"
	}
	return "of nobody"
}

// asks decides on a question. The name is in lower case and has no dot at its
// end; "" is one that no host has.
func (s split) asks(name string) asked {
	switch {
	case name == "", name == stub.DeviceDNS:
		return askNobody
	case isLocalhost(name):
		return askItself
	case s.unrestricted, s.own[name]:
		return askLocal
	case isSingleLabel(name):
		return askGateway
	case s.names != Local && !s.inZone(name) && isInsideReverse(name):
		return askNobody
	case s.names == Local || !s.inZone(name):
		return askLocal
	case s.names == Both:
		return askBoth
	}
	return askGateway
}

// inZone tells names at or below a suffix.
func (s split) inZone(name string) bool {
	for _, suffix := range s.suffixes {
		rest, below := strings.CutSuffix(name, suffix)
		if below && (rest == "" || strings.HasSuffix(rest, ".")) {
			return true
		}
	}
	return false
}

// isSingleLabel tells names such as intranet. This machine's own is none of
// them: nobody else could answer for it.
func isSingleLabel(name string) bool {
	return name != "" && name != localhost && !strings.Contains(name, ".")
}

// isLocalhost tells the names of RFC 6761 section 6.3.
func isLocalhost(name string) bool {
	return name == localhost || strings.HasSuffix(name, "."+localhost)
}
