package policy

import (
	"slices"
	"strconv"
)

// Policy is a compiled allow-list. It is immutable, and so safe for any number
// of goroutines and for being swapped behind an atomic pointer.
type Policy struct {
	name     string
	snapshot string
	access   string
	// entries are what may be reached: the list, and behind it each web domain
	// with either port. Nothing of it counts where the access is unrestricted.
	entries []Service
	listed  int // how many entries are the list
	// rules[i] is the rule that entries[i] is; built once, since Decide may not
	// allocate.
	rules    []rule
	exchange []Host
	ews      Host
	exact    map[uint16][]string // what ExactNames returns
	match    matcher
	// miss and missAddress are the answers to what match does not have, and
	// narrowed that to what the ticket's own list does not have.
	miss, missAddress, narrowed Decision
}

// rule is an entry's place, and the ID made of it.
type rule struct {
	list  string
	entry int // from 1
	id    string
}

func newRule(policy, list string, i int) rule {
	return rule{list, i + 1, policy + "/" + list + "[" + strconv.Itoa(i+1) + "]"}
}

// newPolicy indexes what spec.check made of a spec.
func newPolicy(name string, c *checked) *Policy {
	p := &Policy{
		name: name, access: c.access,
		entries: slices.Clip(c.services), listed: len(c.services),
		exchange: c.exchange, ews: c.ews,
		exact:       make(map[uint16][]string),
		miss:        Decision{Rule: name + "/deny", Reason: NotListed},
		missAddress: Decision{Rule: name + "/deny", Reason: AddressNotListed},
		narrowed:    Decision{Rule: name + "/narrowed", Reason: Narrowed},
	}
	for i := range c.services {
		p.rules = append(p.rules, newRule(name, ListServices, i))
	}
	for i, domain := range c.webDomains {
		rule := newRule(name, ListWebDomains, i)
		for _, port := range webPorts {
			domain.Port = port
			p.entries, p.rules = append(p.entries, domain), append(p.rules, rule)
		}
	}
	if p.access == AccessUnrestricted {
		p.miss = Decision{Rule: name + "/unrestricted", Reason: Unrestricted}
		p.missAddress = p.miss
		return p
	}
	p.match = newMatcher(p.entries)
	seen := make(map[Service]bool)
	for _, s := range p.entries {
		if s.Name != "" && !s.Wildcard && !seen[s] {
			seen[s] = true
			p.exact[s.Port] = append(p.exact[s.Port], s.Name)
		}
	}
	return p
}

// Name is the name under which the policy was compiled.
func (p *Policy) Name() string { return p.name }

// Snapshot is a short hash of the policy's content, 12 hex digits: it says
// which version of the list made a decision.
func (p *Policy) Snapshot() string { return p.snapshot }

// NetworkAccess is AccessTunneled, AccessUnrestricted or AccessWebSSO.
func (p *Policy) NetworkAccess() string { return p.access }

// Services returns the list of background network services, in its order, as a
// copy. With unrestricted access nothing of it is allowed.
func (p *Policy) Services() []Service { return slices.Clone(p.entries[:p.listed]) }

// ExactNames returns the listed names, wildcards and addresses apart, that are
// allowed on the port, in the list's order, web domains behind it. A client that
// sent an address is matched back to one of these, if its resolution holds that
// address. It is a copy; for a port on which no name is listed it is nil and
// costs nothing.
func (p *Policy) ExactNames(port uint16) []string { return slices.Clone(p.exact[port]) }

// Exchange returns the mail servers, most wanted first, as a copy.
func (p *Policy) Exchange() []Host { return slices.Clone(p.exchange) }

// EWSHost is where Exchange Web Services live: what the spec says, else the
// first mail server, else the zero Host.
func (p *Policy) EWSHost() Host { return p.ews }

// Knows reports whether a host may be reached on some port. It does not
// allocate.
func (p *Policy) Knows(h Host) bool { return p.match.knows(h) }

// Opens reports whether a host may be reached on a port: Decide, for a ticket
// that does not narrow. It does not allocate.
func (p *Policy) Opens(h Host, port uint16) bool {
	_, ok := p.match.find(h, port)
	return ok
}

// Holds reports whether something that may be reached lies in a domain: a name,
// a wildcard or a web domain at the domain or below it, or a wildcard that
// stands for it. The domain is a name as ParseHost makes it. It does not
// allocate.
func (p *Policy) Holds(domain string) bool { return p.match.holds(domain) }

// PortsOf returns the ports on which a host may be reached, ascending.
func (p *Policy) PortsOf(h Host) []uint16 { return p.match.portsOf(h) }

// DefaultDestination is where a ticket that names no destination leads: the
// first Exchange server, on 443 if that is listed, else on the first port that
// is listed for it, else on 443. It is false if there is no Exchange server.
// The destination is not allowed by being the default: Decide on it as on any.
func (p *Policy) DefaultDestination() (Host, uint16, bool) {
	const https = 443
	if len(p.exchange) == 0 {
		return Host{}, 0, false
	}
	host := p.exchange[0]
	if _, ok := p.match.find(host, https); ok {
		return host, https, true
	}
	if i, ok := p.match.earliest(host); ok {
		return host, p.entries[i].Port, true
	}
	return host, https, true
}

// Query asks whether a destination may be reached.
type Query struct {
	// Host comes from ParseHost or AddrHost.
	Host Host
	Port uint16
	// Narrow is what the ticket narrows the list to; nil is no narrowing.
	Narrow *Narrowing
}

// Reason says why a decision fell as it did. The list is closed, so that it
// may serve as a metric label.
type Reason string

// The reasons of a Decision.
const (
	// Listed: the list has the destination, and the ticket does not object.
	Listed Reason = "listed"
	// NotListed: the list does not have the name with this port.
	NotListed Reason = "not_listed"
	// AddressNotListed: the client sent an address that the list does not
	// have. The caller may match it back to one of the ExactNames.
	AddressNotListed Reason = "address_not_listed"
	// Narrowed: the list has the destination, the ticket's own list does not.
	Narrowed Reason = "narrowed"
	// Unrestricted: the devices of this policy are told to use no gateway, so
	// that nothing should arrive, and nothing is allowed.
	Unrestricted Reason = "unrestricted"
)

// The lists that a Decision may rest on.
const (
	ListServices   = "services"
	ListWebDomains = "web_domains"
)

// Decision is the answer to a Query. The zero Decision denies.
type Decision struct {
	Allow bool
	// Rule is the ID of the rule that decided: "NAME/services[N]" or
	// "NAME/web_domains[N]", "NAME/deny", "NAME/narrowed" or "NAME/unrestricted".
	Rule string
	// List and Entry are the list that allowed and the place in it, N in the rule's
	// ID, from 1 as error messages count; "" and 0 on a denial.
	List  string
	Entry int
	// Service is the entry that allowed, with the port; zero on a denial.
	Service Service
	Reason  Reason
}

// Decide answers from the name alone, before any resolution, and does not
// allocate. Of several entries that match, the exact one decides, and then the
// wildcard with the longest name; of two equal ones the list's, before a web
// domain.
func (p *Policy) Decide(q Query) Decision {
	i, ok := p.match.find(q.Host, q.Port)
	if !ok {
		if q.Host.Addr.IsValid() {
			return p.missAddress
		}
		return p.miss
	}
	if !q.Narrow.opens(q.Host, q.Port) {
		return p.narrowed
	}
	rule := &p.rules[i]
	return Decision{Allow: true, Rule: rule.id, List: rule.list, Entry: rule.entry, Service: p.entries[i], Reason: Listed}
}

// Narrowing is a ticket's own list, compiled. It is immutable.
type Narrowing struct {
	services []Service
	match    matcher
}

// opens reports whether the ticket does not object; a nil Narrowing never does.
func (n *Narrowing) opens(h Host, port uint16) bool {
	if n == nil {
		return true
	}
	_, ok := n.match.find(h, port)
	return ok
}

// Services returns what the ticket lists, in its order, as a copy.
func (n *Narrowing) Services() []Service { return slices.Clone(n.services) }

// maxNarrowing bounds a ticket's own list; a token of 4 KiB holds fewer.
const maxNarrowing = 1024

// CompileNarrowing compiles the services of a ticket, each "host:port" with
// the rules of ParseServices, wildcards included. A nil slice is a ticket that
// does not narrow, and gives a nil Narrowing; an empty one allows nothing. The
// error is a *ListError, its Entry being the place in the slice from 1 and its
// Column the place in that entry.
func CompileNarrowing(services []string) (*Narrowing, error) {
	if services == nil {
		return nil, nil
	}
	if len(services) > maxNarrowing {
		return nil, &ListError{Entry: maxNarrowing + 1, Column: 1, Problem: "the ticket lists more than 1024 services"}
	}
	compiled := make([]Service, 0, len(services))
	for i, entry := range services {
		service, f := parseEntry(entry)
		if f != nil {
			return nil, mistakeAt(entry, i+1, f.offset, f.text)
		}
		compiled = append(compiled, service)
	}
	return &Narrowing{services: compiled, match: newMatcher(compiled)}, nil
}
