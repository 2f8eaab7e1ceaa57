package gateway

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// This file puts a trial into words. Nothing here decides, and nothing of it runs
// for a tunnel that is allowed.

const (
	// maxCause bounds, in bytes, what a resolver's or a ticket's own words add to a
	// sentence.
	maxCause = 400
	// maxTold bounds the addresses and aliases that a sentence counts up.
	maxTold = 4
	// maxPolicies is the same for policies.
	maxPolicies = 5
)

// ticketJudgement explains why a ticket was refused. Nothing was decided about a
// destination then.
func ticketJudgement(refusal *tunnel.Refusal) *Judgement {
	return &Judgement{
		Reason: refusal.Label, Why: brief(refusal.Text), Fix: ticketFixes[ticket.Reason(refusal.Label)], Refusal: refusal,
	}
}

// judgement explains what was found.
func (t *trial) judgement() *Judgement {
	j := &Judgement{
		Allow: t.refusal == nil, Reason: string(policy.Listed), Refusal: t.refusal,
		Snapshot: t.snapshotID(), Since: t.since(), Rule: t.decision.Rule,
		To: Destination{shown(t.ask.Host, t.decision.Allow), t.ask.Port}, Matched: t.matched,
		Source: brief(string(t.found.Source)), Server: brief(t.found.Server),
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

// brief is somebody else's words as they may be written, cut between two of them.
func brief(text string) string {
	const more = "…"
	text = tunnel.SafeText(text, 4*maxCause)
	if len(text) <= maxCause {
		return text
	}
	text = text[:maxCause-len(more)]
	if i := strings.LastIndexByte(text, ' '); i > 0 {
		text = text[:i]
	}
	return strings.TrimRight(strings.ToValidUTF8(text, ""), " ,;:(") + more
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
		class, refused := classOf(t.address, t.listed(), netip.AddrPortFrom(addr, t.ask.Port))
		all = append(all, JudgedAddress{addr, class.String(), refused})
	}
	return all
}

// classOf is the class of an address, and why the rules refuse it for a name, or "".
func classOf(rules *policy.AddressRules, name string, to netip.AddrPort) (class policy.Class, why string) {
	var refused *policy.AddressError
	if errors.As(rules.Check(name, to), &refused) {
		return refused.Class, refused.Reason
	}
	return policy.Classify(to.Addr()), ""
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
	if t.ask.Inside {
		return t.refusal.Text
	}
	switch j.Reason {
	case labelNoSuchPolicy:
		return "the ticket names the policy " + brief(t.ask.Holder.Policy) + ", which is not among those of snapshot " +
			j.Snapshot + ": " + t.policies()
	case labelNotTrusted:
		return t.denial(j)
	case labelNoDestination:
		if t.policy != nil {
			return "neither client nor ticket names a host and port, and " + t.version(j) + " has no Exchange server"
		}
		return "the client's or the ticket's own destination is no host and port"
	}
	var host *policy.HostError
	switch {
	case t.refusal == nil:
		return ""
	case errors.As(t.refusal, &host):
		return "the destination is no host: " + host.Reason.Text()
	}
	return t.refusal.Text
}

// policies names those that a ticket may name.
func (t *trial) policies() string {
	var names []string
	for _, p := range t.on.Policies.All() {
		names = append(names, p.Name())
	}
	return strings.Join(atMost(maxPolicies, names), ", ")
}

// atMost counts what is over the bound.
func atMost(most int, texts []string) []string {
	if more := len(texts) - most; more > 0 {
		return append(texts[:most:most], strconv.Itoa(more)+" more")
	}
	return texts
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

// entry is the place in its list that allowed.
func (t *trial) entry() string {
	n := strconv.Itoa(t.decision.Entry)
	if t.decision.List == policy.ListWebDomains {
		return "web domain " + n
	}
	return "entry " + n
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
		return j.To.String() + " is not listed in " + t.version(j) + t.otherPorts()
	case labelNotTrusted:
		return "the ticket would have " + t.version(j) + ", which its authority " + brief(t.ask.Authority) + " may not give"
	case labelNarrowing:
		return "the ticket's own list of services cannot be read, so that nothing is allowed"
	case string(policy.Unrestricted):
		return "network access is unrestricted in " + t.version(j) + ": then devices send nothing here, and nothing is allowed"
	}
	return t.refusal.Text + ", by " + t.version(j)
}

// maxPortsTold bounds the ports that a sentence names.
const maxPortsTold = 8

// otherPorts tells with which ports a host is listed that is not listed with the
// one that was asked for: most often it is a port that somebody mistook.
func (t *trial) otherPorts() string {
	ports := t.policy.PortsOf(t.ask.Host)
	if len(ports) == 0 {
		return ""
	}
	var list []string
	for _, port := range ports[:min(len(ports), maxPortsTold)] {
		list = append(list, strconv.Itoa(int(port)))
	}
	if len(ports) > maxPortsTold {
		list = append(list, "…")
	}
	return "; it is listed with port " + strings.Join(list, ", ")
}

// answer says which addresses the name has, and what the rules say to them.
func (t *trial) answer(j *Judgement) string {
	verdict, told := t.verdict(j)
	switch source := j.Source; {
	case t.matched != "" || t.ask.Host.Addr.IsValid():
		return told + " is " + verdict
	case t.found.Source == SourceHosts:
		return "splitdns.hosts pins it to " + told + ", " + verdict
	default:
		if source == "" {
			source = "the resolver"
		} else if t.found.Source == SourcePublic {
			source = "public DNS"
		}
		if j.Stale {
			source += ", whose servers do not answer now, had"
		}
		s := source + " answered " + told
		if len(j.Chain) > 0 {
			s += " by way of " + strings.Join(atMost(maxTold, j.Chain), ", ")
		}
		return s + ", " + verdict
	}
}

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
	case t.found.Source == SourceHosts:
		verdict = "which is what it may have"
	case t.matched != "":
		verdict = "what it may have"
	default:
		verdict = "which the zone allows"
	}
	return verdict, strings.Join(atMost(maxTold, good), ", ")
}

// failure is why a listed name has no address.
func (t *trial) failure() string {
	var dns *net.DNSError
	text := lookUpFailures[t.refusal.Label]
	if errors.As(t.refusal, &dns) && dns.Err != "" {
		return text + ": " + brief(dns.Err)
	}
	return text
}
