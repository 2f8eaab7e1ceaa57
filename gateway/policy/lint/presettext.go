package lint

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// String returns the policy as a piece of a configuration file, the reasons and
// notes being comments in it.
func (e Expansion) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The list, by %s:\n", e.Reading)
	writeEntries(&b, e.Entries)
	if e.Other != nil {
		fmt.Fprintf(&b, "#\n# By another reading (%s):\n", e.Other.Reading)
		writeEntries(&b, e.Other.Entries)
		fmt.Fprintf(&b, "# background_services: %s\n", e.Other.Services())
	}
	for _, note := range e.Notes {
		fmt.Fprintf(&b, "#\n# Note: %s.\n", note)
	}
	b.WriteString("#\n# Merge this into the gateway section of your file:\ngateway:\n  policy:\n")
	for _, s := range e.settings() {
		switch value := s.value.(type) {
		case []string:
			fmt.Fprintf(&b, "    %s: [%s]\n", s.key, strings.Join(value, ", "))
		case string:
			if s.key == "split_tunnel" { // on and off are no texts to every reader of YAML
				value = strconv.Quote(value)
			}
			fmt.Fprintf(&b, "    %s: %s\n", s.key, value)
		}
	}
	return b.String()
}

// MarshalJSON writes the policy with the keys of the configuration file.
func (e Expansion) MarshalJSON() ([]byte, error) {
	type plain Expansion
	policy := make(map[string]any)
	for _, s := range e.settings() {
		policy[s.key] = s.value
	}
	return json.Marshal(struct {
		plain
		Policy map[string]any `json:"policy"`
	}{plain(e), policy})
}

func writeEntries(b *strings.Builder, entries []Entry) {
	width := 0
	for _, e := range entries {
		width = max(width, len(e.Service))
	}
	for _, e := range entries {
		fmt.Fprintf(b, "#   %-*s  %s\n", width, e.Service, e.Why)
	}
}

// setting is a key of the policy and its value, a string or a []string.
type setting struct {
	key   string
	value any
}

// settings are those of the policy that are not empty. Names are normalised and
// the rest are words of ours, so that they need no quoting.
func (e Expansion) settings() []setting {
	s, c := e.Spec, e.Spec.Console
	return slices.DeleteFunc([]setting{
		{"network_access", s.NetworkAccess},
		{"mailboxes", c.Mailboxes},
		{"platforms", c.Platforms},
		{"exchange_server", s.ExchangeServers},
		{"background_services", s.Services},
		{"ews_host", s.EWSHost},
		{"push_region", s.PushRegion},
		{"split_tunnel", s.SplitTunnel},
		{"split_dns", s.SplitDNS},
		{"trusted_exchange_online", c.TrustedExchangeOnline},
		{"trusted_adfs", c.TrustedADFS},
		{"ldap_servers", c.LDAPServers},
	}, func(one setting) bool {
		list, is := one.value.([]string)
		return one.value == "" || is && len(list) == 0
	})
}
