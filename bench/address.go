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
		printable(e.What), printable(e.Address), printable(e.Why))
}

// plainHost is whether a host may be dialled as another host says it: an address without
// a zone, or letters, digits, dots, hyphens and underscores.
func plainHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Zone() == ""
	}
	return host != "" && len(host) <= 253 && !strings.ContainsFunc(host, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
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

// place is an address that traffic goes to. What counts is who has it, and not how it
// is written: owners are the addresses that its name stands for.
type place struct {
	what, address string
	owners        []netip.Addr
}

// placed looks up who has an address. A name that only others know is theirs to judge,
// and has nobody here.
func placed(ctx context.Context, what, address string) (place, error) {
	hostname, _, err := net.SplitHostPort(address)
	if err != nil {
		return place{}, fmt.Errorf("%s: %w", what, err)
	}
	return place{what, address, addressesOf(ctx, hostname)}, nil
}

// within is whether one of these addresses has the place.
func (p place) within(addresses []netip.Addr) bool {
	return slices.ContainsFunc(p.owners, func(a netip.Addr) bool { return slices.Contains(addresses, a) })
}

// leadsOut refuses a place that is on the host of a client that will dial it.
func (p place) leadsOut(clients []*party) error {
	for _, a := range p.owners {
		if a.IsLoopback() || a.IsUnspecified() {
			return &LoopbackError{p.what, p.address, "is loopback"}
		}
	}
	for _, c := range clients {
		if p.within(c.hello.Addresses) {
			return &LoopbackError{p.what, p.address, "is an address of " + c.name() + " itself"}
		}
	}
	return nil
}

// sameHost is whether two agents have the very same addresses. One that both have would
// not do: every host with containers has 172.17.0.1.
func sameHost(a, b []netip.Addr) bool {
	far := func(all []netip.Addr) []netip.Addr {
		return slices.SortedFunc(func(yield func(netip.Addr) bool) {
			for _, each := range all {
				if !each.IsLoopback() && !each.IsLinkLocalUnicast() && !yield(each) {
					return
				}
			}
		}, netip.Addr.Compare)
	}
	mine, yours := far(a), far(b)
	return len(mine) > 0 && slices.Equal(mine, yours)
}

// addressesOf are those that a name stands for; none if nobody here knows it. Without a
// name, this host is dialled.
func addressesOf(ctx context.Context, hostname string) []netip.Addr {
	if hostname == "" {
		return []netip.Addr{netip.IPv6Unspecified()}
	}
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
		found[i] = found[i].WithZone("").Unmap()
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
