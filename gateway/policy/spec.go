package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The one network access that can be compiled today, and the default.
const tunneled = "tunneled"

// ErrNotBuilt is the cause of a SpecError about a setting that is known and
// not built yet. Such a setting is refused, because ignoring it would change
// what is allowed.
var ErrNotBuilt = errors.New("not built yet")

// Spec is a policy as an administrator writes it.
type Spec struct {
	// NetworkAccess is "tunneled", which "" means too. "unrestricted" and
	// "web_sso" are not built yet.
	NetworkAccess string
	// ExchangeServers are the mail servers, most wanted first. They are what a
	// ticket without destination means; they are allowed only if Services
	// lists them.
	ExchangeServers []string
	// Services is the list of background network services, "host:port,host:port".
	Services string
	// EWSHost is where Exchange Web Services live; "" is the mail server.
	EWSHost string
	// PushRegion is "americas", "emea", "apac" or "".
	PushRegion string
	// SplitTunnel is "on", "off", "reverse" or "". It tells devices what to
	// send here, and never changes what is allowed.
	SplitTunnel string
	// SplitDNS is "remote", "local", "both" or "". It is for devices too.
	SplitDNS string
}

// SpecError reports the first setting of a Spec that cannot be compiled.
type SpecError struct {
	// Field is the setting's key in a configuration file, such as
	// "background_services".
	Field string
	// Index is the place in a setting that is a list, from 0; else 0.
	Index int
	// Err is the cause: a *ListError, a *HostError, ErrNotBuilt or other.
	Err error
}

// Error names the setting and the cause.
func (e *SpecError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SpecError) Unwrap() error { return e.Err }

// Compile checks a spec and makes the policy of it. The name is 1 to 64 of
// a–z, A–Z, 0–9, '.', '_' and '-'; it begins the IDs of the policy's rules.
// Errors are *SpecError.
func Compile(name string, s Spec) (*Policy, error) {
	if !validPolicyName(name) {
		return nil, &SpecError{Field: "name", Err: errors.New("needs 1 to 64 letters, digits, '.', '_' or '-'")}
	}
	if err := s.checkModes(); err != nil {
		return nil, err
	}
	services, err := ParseServices(s.Services)
	if err != nil {
		return nil, &SpecError{Field: "background_services", Err: err}
	}
	exchange := make([]Host, 0, len(s.ExchangeServers))
	for i, server := range s.ExchangeServers {
		host, err := ParseHost(server)
		if err != nil {
			return nil, &SpecError{Field: "exchange_server", Index: i, Err: err}
		}
		exchange = append(exchange, host)
	}
	var ews Host
	if s.EWSHost != "" {
		if ews, err = ParseHost(s.EWSHost); err != nil {
			return nil, &SpecError{Field: "ews_host", Err: err}
		}
	}
	p := newPolicy(name, services, exchange)
	p.snapshot = snapshotID(name, s, services, exchange, ews)
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

func (s Spec) checkModes() error {
	switch s.NetworkAccess {
	case "", tunneled:
	case "unrestricted", "web_sso":
		return &SpecError{Field: "network_access", Err: fmt.Errorf("%s is %w; write %s", s.NetworkAccess, ErrNotBuilt, tunneled)}
	default:
		return &SpecError{Field: "network_access", Err: errors.New("needs unrestricted, tunneled or web_sso")}
	}
	modes := []struct {
		field, value string
		known        []string
	}{
		{"push_region", s.PushRegion, []string{"americas", "emea", "apac"}},
		{"split_tunnel", s.SplitTunnel, []string{"on", "off", "reverse"}},
		{"split_dns", s.SplitDNS, []string{"remote", "local", "both"}},
	}
	for _, m := range modes {
		if m.value != "" && !slices.Contains(m.known, m.value) {
			return &SpecError{Field: m.field, Err: errors.New("needs one of " + strings.Join(m.known, ", "))}
		}
	}
	return nil
}

// snapshotID names the content of a policy: equal content, equal ID, however
// it was spelt. Every string goes in with its length, so that none can flow
// into the next.
func snapshotID(name string, s Spec, services []Service, exchange []Host, ews Host) string {
	h := sha256.New()
	put := func(text string) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(text)))
		h.Write(n[:])
		h.Write([]byte(text))
	}
	put(name)
	put(tunneled)
	put(fmt.Sprint(len(exchange)))
	for _, host := range exchange {
		put(host.String())
	}
	put(fmt.Sprint(len(services)))
	for _, service := range services {
		put(service.String())
	}
	put(ews.String())
	put(s.PushRegion)
	put(s.SplitTunnel)
	put(s.SplitDNS)
	return hex.EncodeToString(h.Sum(nil)[:6])
}
