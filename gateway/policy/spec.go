package policy

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// The kinds of network access; tunneled is the default.
const (
	AccessTunneled     = "tunneled"
	AccessUnrestricted = "unrestricted"
	AccessWebSSO       = "web_sso"
)

// webPorts are those of a web domain, plain and TLS.
var webPorts = [...]uint16{80, 443}

// MaxHosts is the greatest number of entries in each list of hosts beside the
// services: mail servers, web domains, trusted names, directories.
const MaxHosts = 4096

// Spec is a policy as an administrator writes it.
type Spec struct {
	// NetworkAccess is AccessTunneled, which "" means too: what Services lists is
	// allowed. AccessWebSSO allows WebDomains beside it. AccessUnrestricted tells
	// devices to use no gateway, and allows nothing.
	NetworkAccess string
	// ExchangeServers are the mail servers, most wanted first. They are what a
	// ticket without destination means; they are allowed only if Services
	// lists them.
	ExchangeServers []string
	// Services is the list of background network services, "host:port,host:port".
	Services string
	// EWSHost is where Exchange Web Services live; "" is the first mail server.
	EWSHost string
	// PushRegion is "americas", "emea", "apac" or "".
	PushRegion string
	// SplitTunnel is "on", "off", "reverse" or "". It tells devices what to
	// send here, and never changes what is allowed.
	SplitTunnel string
	// SplitDNS is "remote", "local", "both" or "". It is for devices too.
	SplitDNS string
	// WebDomains widen "web_sso", and stand with no other network access: names,
	// or "*.example.com" for every name below one, each allowed on ports 80 and
	// 443.
	WebDomains []string
	// Console is what else the administrator has set. None of it decides on a
	// tunnel: it is there to be judged by lint, and to be exported.
	Console Console
}

// Console holds the settings of the mobile-management console that say where
// mail lives and how devices log on to it.
type Console struct {
	// Mailboxes is "on_premises", "hybrid", "exchange_online" or "", not said.
	Mailboxes string
	// Platforms are those of the devices, "ios" and "android"; empty is both.
	Platforms []string
	// TrustedExchangeOnline are the names that stand for Exchange Online. Blanks
	// around a name do no harm, here and in TrustedADFS: the console takes them.
	TrustedExchangeOnline []string
	// TrustedADFS are the names of AD FS or of another identity provider.
	TrustedADFS []string
	// LDAPServers are internal directories for S/MIME certificates, host:port in
	// the grammar of Services, without wildcards.
	LDAPServers []string
	// RichPush says that iOS devices show rich push notifications.
	RichPush bool
	// ModernAuthentication says that devices log on to Office 365 with it.
	ModernAuthentication bool
	// DerivedCredentials says that devices log on with them.
	DerivedCredentials bool
	// Intune says that apps are managed by the Intune integration.
	Intune bool
	// ServicesGateway is what devices are told, a name and a port, fqdn:port; ""
	// is this gateway.
	ServicesGateway string
}

// SpecError reports the first setting of a Spec that cannot be compiled.
type SpecError struct {
	// Field is the setting's key in a configuration file, such as
	// "background_services".
	Field string
	// Index is the place in a setting that is a list, from 0; else 0.
	Index int
	// Err is the cause: a *ListError of background_services, a *HostError, or
	// another that says what to write.
	Err error
}

// Error names the setting, its entry unless that is the first, and the cause.
func (e *SpecError) Error() string {
	if e.Index > 0 {
		return e.Field + ", entry " + strconv.Itoa(e.Index+1) + ": " + e.Err.Error()
	}
	return e.Field + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *SpecError) Unwrap() error { return e.Err }

// Compile checks a spec and makes the policy of it. The name is 1 to 64 of
// a–z, A–Z, 0–9, '.', '_' and '-'; it begins the IDs of the policy's rules.
// Errors are *SpecError.
func Compile(name string, s Spec) (*Policy, error) {
	if !validPolicyName(name) {
		return nil, &SpecError{Field: "name", Err: errors.New("needs 1 to 64 letters, digits, '.', '_' or '-'")}
	}
	c, err := s.check()
	if err != nil {
		return nil, err
	}
	p := newPolicy(name, c)
	p.snapshot = c.snapshot(name)
	return p, nil
}

func validPolicyName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// checked is a spec with every value in its one spelling.
type checked struct {
	access     string
	services   []Service
	webDomains []Service // without port
	exchange   []Host
	ews        Host // the first mail server, where the spec has none
	region     string
	tunnel     string
	dns        string
	console    checkedConsole
}

func (s Spec) check() (c *checked, err error) {
	c = &checked{region: s.PushRegion, tunnel: s.SplitTunnel, dns: s.SplitDNS}
	if c.access, err = s.checkModes(); err != nil {
		return nil, err
	}
	if c.services, err = ParseServices(s.Services); err != nil {
		return nil, &SpecError{Field: "background_services", Err: err}
	}
	if c.webDomains, err = checkWebDomains(s.WebDomains); err != nil {
		return nil, err
	}
	if c.exchange, err = checkEach("exchange_server", s.ExchangeServers, ParseHost); err != nil {
		return nil, err
	}
	switch {
	case s.EWSHost != "":
		if c.ews, err = ParseHost(s.EWSHost); err != nil {
			return nil, &SpecError{Field: "ews_host", Err: err}
		}
	case len(c.exchange) > 0:
		c.ews = c.exchange[0]
	}
	if c.console, err = s.Console.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// checkModes checks the settings with few values, and returns the network
// access, which is never empty.
func (s Spec) checkModes() (access string, err error) {
	modes := []struct {
		field, value string
		known        []string
	}{
		{"network_access", s.NetworkAccess, []string{AccessUnrestricted, AccessTunneled, AccessWebSSO}},
		{"push_region", s.PushRegion, []string{"americas", "emea", "apac"}},
		{"split_tunnel", s.SplitTunnel, []string{"on", "off", "reverse"}},
		{"split_dns", s.SplitDNS, []string{"remote", "local", "both"}},
		{"mailboxes", s.Console.Mailboxes, []string{"on_premises", "hybrid", "exchange_online"}},
	}
	for _, m := range modes {
		if m.value != "" && !slices.Contains(m.known, m.value) {
			return "", &SpecError{Field: m.field, Err: oneOf(m.known)}
		}
	}
	if access = s.NetworkAccess; access == "" {
		access = AccessTunneled
	}
	if access != AccessWebSSO && len(s.WebDomains) > 0 {
		return "", &SpecError{Field: "web_domains", Err: errors.New("belongs to network_access " + AccessWebSSO +
			"; list host:port in background_services, or leave it out")}
	}
	return access, nil
}

func oneOf(known []string) error { return errors.New("needs one of " + strings.Join(known, ", ")) }

// checkEach reads a list of hosts.
func checkEach[T any](field string, list []string, parse func(string) (T, error)) ([]T, error) {
	if len(list) > MaxHosts {
		return nil, &SpecError{Field: field, Index: MaxHosts, Err: errors.New("the list has more than " + strconv.Itoa(MaxHosts) + " entries")}
	}
	read := make([]T, 0, len(list))
	for i, text := range list {
		value, err := parse(text)
		if err != nil {
			return nil, &SpecError{Field: field, Index: i, Err: err}
		}
		read = append(read, value)
	}
	return read, nil
}

// checkWebDomains refuses one that stands there twice, as ParseServices does.
func checkWebDomains(list []string) ([]Service, error) {
	const field = "web_domains"
	domains, err := checkEach(field, list, parseWebDomain)
	if err != nil {
		return nil, err
	}
	seen := make(map[Service]int)
	for i, domain := range domains {
		if first, twice := seen[domain]; twice {
			return nil, &SpecError{Field: field, Index: i, Err: errors.New("repeats entry " + strconv.Itoa(first+1) + "; leave it out")}
		}
		seen[domain] = i
	}
	return domains, nil
}

// parseWebDomain reads a name, or "*.example.com" for those below one.
func parseWebDomain(text string) (Service, error) {
	if strings.Contains(text, ":") {
		return Service{}, errors.New("holds a ':'; write a name without scheme and port, its web ports are 80 and 443")
	}
	domain, f := parseEntryHost(text)
	switch {
	case f != nil:
		return Service{}, errors.New(f.text)
	case domain.Name == "":
		return Service{}, errors.New("is an address; write a name, or list the address with a port in background_services")
	}
	return domain, nil
}
