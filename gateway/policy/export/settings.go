package export

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/gateway/policy"
)

// Settings is a policy and what devices are told with it.
type Settings struct {
	// Name is the policy's name, as policy.Compile takes it.
	Name string
	// Match says which tickets the policy is for. The words are free text: at
	// most 256 bytes of UTF-8 each, without control characters.
	Match policy.Match
	// Spec is the policy as written. It must compile.
	Spec policy.Spec
	// Gateway is this gateway, fqdn:port with the public port. Where
	// Spec.Console.ServicesGateway is set, devices are told that one instead.
	Gateway string
	// TicketHours is how long a ticket lives, 1 to 8,760; 0 is 168.
	TicketHours int
	// Suffixes are the zones that devices ask the gateway about.
	Suffixes []string
	// DNS is where they ask, host:port inside a tunnel; "" is nowhere.
	DNS string
	// Pushreg are the registration hosts of the push region, host:port.
	Pushreg []string
	// Version is that of the server: at most 128 bytes of text, or "".
	Version string
}

// Bounds.
const (
	// MaxBytes is the greatest size of a file in any form, written or read.
	MaxBytes = 4 << 20

	defaultHours = 168
	maxHours     = 8760
	maxWord      = 256 // bytes of a word of Match
	maxVersion   = 128 // bytes
)

// Error says what is wrong with settings, or with a file that should hold them.
type Error struct {
	// Key is the setting's key, such as "policy.background_services"; "" if the
	// file as a whole is at fault.
	Key string
	// Entry is the place in a setting that is a list, from 1; else 0.
	Entry int
	// Line is where in a file the mistake stands, from 1; 0 if it was found
	// later, in what the file means.
	Line int
	// Err is the cause. Where the policy does not compile it is that of the
	// *policy.SpecError.
	Err error
}

// Error names line, key and cause. It holds no bytes of a file that are not
// printable ASCII.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Key != "" {
		b.WriteString(e.Key)
		if e.Entry > 0 {
			fmt.Fprintf(&b, "[%d]", e.Entry)
		}
		b.WriteString(": ")
	}
	return b.String() + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Normal checks the settings and brings them into their one spelling: hosts as
// by policy.ParseHost, lists without blanks, empty lists nil. The policy of the
// result has the same snapshot. All forms write it and give it back. Errors are
// *Error.
func (s Settings) Normal() (Settings, error) {
	if _, err := policy.Compile(s.Name, s.Spec); err != nil {
		return Settings{}, compileError(err)
	}
	var n normaliser
	for _, f := range fields {
		n.bring(&s, f)
	}
	switch {
	case s.TicketHours == 0:
		s.TicketHours = defaultHours
	case s.TicketHours < 1 || s.TicketHours > maxHours:
		n.fail("ticket_hours", 0, errors.New("needs a number from 1 to 8760"))
	}
	if n.err != nil {
		return Settings{}, n.err
	}
	return s, nil
}

// compileError puts the policy's own word for a setting into ours.
func compileError(err error) error {
	var spec *policy.SpecError
	if !errors.As(err, &spec) {
		return &Error{Key: "policy", Err: err}
	}
	if spec.Field == "name" {
		return &Error{Key: "name", Err: spec.Err}
	}
	e := &Error{Key: "policy." + spec.Field, Err: spec.Err}
	if f, ok := fieldOf(e.Key); ok && f.isList() {
		e.Entry = spec.Index + 1
	}
	return e
}

// normaliser keeps the first mistake.
type normaliser struct{ err error }

func (n *normaliser) fail(key string, entry int, err error) {
	if n.err == nil {
		n.err = &Error{Key: key, Entry: entry, Err: err}
	}
}

// bring spells one setting. Lists are made anew: the caller's stay as they are.
func (n *normaliser) bring(s *Settings, f field) {
	switch at := f.at(s).(type) {
	case *string:
		if f.spell == nil || *at == "" && !f.required {
			return
		}
		spelt, err := f.spell(*at)
		if err != nil {
			n.fail(f.key, 0, err)
		}
		*at = spelt
	case *[]string:
		if len(*at) > policy.MaxHosts {
			n.fail(f.key, policy.MaxHosts+1, fmt.Errorf("there are more than %d", policy.MaxHosts))
			return
		}
		var list []string
		for i, entry := range *at {
			if f.spell != nil {
				spelt, err := f.spell(entry)
				if err != nil {
					n.fail(f.key, i+1, err)
				}
				entry = spelt
			}
			list = append(list, entry)
		}
		*at = list
	}
}

// What follows spells one value each.

func spellServices(list string) (string, error) {
	services, err := policy.ParseServices(list)
	entries := make([]string, len(services))
	for i, s := range services {
		entries[i] = s.String()
	}
	return strings.Join(entries, ","), err
}

func spellHost(s string) (string, error) {
	host, err := policy.ParseHost(s)
	if err != nil {
		return "", err
	}
	return host.String(), nil
}

// spellTrusted allows for the blanks of the manuals' own examples.
func spellTrusted(s string) (string, error) { return spellHost(strings.TrimSpace(s)) }

func spellName(s string) (string, error) {
	host, err := policy.ParseHost(s)
	if err == nil && host.Name == "" {
		err = errors.New("needs a name, not an address")
	}
	return host.Name, err
}

func spellDomain(s string) (string, error) {
	name, wildcard := strings.CutPrefix(s, "*.")
	name, err := spellName(name)
	if wildcard {
		name = "*." + name
	}
	return name, err
}

// spellHostPort borrows the rules of the list for a single entry of it.
func spellHostPort(s string) (string, error) {
	services, err := policy.ParseServices(s)
	if err != nil {
		return "", err
	}
	if len(services) != 1 || services[0].Wildcard {
		return "", errors.New("needs one host:port")
	}
	return services[0].String(), nil
}

func spellWord(s string) (string, error)    { return s, checkText(s, maxWord) }
func spellVersion(s string) (string, error) { return s, checkText(s, maxVersion) }

// checkText admits what every form can carry: XML has no way to write most
// control characters (XML 1.0 §2.2). U+FFFD is what a wrong encoding leaves
// behind.
func checkText(s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("is longer than %d bytes", limit)
	}
	if !utf8.ValidString(s) {
		return errors.New("is not UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) || 0xFFFD <= r && r <= 0xFFFF {
			return errors.New("holds a control character or one that is none")
		}
	}
	return nil
}
