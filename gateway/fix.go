package gateway

import (
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// fix is what an operator can do, or "".
func (t *trial) fix(j *Judgement) string {
	if j.Allow {
		return ""
	}
	switch j.Reason {
	case string(policy.NotListed):
		if t.isForDeviceDNS() {
			return ""
		}
		return "add " + j.To.String() + " to " + t.key("background_services")
	case string(policy.AddressNotListed):
		return "list the name that " + j.To.Host + " belongs to in " + t.key("background_services") +
			", and if devices resolve it to other addresses than the gateway, pin it under splitdns.hosts"
	case string(policy.Narrowed):
		return "issue the ticket with " + j.To.String() + " among its services, or without a list"
	case labelUnrestricted:
		return "set " + t.key("network_access") + " to tunneled, or let the devices go there directly"
	case labelNoSuchPolicy:
		return "add the policy under gateway.policies, or issue the ticket without naming one"
	case labelNarrowing:
		return "issue the ticket with services written as host:port"
	case labelNoDestination:
		if t.policy == nil {
			return "issue the ticket with ICAAddress written as host:port"
		}
		return "set " + t.key("exchange_server") + ", or issue the ticket with an ICAAddress"
	}
	return t.fixNames(j)
}

// fixNames is for listed names whose address, or service, is at fault.
func (t *trial) fixNames(j *Judgement) string {
	switch name := t.listed(); j.Reason {
	case labelNameUnknown:
		return "pin " + name + " under splitdns.hosts, or mend its DNS"
	case labelNameTimeout, labelNameFailed:
		return "look at the DNS servers of splitdns that are asked for " + name + ", or pin it under splitdns.hosts"
	case "address_private":
		if name == "" {
			return "list a name in place of the address, and pin it under splitdns.hosts"
		}
		return "pin " + name + " to " + t.firstRefused(j) + " under splitdns.hosts, or allow its network in the zone of " +
			name + " (splitdns.zones)"
	case "address_pinned_only":
		if name == "" {
			return "list a name in place of the address, and pin it under splitdns.hosts"
		}
		return "mend the DNS of " + name + ", or pin it to " + t.firstRefused(j) + " under splitdns.hosts if that is meant"
	case "address_never":
		if name == "" {
			return "take " + j.To.String() + " off " + t.key("background_services")
		}
		return "mend the DNS of " + name
	case "address_own":
		return "take " + j.To.String() + " off " + t.key("background_services") + ": it leads back to the gateway or to its authority"
	case labelDialRefused, labelDialNetwork, labelDialHost, labelDialTimeout, labelDialFailed:
		return "see that something listens at " + Destination{name, t.ask.Port}.String() + " and that the gateway may reach it"
	}
	return ""
}

// key is the path of a setting of the policy in the configuration file.
func (t *trial) key(setting string) string {
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
