package lint

import (
	"fmt"
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
	b.WriteString("gateway:\n  policy:\n")
	for _, setting := range e.settings() {
		fmt.Fprintf(&b, "    %s: %s\n", setting[0], setting[1])
	}
	return b.String()
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

// settings are the keys and values of the policy that are not empty. Names are
// normalised and the rest are words of ours, so that nothing needs quoting but
// on and off.
func (e Expansion) settings() [][2]string {
	s, c := e.Spec, e.Spec.Console
	list := func(items []string) string {
		if len(items) == 0 {
			return ""
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	var given [][2]string
	for _, setting := range [][2]string{
		{"network_access", s.NetworkAccess},
		{"mailboxes", c.Mailboxes},
		{"platforms", list(c.Platforms)},
		{"exchange_server", list(s.ExchangeServers)},
		{"background_services", s.Services},
		{"ews_host", s.EWSHost},
		{"push_region", s.PushRegion},
		{"split_tunnel", strconv.Quote(s.SplitTunnel)},
		{"split_dns", s.SplitDNS},
		{"trusted_exchange_online", list(c.TrustedExchangeOnline)},
		{"trusted_adfs", list(c.TrustedADFS)},
		{"ldap_servers", list(c.LDAPServers)},
	} {
		if setting[1] != "" {
			given = append(given, setting)
		}
	}
	return given
}
