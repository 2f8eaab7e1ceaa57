package gateway

import (
	"net/netip"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
)

// fix is what an operator can do, or "".
func (t *trial) fix(j *Judgement) string {
	if j.Allow {
		return ""
	}
	switch j.Reason {
	case string(policy.NotListed):
		return t.fixUnlisted(j)
	case string(policy.AddressNotListed):
		return t.fixUnlistedAddress(j)
	case string(policy.Narrowed):
		return "issue the ticket with " + j.To.String() + " among its services, or without a list"
	case string(policy.Unrestricted):
		return "set " + t.key("network_access") + " to " + policy.AccessTunneled + ", or let the devices go there directly"
	case labelNoSuchPolicy:
		return "add the policy under gateway.policies, or issue the ticket without naming one"
	case labelNotTrusted:
		return "add " + j.Policy + " to the policies of that authority under gateway.authorities, if that is meant"
	case labelNarrowing:
		return "issue the ticket with services written as host:port"
	case labelTooMany:
		return "see what the device does with so many tunnels, and revoke the ticket if it is in the wrong hands"
	case labelNoDestination:
		if t.policy == nil {
			return "issue the ticket with ICAAddress written as host:port"
		}
		return "set " + t.key("exchange_server") + ", or issue the ticket with an ICAAddress"
	}
	if strings.HasPrefix(j.Reason, hostLabel("")) {
		return "name a host, or an address in its usual spelling, in the device's settings or the ticket's ICAAddress"
	}
	if what := ticketFixes[ticket.Reason(j.Reason)]; what != "" {
		return what
	}
	return t.fixNames(j)
}

// fixUnlisted is for a name that is not on the list: what to put there, unless
// that would be refused too.
func (t *trial) fixUnlisted(j *Judgement) string {
	list, name := t.key("background_services"), t.ask.Host.Name
	switch {
	case t.isForDeviceDNS() || j.To.Host != name: // what looks like a handle does not belong on a list
		return ""
	case name == DeviceDNS && t.ask.Inside:
		return "none is needed: it is for devices alone"
	case name == DeviceDNS:
		return "have devices ask it on its port, 53"
	case t.address.OwnsName(name, 0):
		return "none is needed: it is the gateway itself, or its authority, where no tunnel may lead"
	case t.opensInside():
		return "none for devices: the inside door opens it, to servers that need no ticket (" + insideKey + ")"
	case !strings.Contains(name, "."):
		return "list it with its domain in " + list + ", and have devices use that name"
	}
	return "add " + j.To.String() + " to " + list
}

// opensInside tells whether what a device may not reach is what servers within may:
// then it does not belong on the devices' list.
func (t *trial) opensInside() bool {
	list := t.on.Inside
	return !t.ask.Inside && list != nil && list.Decide(policy.Query{Host: t.ask.Host, Port: t.ask.Port}).Allow
}

// fixUnlistedAddress is for an address that no listed name has.
func (t *trial) fixUnlistedAddress(j *Judgement) string {
	list := t.key("background_services")
	switch class, _ := classOf(t.address, "", netip.AddrPortFrom(t.ask.Host.Addr, t.ask.Port)); class {
	case policy.Own:
		return "none is needed: it is the gateway itself, or its authority, where no tunnel may lead"
	case policy.Never:
		return "none is needed: it is an address that is never dialled"
	case policy.PinnedOnly:
		return "if something there is meant, list a name for it in " + list + ", and pin that to the address under splitdns.hosts"
	}
	return "list the name that " + j.To.Host + " belongs to in " + list +
		", and if devices resolve it to other addresses than the gateway, pin it under splitdns.hosts"
}

// fixNames is for listed names whose address, or service, is at fault.
func (t *trial) fixNames(j *Judgement) string {
	switch name := t.listed(); j.Reason {
	case labelNameUnknown:
		return "pin " + name + " under splitdns.hosts, or mend its DNS"
	case labelNameTimeout, labelNameFailed:
		return "look at the DNS servers of splitdns that are asked for " + name + ", or pin it under splitdns.hosts"
	case addressLabel(policy.Private):
		if name == "" {
			return "list a name in place of the address, and pin it under splitdns.hosts"
		}
		return "pin " + name + " to " + t.firstRefused(j) + " under splitdns.hosts, or allow its network in the zone of " +
			name + " (splitdns.zones)"
	case addressLabel(policy.PinnedOnly):
		if name == "" {
			return "list a name in place of the address, and pin it under splitdns.hosts"
		}
		return "mend the DNS of " + name + ", or pin it to " + t.firstRefused(j) + " under splitdns.hosts if that is meant"
	case addressLabel(policy.Never):
		if name == "" {
			return "take " + j.To.String() + " off " + t.key("background_services")
		}
		return "mend the DNS of " + name
	case addressLabel(policy.Own):
		const because = "it leads back to the gateway or to its authority"
		if s := t.decision.Service; t.decision.List == policy.ListServices && !s.Wildcard {
			return "take " + s.String() + " off " + t.key("background_services") + ": " + because
		}
		return "mend the DNS of " + name + ": " + because
	case labelDialRefused, labelDialNetwork, labelDialHost, labelDialTimeout, labelDialFailed:
		return "see that something listens at " + Destination{t.ask.Host.String(), t.ask.Port}.String() + " and that the gateway may reach it"
	case labelNoPorts:
		return "add addresses to gateway.upstream.sources, or widen net.ipv4.ip_local_port_range"
	case labelSourceGone:
		return "give the machine its address back, or take it out of gateway.upstream.sources"
	case labelNoDescriptors:
		return "let the process open more files, two for each of gateway.max_tunnels and gateway.inside.max_tunnels, or lower them"
	case labelInternal:
		return "report it: it is a defect of the gateway"
	}
	return ""
}

// ticketFixes is what can be done about a ticket that is refused. Why it is stands
// in the refusal's own words.
var ticketFixes = map[ticket.Reason]string{
	ticket.Malformed:      "see that the device shows the whole ticket: the handle's 32 letters and digits, or the token",
	ticket.Unknown:        "issue a ticket, and see that it is this authority's and that the device shows the newest",
	ticket.Expired:        "have the device log on again, or issue another ticket; the gateway's clock counts",
	ticket.NotYetValid:    "see that the clocks of authority and gateway agree",
	ticket.WrongAudience:  "add the gateway's fqdn to sta.audience, and issue another ticket",
	ticket.WrongAuthority: "add the authority to gateway.authorities, or the policy to what it may give there, if that is meant",
	ticket.BadSignature:   "issue another ticket; if many are refused so, see that gateway and authority go by the same root and keys",
	ticket.Mismatch:       "issue another ticket, and look for who joins one ticket's statement to another's handle",
	ticket.Revoked:        "issue another ticket if the device is to come back",
	ticket.Held:           "wait: everyone was cut, and this ticket is let in again when its turn comes",
	ticket.NotSupported:   "have the device show its ticket in a form that is taken: as password, as token, or in the destination's place",
	ticket.Forbidden:      "see that the gateway is a client of the authority that may redeem, and that the ticket's policy is one that the authority may give",
	ticket.Unavailable:    "see that the gateway reaches its authority: a ticket that is not known here must be asked for",
	ticket.Busy:           "see who shows so many refused tickets; devices try again by themselves",
	// What the authority answers to a gateway that is not set up as it should be.
	ticket.Unauthenticated:  "see that the gateway's key or certificate is one that the authority knows",
	ticket.Invalid:          "see that gateway and authority are of the same version",
	ticket.NotFound:         "see that the authority's url in gateway.authorities is right",
	ticket.Ambiguous:        "see that gateway and authority are of the same version",
	ticket.TooLarge:         "see that gateway and authority are of the same version",
	ticket.MethodNotAllowed: "see that the authority's url in gateway.authorities is right",
}

// key is the path of a setting of the policy in the configuration file.
func (t *trial) key(setting string) string {
	if t.ask.Inside {
		return insideKey
	}
	if t.policy == nil || t.policy.Name() == policy.DefaultName {
		return "gateway.policy." + setting
	}
	return strings.Join([]string{"gateway.policies", t.policy.Name(), setting}, ".")
}

func (t *trial) firstRefused(j *Judgement) string {
	for _, a := range j.Addresses {
		if a.Refused != "" {
			return a.Addr.String()
		}
	}
	return "it"
}
