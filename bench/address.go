package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
)

// LoopbackError is an address that does not lead out of a host. Figures from it are
// of memory copies and of processes that share processors, and say nothing of a
// network.
type LoopbackError struct {
	What    string // the sink, the endpoint gw-1
	Address string
	Why     string // is loopback, is an address of client 1
}

// Error names the way to go on nevertheless.
func (e *LoopbackError) Error() string {
	return fmt.Sprintf("%s, %s, %s: what is measured there is not a network. --allow-loopback does it nevertheless, and marks the report",
		e.What, e.Address, e.Why)
}

// ownAddresses are the addresses of this host's interfaces.
func ownAddresses() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil // then only loopback itself can be told
	}
	var own []netip.Addr
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, prefix.Addr().Unmap())
		}
	}
	return own
}

// place is an address that traffic goes to.
type place struct{ what, address string }

// leadsOut finds out whether every place is on another host than the clients that
// will dial it. Names are looked up here; a name that only others know is theirs to
// judge, and passes.
func leadsOut(ctx context.Context, places []place, clients []*party) error {
	for _, p := range places {
		hostname, _, err := net.SplitHostPort(p.address)
		if err != nil {
			return fmt.Errorf("%s: %w", p.what, err)
		}
		for _, address := range addressesOf(ctx, hostname) {
			if address.IsLoopback() || address.IsUnspecified() {
				return &LoopbackError{p.what, p.address, "is loopback"}
			}
			for _, c := range clients {
				if slices.Contains(c.hello.Addresses, address) {
					return &LoopbackError{p.what, p.address, "is an address of " + c.name() + " itself"}
				}
			}
		}
	}
	return nil
}

func addressesOf(ctx context.Context, hostname string) []netip.Addr {
	if a, err := netip.ParseAddr(hostname); err == nil {
		return []netip.Addr{a.WithZone("").Unmap()}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", hostname)
	if err != nil {
		return nil
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found
}

// printable makes text of another host fit for a terminal.
func printable(text string) string {
	const most = 500
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
}
