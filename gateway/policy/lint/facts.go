package lint

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
)

// builtIn are the facts that hold where an operator gives no others.
//
//go:embed facts.json
var builtIn []byte

// Facts are what lint knows of the world outside: data with a source and a
// date, since every item of it can change without us.
type Facts struct {
	// Regions are those of the listener service: americas, emea and apac.
	Regions []Region `json:"regions"`
	// ExchangeOnline are the host names by which Exchange Online is recognised.
	ExchangeOnline Hosts `json:"exchange_online"`
	// TrustedExchangeOnline and TrustedADFS are what the console trusts unless
	// told otherwise.
	TrustedExchangeOnline Hosts `json:"trusted_exchange_online"`
	TrustedADFS           Hosts `json:"trusted_adfs"`
	// EWS are the dates on which Exchange Web Services leave Exchange Online.
	EWS Retirement `json:"ews_in_exchange_online"`
	// Ports are one for each Use.
	Ports []Port `json:"ports"`
}

// Origin says where a fact comes from.
type Origin struct {
	Source string `json:"source"`
	// AsOf is the day on which the fact was written down or last looked at.
	AsOf Date `json:"as_of"`
	// Note is free text, or "".
	Note string `json:"note,omitempty"`
}

// Region is a region of the listener service. It is that of the Exchange
// server, wherever the device is.
type Region struct {
	// Name is americas, emea or apac.
	Name string `json:"name"`
	// PushReg is where devices register for push.
	PushReg Endpoint `json:"pushreg"`
	// MailboxListener is where Exchange posts its notifications. Devices have
	// no business there.
	MailboxListener Endpoint `json:"mailboxlistener"`
}

// Endpoint is a host of the listener service.
type Endpoint struct {
	// Host is a normalised name.
	Host string `json:"host"`
	// Port is 1–65535.
	Port uint16 `json:"port"`
	// Addresses are public ones, as published; cloud addresses change owners.
	Addresses []netip.Addr `json:"addresses"`
	Origin
}

// service is the endpoint as an entry of a list.
func (e Endpoint) service() policy.Service { return policy.Service{Name: e.Host, Port: e.Port} }

// Hosts are normalised names, at least one.
type Hosts struct {
	Hosts []string `json:"hosts"`
	Origin
}

func (h Hosts) has(host policy.Host) bool {
	return host.Name != "" && slices.Contains(h.Hosts, host.Name)
}

// Retirement is the end of Exchange Web Services in Exchange Online.
type Retirement struct {
	// Blocked is the day from which calls are blocked for tenants that did not
	// ask for an exception.
	Blocked Date `json:"blocked"`
	// Gone is the day from which there is no exception; it is after Blocked.
	Gone Date `json:"gone"`
	Origin
}

// Use says what a port is for. The list is closed.
type Use string

// The uses of a Port.
const (
	HTTPS    Use = "https"
	Traveler Use = "traveler" // Notes Traveler without TLS
	LDAP     Use = "ldap"
	LDAPS    Use = "ldaps"
)

// Port is a port with a usual meaning.
type Port struct {
	// Port is 1–65535.
	Port    uint16 `json:"port"`
	Use     Use    `json:"use"`
	Meaning string `json:"meaning"`
	Origin
}

// Date is a day in UTC, written 2006-01-02. One of ParseFacts is valid.
type Date string

// Time is the beginning of the day, and the zero time for an invalid Date.
func (d Date) Time() time.Time {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		return time.Time{}
	}
	return t
}

// DefaultFacts returns the built-in facts, as a copy of the caller's own.
func DefaultFacts() *Facts {
	f, err := ParseFacts(builtIn)
	if err != nil {
		panic("lint: the built-in facts: " + err.Error()) // a test keeps them good
	}
	return f
}

// JSON returns the facts as ParseFacts reads them, indented for people: the file
// that an operator copies and edits.
func (f *Facts) JSON() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(f); err != nil {
		panic("lint: printing facts: " + err.Error()) // strings, numbers and addresses only
	}
	return b.Bytes()
}

// Region returns the region of that name: americas, emea or apac.
func (f *Facts) Region(name string) (Region, bool) {
	i := slices.IndexFunc(f.Regions, func(r Region) bool { return r.Name == name })
	if i < 0 {
		return Region{}, false
	}
	return f.Regions[i], true
}

// Addresses are the published addresses of the catalogue, by normalised name:
// of registration and of listener hosts.
func (f *Facts) Addresses() map[string][]netip.Addr {
	all := make(map[string][]netip.Addr)
	for _, r := range f.Regions {
		for _, e := range []Endpoint{r.PushReg, r.MailboxListener} {
			all[e.Host] = append(all[e.Host], e.Addresses...)
		}
	}
	return all
}

// port is the port of a use.
func (f *Facts) port(use Use) uint16 {
	i := slices.IndexFunc(f.Ports, func(p Port) bool { return p.Use == use })
	if i < 0 {
		return 0
	}
	return f.Ports[i].Port
}
