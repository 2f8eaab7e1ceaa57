package gateway

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
)

// This file puts a trial into words. Nothing here decides, and nothing of it runs
// for a tunnel that is allowed.

const (
	// maxCause bounds what a resolver's or a ticket's own words add to a sentence.
	maxCause = 200
	// maxTold bounds the addresses and aliases that a sentence counts up.
	maxTold = 4
)

// judgement explains what was found.
func (t *trial) judgement() *Judgement {
	j := &Judgement{
		Allow: t.refusal == nil, Reason: string(policy.Listed), Refusal: t.refusal,
		Snapshot: t.on.id, Since: t.on.Since, Rule: t.decision.Rule,
		To: Destination{shown(t.ask.Host, t.decision.Allow), t.ask.Port}, Matched: t.matched,
		Source: tunnel.SafeText(t.found.Source, maxCause), Server: tunnel.SafeText(t.found.Server, maxCause),
		Chain: shownAll(t.found.Chain), Stale: t.found.Stale, Addresses: t.judged(),
	}
	if t.policy != nil {
		j.Policy = t.policy.Name()
	}
	if t.refusal != nil {
		j.Reason = t.refusal.Label
	}
	j.Why, j.Fix = t.why(j), t.fix(j)
	return j
}

// shown is a host as it may be written. What is on no list may be a ticket that
// somebody put there, in lower case as all names are by now.
func shown(host policy.Host, allowed bool) string {
	switch {
	case host == policy.Host{}:
		return ""
	case allowed || host.Addr.IsValid():
		return host.String()
	default:
		return shownName(host.Name)
	}
}

// shownName is a name without what may be a handle.
func shownName(name string) string {
	upper := strings.ToUpper(name)
	if safe := tunnel.SafeText(upper, len(upper)+maxCause); safe != upper {
		return strings.ToLower(safe)
	}
	return name
}

func shownAll(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, shownName(name))
	}
	return all
}

// judged asks the rules about each address again: they are pure.
func (t *trial) judged() []JudgedAddress {
	var all []JudgedAddress
	for _, addr := range t.found.Addrs {
		addr = addr.Unmap()
		judged := JudgedAddress{Addr: addr, Class: policy.Classify(addr).String()}
		var refused *policy.AddressError
		if errors.As(t.on.Address.Check(t.listed(), netip.AddrPortFrom(addr, t.ask.Port)), &refused) {
			judged.Class, judged.Refused = refused.Class.String(), refused.Reason
		}
		all = append(all, judged)
	}
	return all
}

// why is the sentence that names rule, version and answer, as far as it came.
func (t *trial) why(j *Judgement) string {
	if t.ask.Host == (policy.Host{}) || t.policy == nil {
		return t.beforeTheList(j)
	}
	switch {
	case t.dns && j.Allow:
		return j.To.String() + " is the gateway's own DNS for devices under " + t.version(j)
	case t.dns:
		return j.To.String() + " is the gateway's own DNS for devices under " + t.version(j) + ", but " + t.refusal.Text
	case t.decision.Allow && j.Allow:
		return t.listing(j) + "; " + t.answer(j)
	case t.decision.Allow && len(t.good) > 0: // what came after the judgement
		return t.listing(j) + "; " + t.answer(j) + "; but " + t.refusal.Text
	case t.decision.Allow && len(t.found.Addrs) > 0:
		return t.listing(j) + "; but " + t.answer(j)
	case t.decision.Allow:
		return t.listing(j) + "; but " + t.failure()
	}
	return t.denial(j)
}

// beforeTheList is for what was refused before the list was asked.
func (t *trial) beforeTheList(j *Judgement) string {
	switch j.Reason {
	case labelNoSuchPolicy:
		return "the ticket names the policy " + tunnel.SafeText(t.ask.Holder.Policy, maxCause) +
			", which is not among those of snapshot " + j.Snapshot
	case labelNoDestination:
		if t.policy != nil {
			return "neither client nor ticket names a host and port, and " + t.version(j) + " has no Exchange server"
		}
		return "the client's or the ticket's own destination is no host and port"
	}
	if t.refusal == nil {
		return ""
	}
	return t.refusal.Text
}

// version names the policy, its snapshot and its age.
func (t *trial) version(j *Judgement) string {
	s := "policy " + j.Policy + ", snapshot " + j.Snapshot
	if !j.Since.IsZero() {
		s += ", in force since " + j.Since.UTC().Format(time.RFC3339)
	}
	return s
}

// listing says where the destination is listed.
func (t *trial) listing(j *Judgement) string {
	if t.matched == "" {
		return j.To.String() + " is " + t.entry() + " of " + t.version(j)
	}
	return t.ask.Host.String() + " is an address of " + t.matched + ", and " +
		Destination{t.matched, t.ask.Port}.String() + " is " + t.entry() + " of " + t.version(j)
}

// entry puts a rule's ID into words: "entry 1" for default/services[1].
func (t *trial) entry() string {
	_, rule, _ := strings.Cut(t.decision.Rule, "/")
	kind, n, ok := strings.Cut(strings.TrimSuffix(rule, "]"), "[")
	switch {
	case ok && kind == "services":
		return "entry " + n
	case ok && kind == "web_domains":
		return "web domain " + n
	}
	return "rule " + rule
}

// denial is for a name or address that the list, or the ticket, does not allow.
func (t *trial) denial(j *Judgement) string {
	switch j.Reason {
	case string(policy.AddressNotListed):
		return j.To.String() + " is not listed in " + t.version(j) +
			", and is no address that the gateway finds for a name listed with that port"
	case string(policy.Narrowed):
		return j.To.String() + " is listed in " + t.version(j) + ", but not in the ticket's own list"
	case string(policy.NotListed):
		if t.isForDeviceDNS() {
			return j.To.String() + " is the gateway's own DNS for devices, which is not offered under " + t.version(j)
		}
		return j.To.String() + " is not listed in " + t.version(j)
	case labelNarrowing:
		return "the ticket's own list of services cannot be read, so that nothing is allowed"
	case labelUnrestricted:
		return "network access is unrestricted in " + t.version(j) + ": then devices send nothing here, and nothing is allowed"
	}
	return t.refusal.Text + ", by " + t.version(j)
}

// answer says which addresses the name has, and what the rules say to them.
func (t *trial) answer(j *Judgement) string {
	verdict, told := t.verdict(j)
	switch source := j.Source; {
	case t.matched != "" || t.ask.Host.Addr.IsValid():
		return told + " is " + verdict
	case source == sourceHosts:
		return "splitdns.hosts pins it to " + told + ", " + verdict
	default:
		if source == "" {
			source = "the resolver"
		} else if source == sourcePublic {
			source = "public DNS"
		}
		if j.Stale {
			source += ", whose servers do not answer now, had"
		}
		s := source + " answered " + told
		if len(j.Chain) > 0 {
			s += " by way of " + strings.Join(j.Chain[:min(len(j.Chain), maxTold)], ", ")
		}
		return s + ", " + verdict
	}
}

// The sources of a Resolution that are put into other words.
const (
	sourceHosts  = "hosts"
	sourcePublic = "public"
)

// verdict is what the rules say to the addresses that decided: the good ones, or
// if there are none the first.
func (t *trial) verdict(j *Judgement) (verdict, told string) {
	var good []string
	class := ""
	for _, a := range j.Addresses {
		if a.Refused == "" {
			good, class = append(good, a.Addr.String()), a.Class
		}
	}
	switch {
	case len(good) == 0 && len(j.Addresses) > 0:
		return j.Addresses[0].Refused, j.Addresses[0].Addr.String()
	case class == policy.Public.String():
		verdict = "a public address"
	case j.Source == sourceHosts:
		verdict = "which is what it may have"
	case t.matched != "":
		verdict = "what it may have"
	default:
		verdict = "which the zone allows"
	}
	if more := len(good) - maxTold; more > 0 {
		good = append(good[:maxTold], strconv.Itoa(more)+" more")
	}
	return verdict, strings.Join(good, ", ")
}

// failure is why a listed name has no address.
func (t *trial) failure() string {
	var dns *net.DNSError
	if errors.As(t.refusal, &dns) && dns.Err != "" {
		return strings.TrimPrefix(t.refusal.Text, "name: ") + " (" + tunnel.SafeText(dns.Err, maxCause) + ")"
	}
	return strings.TrimPrefix(t.refusal.Text, "name: ")
}
