package lint

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/gateway/policy"
)

// Input is a policy and what surrounds it.
type Input struct {
	// Name is the policy's; "" is the default one's.
	Name string
	// Spec is the policy as written.
	Spec policy.Spec
	// Match says which tickets it is for; it narrows the platforms.
	Match policy.Match
	// Gateway is what devices are told, fqdn:port; "" leaves out the rules
	// that need it.
	Gateway string
	// Zones are the suffixes of the name space with DNS servers of their own.
	Zones []string
	// Facts are those to go by; nil means the built-in ones.
	Facts *Facts
	// Now is compared with dates.
	Now time.Time
}

// Check judges a policy. Findings are in a fixed order, by key and place; nil
// means that there is nothing to say. A policy that does not compile has none:
// its mistakes are those of policy.Compile.
func Check(in Input) []Finding {
	if in.Name == "" {
		in.Name = policy.DefaultName
	}
	compiled, err := policy.Compile(in.Name, in.Spec)
	if err != nil {
		return nil
	}
	c := newChecker(in, compiled)
	for _, judge := range []func(){
		c.unrestricted, c.webSSO, c.reverse, c.servicesGateway,
		c.push, c.richPush, c.intune, c.ewsOnline, c.ews,
		c.exchange, c.exchangeOnline, c.trusted, c.adfs, c.ldap,
		c.wildcards, c.targets, c.localDNS,
	} {
		judge()
	}
	return c.finish()
}

// checker judges one policy.
type checker struct {
	Input
	compiled *policy.Policy
	// access and split are the modes, defaults filled in.
	access, split string
	ios, android  bool
	list          []target // the services, in their order
	web           []target // the web domains
	exchangeHosts []policy.Host
	ewsHost       policy.Host // zero if it is not known
	gateway       policy.Service

	findings []Finding
	mends    []int // the findings that the corrected list mends
	edits    edits
}

// target is what a device may reach by one entry.
type target struct {
	field  string
	index  int // in web_domains, else -1
	entry  int // in background_services, else 0
	column int
	policy.Service
	ports []uint16
}

// text is the target as it is listed.
func (t target) text() string {
	if t.Port != 0 {
		return t.String()
	}
	if t.Wildcard {
		return "*." + t.Name
	}
	return t.Name
}

func newChecker(in Input, compiled *policy.Policy) *checker {
	c := &checker{Input: in, compiled: compiled, access: compiled.NetworkAccess(), split: in.Spec.SplitTunnel}
	if c.Facts == nil {
		c.Facts = DefaultFacts()
	}
	if c.split == "" {
		c.split = "off"
	}
	c.ios, c.android = platforms(in)
	c.list = services(in.Spec.Services)
	c.web = webDomains(in.Spec.WebDomains)
	c.exchangeHosts, c.ewsHost = compiled.Exchange(), compiled.EWSHost()
	c.gateway, _ = hostPort(in.Gateway)
	return c
}

// platforms says which platforms the policy's devices have. The ticket decides,
// where the policy asks it; else the console is believed.
func platforms(in Input) (ios, android bool) {
	said := in.Match.Platforms
	if len(said) == 0 {
		said = in.Spec.Console.Platforms
	}
	is := func(platform string) bool {
		return len(said) == 0 || slices.ContainsFunc(said, func(s string) bool { return strings.EqualFold(s, platform) })
	}
	return is("ios"), is("android")
}

// services gives the list with places. It parses, since the policy compiled.
func services(list string) []target {
	parsed, err := policy.ParseServices(list)
	if err != nil {
		return nil
	}
	targets := make([]target, 0, len(parsed))
	column := 1
	for entry := range strings.SplitSeq(list, ",") {
		n := len(targets)
		if n == len(parsed) {
			break // the empty list
		}
		s := parsed[n]
		targets = append(targets, target{"background_services", -1, n + 1, column, s, []uint16{s.Port}})
		column += utf8.RuneCountInString(entry) + 1
	}
	return targets
}

func webDomains(domains []string) []target {
	var targets []target
	for i, domain := range domains {
		name, wildcard := strings.CutPrefix(domain, "*.")
		host := hostOf(name)
		s := policy.Service{Name: host.Name, Addr: host.Addr, Wildcard: wildcard}
		targets = append(targets, target{"web_domains", i, 0, 0, s, []uint16{80, 443}})
	}
	return targets
}

// hostOf is the zero Host for what is no host: it is listed nowhere.
func hostOf(s string) policy.Host {
	host, _ := policy.ParseHost(strings.TrimSpace(s))
	return host
}

// hostPort reads "host:port".
func hostPort(s string) (policy.Service, bool) {
	services, err := policy.ParseServices(strings.TrimSpace(s))
	if err != nil || len(services) != 1 {
		return policy.Service{}, false
	}
	return services[0], true
}

// allows asks the policy itself.
func (c *checker) allows(host policy.Host, port uint16) bool {
	return c.compiled.Decide(policy.Query{Host: host, Port: port}).Allow
}

// knows reports whether the host is allowed on any port.
func (c *checker) knows(host policy.Host) bool { return c.compiled.Knows(host) }

// entries are the list and the web domains.
func (c *checker) entries() []target { return slices.Concat(c.list, c.web) }

// viaGateway reports whether devices send anything here at all.
func (c *checker) viaGateway() bool { return c.access != policy.AccessUnrestricted }

// online reports whether the host is one of Exchange Online.
func (c *checker) online(host policy.Host) bool { return c.Facts.ExchangeOnline.has(host) }

// say adds a finding about a key.
func (c *checker) say(rule string, severity Severity, field, problem, fix string) {
	c.sayOf(rule, severity, field, -1, problem, fix)
}

// sayOf adds a finding about an item of a list, by its index.
func (c *checker) sayOf(rule string, severity Severity, field string, index int, problem, fix string) {
	c.findings = append(c.findings, Finding{
		Rule: rule, Severity: severity, Field: field, Index: index, Problem: problem, Fix: fix,
	})
}

// sayAt adds a finding about an entry.
func (c *checker) sayAt(rule string, severity Severity, t target, problem, fix string) {
	c.findings = append(c.findings, Finding{
		Rule: rule, Severity: severity, Field: t.field, Index: t.index, Entry: t.entry, Column: t.column,
		Problem: t.text() + " " + problem, Fix: fix,
	})
}

// mended marks the last finding as one that the corrected list mends.
func (c *checker) mended() { c.mends = append(c.mends, len(c.findings)-1) }

// finish shows the corrected list with the findings that it mends, one list for
// all of them, so that to write it once is enough.
func (c *checker) finish() []Finding {
	list := c.edits.apply(c.list)
	for _, i := range c.mends {
		if len(list) <= maxShownList {
			c.findings[i].Fix += "; the corrected list is " + strconv.Quote(list)
		}
	}
	sortFindings(c.findings)
	return c.findings
}

// privateAddress reports whether a listed address could not be dialled.
func privateAddress(addr netip.Addr) bool {
	return addr.IsValid() && policy.Classify(addr) != policy.Public
}
