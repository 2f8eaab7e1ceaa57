package lint

import (
	"slices"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// Preset is what decides which services belong on a list.
type Preset struct {
	// Mailboxes is on_premises, hybrid or exchange_online. Required.
	Mailboxes string
	// Platform is ios, android, or "" for both.
	Platform string
	// Exchange are the Exchange or Traveler servers on premises, names.
	Exchange []string
	// EWS is where Exchange Web Services live, if it is not Exchange[0].
	EWS string
	// ADFS are AD FS or other identity providers of one's own, names.
	ADFS []string
	// Region is the push region, americas, emea or apac; "" is no push.
	Region string
	// TravelerPlain says that Exchange are Notes Traveler servers without TLS.
	TravelerPlain bool
	// LDAP are internal directories for S/MIME certificates, names.
	LDAP []string
	// LDAPS says that they are asked over TLS.
	LDAPS bool
	// SplitTunnel is on, off or "", which is off.
	SplitTunnel string
}

// Expansion is a list, and what goes with it.
type Expansion struct {
	// Reading says after whom the list is made.
	Reading string `json:"reading"`
	// Entries are the list, each with its reason.
	Entries []Entry `json:"entries"`
	// Spec is a policy with the list and the settings that it implies. In JSON it
	// is "policy", with the keys of the configuration file.
	Spec policy.Spec `json:"-"`
	// Other is the list after another reading of the manuals, where there are
	// two; else nil.
	Other *Reading `json:"other,omitempty"`
	// Notes are sentences about what stays to be done or decided.
	Notes []string `json:"notes,omitempty"`
}

// Services is the list as background_services has it.
func (e Expansion) Services() string { return e.Spec.Services }

// Reading is another list, and after whom it is made.
type Reading struct {
	Reading string  `json:"reading"`
	Entries []Entry `json:"entries"`
}

// Services is the list as background_services has it.
func (r Reading) Services() string { return joined(r.Entries) }

// Entry is a service and why it is on the list.
type Entry struct {
	// Service is host:port.
	Service string `json:"service"`
	Why     string `json:"why"`
}

// The places of mailboxes.
const (
	onPremises = "on_premises"
	hybrid     = "hybrid"
	inCloud    = "exchange_online"
)

// Expand makes the list for where the mailboxes are, after the manuals. Facts
// may be nil, which means the built-in ones. Errors are *PresetError.
func Expand(p Preset, facts *Facts) (Expansion, error) {
	if facts == nil {
		facts = DefaultFacts()
	}
	if err := p.check(facts); err != nil {
		return Expansion{}, err
	}
	x := &expander{Preset: p.normalised(), facts: facts}
	x.ios, x.android = p.Platform != "android", p.Platform != "ios"
	x.mail()
	x.around()
	x.cloud()
	out := Expansion{Reading: "the administration guide's table", Entries: x.entries, Notes: x.notes}
	if p.Mailboxes == inCloud && !x.ios {
		out.Other = x.asOnIOS()
		out.Notes = append(out.Notes, "the guide lists no Exchange Online name for Android, which fits devices that go there directly; with split tunnel off everything comes to the gateway, and the other reading is the one that works")
	}
	out.Spec = x.spec()
	if _, err := policy.Compile("preset", out.Spec); err != nil {
		return Expansion{}, &PresetError{"the list", err} // the parts are good, so only a bound can be passed
	}
	return out, nil
}

// expander gathers the entries.
type expander struct {
	Preset
	facts        *Facts
	ios, android bool
	entries      []Entry
	notes        []string
}

// put adds an entry, or a further reason to one that is there.
func put(entries []Entry, service, why string) []Entry {
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Service == service })
	if i < 0 {
		return append(entries, Entry{service, why})
	}
	if !strings.Contains(entries[i].Why, why) {
		entries[i].Why += "; " + why
	}
	return entries
}

func (x *expander) put(name string, use Use, why string) {
	s := serviceOf(hostOf(name), x.facts.port(use))
	x.entries = put(x.entries, s.String(), why)
}

// mail adds what the guide's table has for the mailboxes.
func (x *expander) mail() {
	use, what := HTTPS, "Exchange host on premises"
	if x.TravelerPlain {
		use, what = Traveler, "Traveler host on premises, without TLS"
	}
	if x.Mailboxes != inCloud || x.android {
		for _, name := range x.Exchange {
			x.put(name, use, x.on(x.Mailboxes == inCloud)+what)
		}
	}
	if x.Mailboxes == inCloud && x.ios {
		for _, name := range x.facts.TrustedExchangeOnline.Hosts {
			x.put(name, HTTPS, x.on(false, x.android)+"Exchange Online host name")
		}
	}
	if x.Mailboxes != onPremises && x.android {
		for _, name := range x.ADFS {
			x.put(name, HTTPS, x.on(true)+"AD FS or identity provider")
		}
	}
}

// on begins a reason with the platform, where a list is for both and the entry
// for one. The first argument says that it is for Android only, the second, if
// there is one, that it is for iOS only.
func (x *expander) on(only ...bool) string {
	switch {
	case !x.ios || !x.android:
		return ""
	case only[0]:
		return "Android: "
	case len(only) > 1 && only[1]:
		return "iOS: "
	}
	return ""
}

// cloud notes what goes with mailboxes in Exchange Online.
func (x *expander) cloud() {
	if x.Mailboxes == hybrid && x.SplitTunnel != "on" {
		var entries []string
		for _, name := range slices.Concat(x.facts.TrustedExchangeOnline.Hosts, x.facts.TrustedADFS.Hosts) {
			entries = append(entries, serviceOf(hostOf(name), x.facts.port(HTTPS)).String())
		}
		x.notes = append(x.notes, "with split tunnel off everything comes to the gateway, so "+several(entries)+
			" belong on the list too, if the app goes to mailboxes in Exchange Online")
	}
	if x.Mailboxes == inCloud && x.Region != "" {
		x.notes = append(x.notes, "push by the listener service rests on EWS, which Exchange Online blocks from "+string(x.facts.EWS.Blocked)+
			" on unless the tenant allows the app, and takes away on "+string(x.facts.EWS.Gone))
	}
}

// around adds what does not depend on where mailboxes are.
func (x *expander) around() {
	if x.EWS != "" {
		x.put(x.EWS, HTTPS, "EWS host: it and the mail server must both be allowed")
	}
	if region, ok := x.facts.Region(x.Region); ok {
		if x.SplitTunnel == "on" {
			x.notes = append(x.notes, "with split tunnel on, devices reach the registration host "+region.PushReg.service().String()+" directly")
		} else {
			x.entries = put(x.entries, region.PushReg.service().String(), "push registration of "+region.Name+": with split tunnel off everything comes to the gateway")
		}
		x.notes = append(x.notes, "Exchange must reach "+region.MailboxListener.service().String()+", directly or through a proxy; it does not belong on the list")
	}
	use := LDAP
	if x.LDAPS {
		use = LDAPS
	}
	for _, name := range x.LDAP {
		if x.android {
			x.put(name, use, x.on(true)+"internal directory, for S/MIME certificates")
		}
	}
	if x.ios && len(x.LDAP) > 0 {
		x.notes = append(x.notes, "on iOS an internal directory makes users log on again and again; give iOS devices a policy without it")
	}
}

// asOnIOS is the other reading for Android: mailboxes are in Exchange Online, so
// its names are on the list, as on iOS.
func (x *expander) asOnIOS() *Reading {
	entries := slices.Clone(x.entries)
	for _, name := range x.facts.TrustedExchangeOnline.Hosts {
		s := serviceOf(hostOf(name), x.facts.port(HTTPS))
		entries = put(entries, s.String(), "Exchange Online host name, as on iOS: mailboxes are there")
	}
	return &Reading{"Android as iOS: the mailboxes' host is on the list too", entries}
}

// spec is the policy that goes with the list.
func (x *expander) spec() policy.Spec {
	s := policy.Spec{
		NetworkAccess:   policy.AccessTunneled,
		ExchangeServers: slices.Clone(x.Exchange),
		Services:        joined(x.entries),
		EWSHost:         x.EWS,
		PushRegion:      x.Region,
		SplitTunnel:     x.SplitTunnel,
		SplitDNS:        "both",
		Console:         policy.Console{Mailboxes: x.Mailboxes},
	}
	if x.SplitTunnel == "" {
		s.SplitTunnel = "off"
	}
	if x.Platform != "" {
		s.Console.Platforms = []string{x.Platform}
	}
	if x.Mailboxes != onPremises {
		s.Console.TrustedExchangeOnline = slices.Clone(x.facts.TrustedExchangeOnline.Hosts)
		s.Console.TrustedADFS = slices.Concat(x.facts.TrustedADFS.Hosts, x.ADFS)
	}
	if x.Mailboxes == inCloud && x.ios {
		// What iOS devices log on to; the names on premises stay behind it for
		// Android.
		s.ExchangeServers = slices.Clone(x.facts.TrustedExchangeOnline.Hosts)
		if x.android {
			s.ExchangeServers = append(s.ExchangeServers, x.Exchange...)
		}
	}
	if x.android {
		use := LDAP
		if x.LDAPS {
			use = LDAPS
		}
		for _, name := range x.LDAP {
			s.Console.LDAPServers = append(s.Console.LDAPServers, serviceOf(hostOf(name), x.facts.port(use)).String())
		}
	}
	return s
}

func joined(entries []Entry) string {
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = e.Service
	}
	return strings.Join(list, ",")
}
