package lint

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// PresetError says which input is missing or unusable.
type PresetError struct {
	// Input is the field in lower case: mailboxes, platform, exchange, ews,
	// adfs, region, traveler_plain, ldap, ldaps or split_tunnel; or "the list".
	Input string
	// Err says what it needs.
	Err error
}

// Error names the input.
func (e *PresetError) Error() string { return e.Input + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *PresetError) Unwrap() error { return e.Err }

// check judges the inputs: each by itself, then what the table needs.
func (p Preset) check(facts *Facts) error {
	if p.SplitTunnel == "reverse" {
		return &PresetError{"split_tunnel", errors.New("no manual says what to list with reverse; make the list with on or off, and try on your devices what reverse needs")}
	}
	words := []struct {
		input, value string
		known        []string
		more         string
	}{
		{"mailboxes", p.Mailboxes, []string{onPremises, hybrid, inCloud}, ""},
		{"platform", p.Platform, []string{"", "ios", "android"}, "; leave it out for both"},
		{"region", p.Region, []string{"", "americas", "emea", "apac"}, ""},
		{"split_tunnel", p.SplitTunnel, []string{"", "on", "off"}, ""},
	}
	for _, w := range words {
		if !slices.Contains(w.known, w.value) {
			return &PresetError{w.input, errors.New(needs(w.known, w.value) + w.more)}
		}
	}
	lists := []struct {
		input string
		names []string
	}{{"exchange", p.Exchange}, {"adfs", p.ADFS}, {"ldap", p.LDAP}, {"ews", notEmpty(p.EWS)}}
	for _, l := range lists {
		for i, name := range l.names {
			if err := usable(name); err != nil {
				return &PresetError{l.input, fmt.Errorf("%q (name %d) %w", printable(name), i+1, err)}
			}
		}
	}
	return p.checkNeeds(facts)
}

// needs names the choices, what was given, and which choice may have been meant.
func needs(known []string, given string) string {
	known = slices.DeleteFunc(slices.Clone(known), func(s string) bool { return s == "" })
	last := len(known) - 1
	text := "needs " + strings.Join(known[:last], ", ") + " or " + known[last]
	if given == "" {
		return text
	}
	text += ", not " + strconv.Quote(printable(given))
	spelt := strings.ReplaceAll(given, "-", "_")
	if i := slices.IndexFunc(known, func(s string) bool { return strings.EqualFold(s, spelt) }); i >= 0 {
		text += "; did you mean " + known[i] + "?"
	}
	return text
}

// normalised brings every name into its one spelling. They have been judged.
func (p Preset) normalised() Preset {
	each := func(names []string) []string {
		var hosts []string
		for _, name := range names {
			if host := hostOf(name).String(); !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
		return hosts
	}
	p.Exchange, p.ADFS, p.LDAP = each(p.Exchange), each(p.ADFS), each(p.LDAP)
	if p.EWS != "" {
		p.EWS = hostOf(p.EWS).String()
	}
	return p
}

func notEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// usable tells whether a name can be listed and dialled.
func usable(name string) error {
	host, err := policy.ParseHost(name)
	if bare, _, ok := strings.Cut(name, ":"); err != nil && ok {
		if _, bareErr := policy.ParseHost(bare); bareErr == nil {
			return fmt.Errorf("has a port; write %s, the ports are added", bare)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("is no host: %w", err)
	case privateAddress(host.Addr):
		return errors.New("is no public address; give a name, and pin it under splitdns.hosts")
	}
	return nil
}

// checkNeeds asks for what the table has a place for.
func (p Preset) checkNeeds(facts *Facts) error {
	android := p.Platform != "ios"
	missing := func(input, what string) error {
		return &PresetError{input, errors.New("is missing: " + what)}
	}
	switch {
	case p.TravelerPlain && p.Mailboxes != onPremises:
		return &PresetError{"traveler_plain", errors.New("goes with mailboxes on_premises only, not " + p.Mailboxes)}
	case p.LDAPS && len(p.LDAP) == 0:
		return &PresetError{"ldaps", errors.New("says how the internal directory is asked, and none is named; name it with ldap")}
	case len(p.Exchange) == 0 && p.Mailboxes != inCloud:
		return missing("exchange", "the Exchange host on premises")
	case len(p.Exchange) == 0 && android:
		return missing("exchange", "the Exchange host on premises, which the guide lists for Android; without one, give Android devices the list of platform ios")
	case len(p.ADFS) == 0 && android && p.Mailboxes != onPremises:
		return missing("adfs", "the AD FS host or identity provider that Android devices log on at")
	}
	for _, name := range p.Exchange {
		if facts.ExchangeOnline.has(hostOf(name)) {
			return &PresetError{"exchange", errors.New("is for hosts on premises; the names of Exchange Online come by themselves")}
		}
	}
	return nil
}
