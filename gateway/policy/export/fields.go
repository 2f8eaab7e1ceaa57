package export

import (
	"errors"
	"strconv"

	"github.com/sallyport/sallyport/gateway/policy"
)

// field is one setting. The table of them is the one place that knows what
// Settings holds; every form is written and read by it.
type field struct {
	// key is the path in JSON, and the name in the XML forms.
	key string
	// at points to the value: a *string, *[]string, *bool or *int.
	at func(*Settings) any
	// spell brings one value into its one spelling; nil leaves it alone.
	spell func(string) (string, error)
	// required is for a text that may not be empty.
	required bool
}

var fields = []field{
	{key: "name", at: func(s *Settings) any { return &s.Name }},
	{key: "match.apps", at: func(s *Settings) any { return &s.Match.Apps }, spell: spellWord},
	{key: "match.platforms", at: func(s *Settings) any { return &s.Match.Platforms }, spell: spellWord},
	{key: "match.groups", at: func(s *Settings) any { return &s.Match.Groups }, spell: spellWord},

	{key: "policy.network_access", at: func(s *Settings) any { return &s.Spec.NetworkAccess }},
	{key: "policy.exchange_server", at: func(s *Settings) any { return &s.Spec.ExchangeServers }, spell: spellHost},
	{key: "policy.background_services", at: func(s *Settings) any { return &s.Spec.Services }, spell: spellServices},
	{key: "policy.ews_host", at: func(s *Settings) any { return &s.Spec.EWSHost }, spell: spellHost},
	{key: "policy.push_region", at: func(s *Settings) any { return &s.Spec.PushRegion }},
	{key: "policy.split_tunnel", at: func(s *Settings) any { return &s.Spec.SplitTunnel }},
	{key: "policy.split_dns", at: func(s *Settings) any { return &s.Spec.SplitDNS }},
	{key: "policy.web_domains", at: func(s *Settings) any { return &s.Spec.WebDomains }, spell: spellDomain},

	{key: "policy.mailboxes", at: func(s *Settings) any { return &s.Spec.Console.Mailboxes }},
	{key: "policy.platforms", at: func(s *Settings) any { return &s.Spec.Console.Platforms }},
	{key: "policy.trusted_exchange_online", at: func(s *Settings) any { return &s.Spec.Console.TrustedExchangeOnline }, spell: spellTrusted},
	{key: "policy.trusted_adfs", at: func(s *Settings) any { return &s.Spec.Console.TrustedADFS }, spell: spellTrusted},
	{key: "policy.ldap_servers", at: func(s *Settings) any { return &s.Spec.Console.LDAPServers }, spell: spellHostPort},
	{key: "policy.rich_push", at: func(s *Settings) any { return &s.Spec.Console.RichPush }},
	{key: "policy.modern_authentication", at: func(s *Settings) any { return &s.Spec.Console.ModernAuthentication }},
	{key: "policy.derived_credentials", at: func(s *Settings) any { return &s.Spec.Console.DerivedCredentials }},
	{key: "policy.intune", at: func(s *Settings) any { return &s.Spec.Console.Intune }},
	{key: "policy.services_gateway", at: func(s *Settings) any { return &s.Spec.Console.ServicesGateway }, spell: spellHostPort},

	{key: "gateway", at: func(s *Settings) any { return &s.Gateway }, spell: spellHostPort, required: true},
	{key: "ticket_hours", at: func(s *Settings) any { return &s.TicketHours }},
	{key: "suffixes", at: func(s *Settings) any { return &s.Suffixes }, spell: spellName},
	{key: "dns", at: func(s *Settings) any { return &s.DNS }, spell: spellHostPort},
	{key: "pushreg", at: func(s *Settings) any { return &s.Pushreg }, spell: spellHostPort},
	{key: "version", at: func(s *Settings) any { return &s.Version }, spell: spellVersion},
}

func fieldOf(key string) (field, bool) {
	for _, f := range fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

func (f field) isList() bool {
	_, is := f.at(new(Settings)).(*[]string)
	return is
}

// value is what JSON writes; nil if there is nothing to write.
func (f field) value(s *Settings) any {
	switch at := f.at(s).(type) {
	case *string:
		if *at != "" {
			return *at
		}
	case *[]string:
		if len(*at) > 0 {
			return *at
		}
	case *bool:
		if *at {
			return true
		}
	case *int:
		if *at != 0 {
			return *at
		}
	}
	return nil
}

// texts is what XML writes: an element for each.
func (f field) texts(s *Settings) []string {
	switch v := f.value(s).(type) {
	case string:
		return []string{v}
	case []string:
		return v
	case bool:
		return []string{strconv.FormatBool(v)}
	case int:
		return []string{strconv.Itoa(v)}
	}
	return nil
}

// put takes one text that texts gave; of a list it is the next entry.
func (f field) put(s *Settings, text string) error {
	switch at := f.at(s).(type) {
	case *string:
		*at = text
	case *[]string:
		if len(*at) >= policy.MaxHosts {
			return errors.New("has too many entries")
		}
		*at = append(*at, text)
	case *bool:
		*at = text == "true"
		if text != "true" && text != "false" {
			return errors.New("needs true or false")
		}
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil || strconv.Itoa(n) != text {
			return errors.New("needs a whole number")
		}
		*at = n
	}
	return nil
}
