package lint

import (
	"errors"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// Change is what becomes of some devices.
type Change struct {
	// Devices are those that it happens to, disjoint, in a fixed order.
	Devices []Devices `json:"devices"`
	Before  Chosen    `json:"before"`
	After   Chosen    `json:"after"`
	// Gains and Loses are services as they are listed, in order; a web domain is
	// one for port 80 and one for port 443. A wildcard stands for the names below
	// it that nothing else lists.
	Gains []string `json:"gains"`
	Loses []string `json:"loses"`
}

// Chosen is the policy of a device.
type Chosen struct {
	// Policy is its name; "" if a ticket names one that is not there, and so is
	// refused.
	Policy string `json:"policy"`
	// NetworkAccess is unrestricted, tunneled or web_sso; "" with Policy "".
	NetworkAccess string `json:"network_access"`
}

// Diff tells what changes for whom from one set of policies to another. The
// devices are told apart by app, platform and group, by every word that a match
// of either set has, and by those that have none of them; and by the policy that
// their ticket names. A device with several groups has the fate of the one whose
// policy comes first.
//
// Named are the policies that the sets were made of, the default one with the
// name "default" and its Spec among them: wildcards of web domains are found in a
// Spec only, so that a change of those in a policy that is left out goes unseen.
//
// ErrTooManyKinds is the only error.
func Diff(old, new *policy.Set, oldNamed, newNamed []policy.Named) ([]Change, error) {
	d := &differ{
		old: old, new: new, specs: [2][]policy.Named{oldNamed, newNamed},
		known: make(map[pair]outcome), index: make(map[string]int),
	}
	matches := make([]policy.Match, 0, len(oldNamed)+len(newNamed))
	for _, n := range slices.Concat(oldNamed, newNamed) {
		matches = append(matches, n.Match)
	}
	apps := newDimension(matches, func(m policy.Match) []string { return m.Apps })
	platforms := newDimension(matches, func(m policy.Match) []string { return m.Platforms })
	groups := newDimension(matches, func(m policy.Match) []string { return m.Groups })
	if len(apps.classes)*len(platforms.classes)*len(groups.classes) > maxKinds {
		return nil, ErrTooManyKinds
	}
	for a := range apps.classes {
		for p := range platforms.classes {
			for g := range groups.classes {
				h := policy.Holder{
					App: apps.word(a), Platform: platforms.word(p), Groups: []string{groups.word(g)},
				}
				d.bucket(h, box{{a}, {p}, {g}})
			}
		}
	}
	for _, name := range d.names() {
		d.bucket(policy.Holder{Policy: name}, nil)
	}
	dimensions := [3]dimension{apps, platforms, groups}
	for i := range d.changes {
		for _, b := range merged(d.boxes[i], dimensions) {
			d.changes[i].Devices = append(d.changes[i].Devices, b.devices(dimensions))
		}
		d.changes[i].Devices = append(d.changes[i].Devices, d.byName[i]...)
	}
	return d.changes, nil
}

// maxKinds bounds the kinds of devices that are told apart: apps times platforms
// times groups, as far as policies tell these apart. It takes policies that
// overlap in many ways to exceed it, and a second to go through as many.
const maxKinds = 1 << 20

// ErrTooManyKinds: the matches of the policies tell too many kinds of devices
// apart to go through them.
var ErrTooManyKinds = errors.New("the policies tell over 1,048,576 kinds of devices apart by app, platform and group: compare files with fewer of them")

// differ gathers changes.
type differ struct {
	old, new *policy.Set
	specs    [2][]policy.Named
	known    map[pair]outcome
	index    map[string]int // of changes, by what happens
	changes  []Change
	boxes    [][]box     // the devices of each change
	byName   [][]Devices // those whose tickets name a policy
}

type pair struct{ old, new *policy.Policy }

// outcome is what a pair of policies means to a device; key tells two apart.
type outcome struct {
	Change
	key string
}

// bucket adds devices to their change, if there is one. No box means those whose
// tickets name a policy.
func (d *differ) bucket(h policy.Holder, b box) {
	p := pair{d.old.For(h), d.new.For(h)}
	out, seen := d.known[p]
	if !seen {
		out = d.outcome(p)
		d.known[p] = out
	}
	if out.key == "" {
		return
	}
	i, seen := d.index[out.key]
	if !seen {
		i = len(d.changes)
		d.index[out.key] = i
		d.changes = append(d.changes, out.Change)
		d.boxes = append(d.boxes, nil)
		d.byName = append(d.byName, nil)
	}
	if b != nil {
		d.boxes[i] = append(d.boxes[i], b)
	} else {
		d.byName[i] = append(d.byName[i], Devices{Policy: h.Policy})
	}
}

// names are those that a ticket may name, sorted.
func (d *differ) names() []string {
	var names []string
	for _, set := range []*policy.Set{d.old, d.new} {
		for _, p := range set.All() {
			names = append(names, p.Name())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// outcome compares two policies, either of which may be nil.
func (d *differ) outcome(p pair) outcome {
	c := Change{Before: chosen(p.old), After: chosen(p.new), Gains: []string{}, Loses: []string{}}
	candidates := append(d.candidates(p.old), d.candidates(p.new)...)
	fresh := freshLabel(candidates)
	for _, s := range candidates {
		host := policy.Host{Name: s.Name, Addr: s.Addr}
		if s.Wildcard {
			host.Name = fresh + "." + s.Name
		}
		before, after := allows(p.old, host, s.Port), allows(p.new, host, s.Port)
		switch {
		case after && !before:
			c.Gains = append(c.Gains, s.String())
		case before && !after:
			c.Loses = append(c.Loses, s.String())
		}
	}
	c.Gains, c.Loses = sortedOnce(c.Gains), sortedOnce(c.Loses)
	if c.Before == c.After && len(c.Gains)+len(c.Loses) == 0 {
		return outcome{}
	}
	key := strings.Join([]string{
		c.Before.Policy, c.Before.NetworkAccess, c.After.Policy, c.After.NetworkAccess,
		strings.Join(c.Gains, ","), strings.Join(c.Loses, ","),
	}, "|") // names and lists hold neither
	return outcome{c, key}
}

func sortedOnce(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

func chosen(p *policy.Policy) Chosen {
	if p == nil {
		return Chosen{}
	}
	return Chosen{p.Name(), p.NetworkAccess()}
}

func allows(p *policy.Policy, host policy.Host, port uint16) bool {
	return p != nil && p.Decide(policy.Query{Host: host, Port: port}).Allow
}

// candidates are what a policy may allow: its list, and its web domains.
func (d *differ) candidates(p *policy.Policy) []policy.Service {
	if p == nil {
		return nil
	}
	all := p.Services()
	add := func(s policy.Service, ports ...uint16) {
		for _, port := range ports {
			s.Port = port
			all = append(all, s)
		}
	}
	for _, port := range []uint16{80, 443} {
		for _, name := range p.ExactNames(port) {
			add(policy.Service{Name: name}, port)
		}
	}
	for _, named := range slices.Concat(d.specs[0], d.specs[1]) {
		if named.Name == p.Name() {
			for _, t := range webDomains(named.Spec.WebDomains) {
				add(t.Service, t.ports...)
			}
		}
	}
	return all
}

// freshLabel is one that begins no name among the services.
func freshLabel(services []policy.Service) string {
	first := make(map[string]bool)
	for _, s := range services {
		label, _, _ := strings.Cut(s.Name, ".")
		first[label] = true
	}
	label := "other"
	for first[label] {
		label += "x"
	}
	return label
}
