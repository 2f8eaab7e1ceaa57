package gateway

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// forms are the presentations that are taken, by where they stand. A second
// ticket beside the first is understood and not taken.
var forms = map[tunnel.Presented][]ticket.Form{
	tunnel.ByPassword:    {ticket.FormHandle, ticket.FormSTA},
	tunnel.ByToken:       {ticket.FormToken},
	tunnel.ByDestination: {ticket.FormSTA, ticket.FormHost},
	tunnel.ByHeader:      {ticket.FormHandle, ticket.FormSTA, ticket.FormToken},
}

// The names, in TicketData, of a ticket's own destination. The first that the
// ticket has counts.
var destinationValues = []string{"ICAAddress", "CGPAddress"}

// wanted is where a client wants to go: where it says, or, if all it sent is its
// ticket, where that says. The zero Host is the Exchange server of the policy,
// whichever that will be. Wherever it comes from, it is a wish: policy and address
// rules judge it as any other.
func wanted(claims *ticket.Claims, p *ticket.Presentation, d tunnel.Destination) (policy.Host, uint16, error) {
	if !d.InCredential {
		host, err := hostOf(d.Host, d.Addr)
		return host, d.Port, err
	}
	if p == nil { // inside, where there is no ticket to say it
		return policy.Host{}, 0, refuseNoDestination()
	}
	if p.Form == ticket.FormHost {
		return named(p.Host, d.Port)
	}
	for _, name := range destinationValues {
		for _, value := range claims.Data {
			if value.Name == name {
				return named(value.Value, 0)
			}
		}
	}
	return policy.Host{}, 0, nil
}

// hostOf reads what a carrier delivered.
func hostOf(name string, addr netip.Addr) (policy.Host, error) {
	host, err := policy.HostOf(name, addr)
	if err != nil {
		return policy.Host{}, refuseHost(err)
	}
	return host, nil
}

// named reads a host that may have a port behind it; otherwise the port is the
// one given, and there must be one.
func named(text string, port uint16) (policy.Host, uint16, error) {
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		// Not net.SplitHostPort, which would take brackets off a name.
		n, err := strconv.ParseUint(text[i+1:], 10, 16)
		if err != nil {
			return policy.Host{}, 0, refuseNoDestination()
		}
		text, port = text[:i], uint16(n)
	}
	host, err := policy.ParseHost(text)
	switch {
	case err != nil:
		return policy.Host{}, 0, refuseHost(err)
	case port == 0:
		return policy.Host{}, 0, refuseNoDestination()
	}
	return host, port, nil
}
