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
	services []Service
	exchange []Host
	// rules[i] is the ID of services[i]; built once, since Decide may not
	// allocate.
	rules    []string
	denied   string
	narrowed string
	match    matcher
}

func newPolicy(name string, services []Service, exchange []Host) *Policy {
	p := &Policy{
		name:     name,
		services: services,
		exchange: exchange,
		denied:   name + "/deny",
		narrowed: name + "/narrowed",
		match:    newMatcher(services),
	}
	for i := range services {
		p.rules = append(p.rules, name+"/services["+strconv.Itoa(i+1)+"]")
	}
	return p
}

// Name is the name under which the policy was compiled.
func (p *Policy) Name() string { return p.name }

// Snapshot is a short hash of the policy's content, 12 hex digits: it says
// which version of the list made a decision.
func (p *Policy) Snapshot() string { return p.snapshot }

// Services returns the list, in its order, as a copy.
func (p *Policy) Services() []Service { return slices.Clone(p.services) }

// ExactNames returns the listed names, wildcards and addresses apart, that are
// allowed on the port, in the list's order. A client that sent an address is
// matched back to one of these, if its resolution holds that address.
func (p *Policy) ExactNames(port uint16) []string {
	var names []string
	for _, s := range p.services {
		if s.Port == port && s.Name != "" && !s.Wildcard {
			names = append(names, s.Name)
		}
	}
	return names
}

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
	for _, s := range p.services {
		if !s.Wildcard && s.Name == host.Name && s.Addr == host.Addr {
			return host, s.Port, true
		}
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
)

// Decision is the answer to a Query. The zero Decision denies.
type Decision struct {
	Allow bool
	// Rule is the ID of the rule that decided: "NAME/services[N]", where N
	// counts the entries of the list from 1 as error messages do, "NAME/deny"
	// or "NAME/narrowed".
	Rule string
	// Service is the entry that allowed; zero on a denial.
	Service Service
	Reason  Reason
}

// Decide answers from the name alone, before any resolution, and does not
// allocate. Of several entries that match, the exact one decides, and then the
// wildcard with the longest name.
func (p *Policy) Decide(q Query) Decision {
	i, ok := p.match.find(q.Host, q.Port)
	if !ok {
		if q.Host.Addr.IsValid() {
			return Decision{Rule: p.denied, Reason: AddressNotListed}
		}
		return Decision{Rule: p.denied, Reason: NotListed}
	}
	if q.Narrow != nil {
		if _, ok := q.Narrow.match.find(q.Host, q.Port); !ok {
			return Decision{Rule: p.narrowed, Reason: Narrowed}
		}
	}
	return Decision{Allow: true, Rule: p.rules[i], Service: p.services[i], Reason: Listed}
}

// Narrowing is a ticket's own list, compiled. It is immutable.
type Narrowing struct {
	match matcher
}

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
	return &Narrowing{match: newMatcher(compiled)}, nil
}
