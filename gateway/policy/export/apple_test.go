package export

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/gateway/policy"
)

// fact is what Apple's schema for device management says of a key.
type fact struct {
	kind     string // of the value
	required bool
	// one is the only value that is right; nil leaves it free.
	one any
}

// profileFacts, payloadFacts and relayFacts hold what we use of three parts of
// the schema, and the required keys whether we use them or not: the profile as a
// whole, the keys that every payload has with those of com.apple.relay.managed,
// and an item of its Relays. iOS 17.0 and macOS 14.0 know them all but
// MatchFQDNs and ExcludedFQDNs, which came with iOS 18.4 and macOS 15.4.
var (
	profileFacts = map[string]fact{
		"PayloadContent":           {kind: "array", required: true},
		"PayloadIdentifier":        {kind: "string", required: true},
		"PayloadUUID":              {kind: "string", required: true},
		"PayloadType":              {kind: "string", required: true, one: "Configuration"},
		"PayloadVersion":           {kind: "integer", required: true, one: 1},
		"PayloadDisplayName":       {kind: "string"},
		"PayloadDescription":       {kind: "string"},
		"PayloadScope":             {kind: "string", one: "User"}, // or System
		"PayloadRemovalDisallowed": {kind: "boolean", one: false},
	}
	payloadFacts = map[string]fact{
		"PayloadIdentifier":  {kind: "string", required: true},
		"PayloadUUID":        {kind: "string", required: true},
		"PayloadType":        {kind: "string", required: true, one: "com.apple.relay.managed"},
		"PayloadVersion":     {kind: "integer", required: true, one: 1},
		"PayloadDisplayName": {kind: "string"},
		"Relays":             {kind: "array", required: true},
		"MatchDomains":       {kind: "array"},
		"MatchFQDNs":         {kind: "array"},
		"ExcludedDomains":    {kind: "array"},
		"ExcludedFQDNs":      {kind: "array"},
		"RelayUUID":          {kind: "string"},
	}
	relayFacts = map[string]fact{
		// One of the two URLs is required; the older way is always there.
		"HTTP3RelayURL":              {kind: "string"},
		"HTTP2RelayURL":              {kind: "string", required: true},
		"AdditionalHTTPHeaderFields": {kind: "dictionary"},
	}
)

var (
	uuidForm = regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-5[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`)
	nameForm = regexp.MustCompile(`^[0-9a-z_]([0-9a-z_.-]*[0-9a-z_])?$`)
)

// hold checks a dictionary against the schema.
func hold(t rapid.TB, what string, v any, facts map[string]fact) map[string]any {
	t.Helper()
	d, is := v.(map[string]any)
	if !is {
		t.Fatalf("%s is a %T", what, v)
	}
	for key, value := range d {
		kind := "?"
		switch value.(type) {
		case string:
			kind = "string"
		case int:
			kind = "integer"
		case bool:
			kind = "boolean"
		case []any:
			kind = "array"
		case map[string]any:
			kind = "dictionary"
		}
		f, known := facts[key]
		switch {
		case !known || f.kind != kind:
			t.Fatalf("%s: %s is a %s; the schema knows %+v", what, key, kind, f)
		case f.one != nil && f.one != value:
			t.Fatalf("%s: %s is %v, want %v", what, key, value, f.one)
		case kind == "array" && len(value.([]any)) == 0:
			t.Fatalf("%s: %s is empty", what, key)
		case strings.HasSuffix(key, "UUID") && !uuidForm.MatchString(value.(string)):
			t.Fatalf("%s: %s is no UUID: %v", what, key, value)
		}
	}
	for key, f := range facts {
		if _, there := d[key]; f.required && !there {
			t.Fatalf("%s: %s is missing", what, key)
		}
	}
	return d
}

// appleProfile is what a device understands of a profile.
type appleProfile struct {
	profile, payload, relay, headers                         map[string]any
	matchDomains, matchFQDNs, excludedDomains, excludedFQDNs []string
}

func readProfile(t rapid.TB, file []byte) (p appleProfile) {
	t.Helper()
	v, err := readPlist(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	only := func(of map[string]any, key string) any {
		list := of[key].([]any)
		if len(list) != 1 {
			t.Fatalf("%d items in %s", len(list), key)
		}
		return list[0]
	}
	p.profile = hold(t, "profile", v, profileFacts)
	p.payload = hold(t, "payload", only(p.profile, "PayloadContent"), payloadFacts)
	p.relay = hold(t, "relay", only(p.payload, "Relays"), relayFacts)
	p.headers = p.relay["AdditionalHTTPHeaderFields"].(map[string]any)
	for key, list := range map[string]*[]string{
		"MatchDomains": &p.matchDomains, "MatchFQDNs": &p.matchFQDNs,
		"ExcludedDomains": &p.excludedDomains, "ExcludedFQDNs": &p.excludedFQDNs,
	} {
		names, _ := p.payload[key].([]any)
		for _, name := range names {
			if !nameForm.MatchString(name.(string)) {
				t.Fatalf("%s holds %q", key, name)
			}
			*list = append(*list, name.(string))
		}
	}
	return p
}

// sends is Apple's rule: excluded goes before matched, and with nothing to match
// everything does.
func (p appleProfile) sends(name string) bool {
	is := func(list []string, below bool) bool {
		for _, entry := range list {
			if name == entry || below && strings.HasSuffix(name, "."+entry) {
				return true
			}
		}
		return false
	}
	if is(p.excludedFQDNs, false) || is(p.excludedDomains, true) {
		return false
	}
	return len(p.matchDomains)+len(p.matchFQDNs) == 0 || is(p.matchFQDNs, false) || is(p.matchDomains, true)
}

func appleFile(t rapid.TB, s Settings, r Relay) ([]byte, []string) {
	t.Helper()
	file, notes, err := AppleRelay(s, r)
	if err != nil {
		t.Fatal(err)
	}
	return file, notes
}

// TestAppleRelayGolden keeps the profiles as they are, and what is said of them.
func TestAppleRelayGolden(t *testing.T) {
	for _, c := range []struct {
		name  string
		s     Settings
		relay Relay
	}{
		{"least", least(), Relay{}},
		{"sample", sample(), Relay{HTTP3: true, Header: "Authorization", Ticket: "0123456789ABCDEFGHIJKLMNOPQRSTUV"}},
		{"domains", web(), Relay{HTTP3: true, Domains: true}},
	} {
		file, notes := appleFile(t, c.s, c.relay)
		said := []byte(strings.Join(notes, "\n") + "\n")
		if c.relay.Ticket != "" && bytes.Contains(said, []byte(c.relay.Ticket)) {
			t.Errorf("%s: the notes hold the ticket", c.name)
		}
		for ext, got := range map[string][]byte{".mobileconfig": file, ".mobileconfig.notes": said} {
			path := filepath.Join("testdata", c.name+ext)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is\n%s\nand should be\n%s", path, got, want)
			}
		}
		readProfile(t, file)
	}
}

// TestAppleRelayNames holds what devices and management servers know a profile
// by. The UUIDs are what Python's uuid.uuid5(NAMESPACE_URL, …) makes of
// https://gateway.example.com/default#profile and so on.
func TestAppleRelayNames(t *testing.T) {
	file, _ := appleFile(t, least(), Relay{})
	p := readProfile(t, file)
	for _, c := range []struct{ got, want any }{
		{p.profile["PayloadIdentifier"], "com.example.gateway.sallyport.default"},
		{p.payload["PayloadIdentifier"], "com.example.gateway.sallyport.default.relay"},
		{p.profile["PayloadUUID"], "003505F7-A1A9-5ACA-B96C-E1CD1D0578F0"},
		{p.payload["PayloadUUID"], "3E0A2D62-392C-509B-9E42-C8C656E6B581"},
		{p.payload["RelayUUID"], "269C3616-BFEE-520E-8C0A-C8C40B91C807"},
		{p.relay["HTTP2RelayURL"], "https://gateway.example.com:443/"},
		{p.headers["Proxy-Authorization"], "Bearer ${TICKET}"},
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	changed := least()
	changed.Gateway, changed.Spec.Services = "gateway.example.com:8443", "mail.example.com:443"
	again, _ := appleFile(t, changed, Relay{HTTP3: true, Ticket: "ABC"})
	q := readProfile(t, again)
	for _, key := range []string{"PayloadUUID", "PayloadIdentifier"} {
		if p.profile[key] != q.profile[key] || p.payload[key] != q.payload[key] || p.payload["RelayUUID"] != q.payload["RelayUUID"] {
			t.Errorf("another content has another %s", key)
		}
	}
}

// TestAppleRelayMistakes wants each refused, without a word of the ticket.
func TestAppleRelayMistakes(t *testing.T) {
	const secret = "SECRET SECRET"
	with := func(change func(*Settings)) Settings {
		s := least()
		change(&s)
		return s
	}
	for what, c := range map[string]struct {
		s     Settings
		relay Relay
		key   string
	}{
		"settings":            {Settings{Name: "a"}, Relay{}, "gateway"},
		"gateway by address":  {with(func(s *Settings) { s.Gateway = "192.0.2.1:443" }), Relay{}, "gateway"},
		"unrestricted":        {with(func(s *Settings) { s.Spec.NetworkAccess = "unrestricted" }), Relay{}, "policy.network_access"},
		"on, nothing listed":  {with(func(s *Settings) { s.Spec.SplitTunnel = "on" }), Relay{}, "policy.background_services"},
		"on, only an address": {with(func(s *Settings) { s.Spec.SplitTunnel, s.Spec.Services = "on", "192.0.2.7:443" }), Relay{}, "policy.background_services"},
		"on, only itself":     {with(func(s *Settings) { s.Spec.SplitTunnel, s.Spec.Services = "on", "gateway.example.com:25" }), Relay{}, "policy.background_services"},
		"header with a colon": {least(), Relay{Header: "A:"}, "header"},
		"header with a break": {least(), Relay{Header: "A\r\nB"}, "header"},
		"header in umlauts":   {least(), Relay{Header: "Äpfel"}, "header"},
		"long header":         {least(), Relay{Header: strings.Repeat("a", maxHeader+1)}, "header"},
		"ticket with a blank": {least(), Relay{Ticket: secret}, "ticket"},
		"ticket with a break": {least(), Relay{Ticket: "SECRET\r\nHost: evil"}, "ticket"},
		"placeholder":         {least(), Relay{Ticket: TicketPlaceholder}, "ticket"},
		"long ticket":         {least(), Relay{Ticket: Ticket(strings.Repeat("SECRET", maxTicket))}, "ticket"},
	} {
		_, _, err := AppleRelay(c.s, c.relay)
		if err == nil {
			t.Errorf("%s: passed", what)
			continue
		}
		t.Run(what, func(t *testing.T) {
			wantError(t, err, c.key)
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%v holds the ticket", err)
			}
		})
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, Relay{Ticket: secret}); strings.Contains(got, "SECRET") || strings.Contains(got, "534543") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

// FuzzAppleRelay writes whatever text is taken as text: a profile has the same
// keys, and the text in its place.
func FuzzAppleRelay(f *testing.F) {
	f.Add("default", "gateway.example.com:443", "mail.example.com:443", "on", "", "ABC", false)
	f.Add("a", "gw.example.com:8443", "*.example.com:443,example.com:80,intranet:443,192.0.2.7:25", "reverse", "X-Ticket", "", true)
	f.Add("a", "b\u00fccher.example:1", "", "off", "&'", "a.b.c~D", false)
	for _, text := range nasty {
		f.Add(text, text, text, "on", text, text, true)
	}
	f.Fuzz(func(t *testing.T, name, gateway, services, tunnel, header, ticket string, domains bool) {
		s := Settings{Name: name, Gateway: gateway, Spec: policy.Spec{Services: services, SplitTunnel: tunnel}}
		file, _, err := AppleRelay(s, Relay{Header: header, Ticket: Ticket(ticket), Domains: domains})
		if err != nil {
			wantPrintable(t, err)
			return
		}
		if header == "" {
			header = defaultHeader
		}
		if ticket == "" {
			ticket = TicketPlaceholder
		}
		p := readProfile(t, file)
		if len(p.headers) != 1 || p.headers[header] != "Bearer "+ticket {
			t.Fatalf("the headers are %q", p.headers)
		}
	})
}
