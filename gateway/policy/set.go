package policy

import (
	"errors"
	"strconv"
)

// DefaultName is the name of the policy that holds where no other does.
const DefaultName = "default"

// MaxPolicies is the greatest number of policies beside the default one.
const MaxPolicies = 256

// Match says which tickets a policy is for: those that every list which is not
// empty has a word of. Words are compared without the case of ASCII letters; of
// a ticket's groups any may be meant. A Match without any list matches none: its
// policy is for the tickets that name it.
type Match struct {
	Apps, Platforms, Groups []string
}

// Named is a policy beside the default one.
type Named struct {
	Name  string
	Match Match
	Spec  Spec
}

// Holder is what a policy is chosen by: what the ticket says.
type Holder struct {
	// Policy is the name that the ticket gives, or "".
	Policy string
	// App and Platform may be empty.
	App, Platform string
	Groups        []string
}

// Set is all policies of a gateway, compiled. It is immutable.
type Set struct {
	def      *Policy
	named    []*Policy // in the order in which they match
	byName   map[string]*Policy
	choice   choice
	snapshot string
}

// CompileSet makes a set. The order of named decides where several match: the
// first one does. A name must be a policy's own, whatever its case, and may not
// be "default"; and a policy with a Match must have a ticket that is left to it
// by the policies before it. Errors are *SetError.
func CompileSet(def Spec, named []Named) (*Set, error) {
	p, err := Compile(DefaultName, def)
	if err != nil {
		return nil, &SetError{Policy: DefaultName, Err: err}
	}
	s := &Set{def: p, byName: map[string]*Policy{DefaultName: p}, choice: newChoice(), snapshot: p.snapshot}
	if len(named) == 0 {
		return s, nil
	}
	taken := map[string]bool{DefaultName: true}
	h := newContent()
	h.put(p.snapshot)
	for i, n := range named {
		if err := s.add(i, n, taken, h); err != nil {
			return nil, &SetError{Policy: n.Name, Err: err}
		}
	}
	s.snapshot = h.id()
	return s, nil
}

// add compiles the policy at place i. taken holds the folded names so far.
func (s *Set) add(i int, n Named, taken map[string]bool, h content) error {
	p, err := Compile(n.Name, n.Spec)
	if err != nil {
		return err
	}
	switch folded := fold(n.Name); {
	case i >= MaxPolicies:
		return conflict("name", "is one policy too many; "+strconv.Itoa(MaxPolicies)+" may stand beside the default one")
	case folded == DefaultName:
		return conflict("name", "is the name of the policy that holds where no other does; choose another")
	case taken[folded]:
		return conflict("name", "is the name of two policies; choose another")
	default:
		taken[folded] = true
	}
	words, err := n.Match.check()
	if err != nil {
		return err
	}
	s.named = append(s.named, p)
	s.byName[n.Name] = p
	s.choice.add(i, words)
	if by, all := s.choice.takenBefore(i, words); all {
		return conflict("match", "matches no ticket that does not go to "+s.names(by)+" before; put it in front, or match less there")
	}
	h.put(p.snapshot)
	words.putInto(h)
	return nil
}

// names lists policies by their places.
func (s *Set) names(places places) string {
	text := ""
	for i := range places.all() {
		if text != "" {
			text += ", "
		}
		text += s.named[i].name
	}
	return text
}

// SetError says which policy of a set is at fault.
type SetError struct {
	// Policy is its name as given, good or not.
	Policy string
	// Err is a *SpecError. Beside the fields of a Spec there are "name",
	// "match", where policies conflict, and "match.apps", "match.platforms" and
	// "match.groups".
	Err error
}

func conflict(field, problem string) error {
	return &SpecError{Field: field, Err: errors.New(problem)}
}

// Error names the policy and the cause.
func (e *SetError) Error() string {
	if !validPolicyName(e.Policy) {
		return "policy " + strconv.QuoteToASCII(e.Policy[:min(len(e.Policy), 64)]) + ": " + e.Err.Error()
	}
	return "policy " + e.Policy + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *SetError) Unwrap() error { return e.Err }

// For returns the policy for a ticket, and does not allocate: the one that the
// ticket names, match or not; else the first that matches; else the default one.
// It is nil if the ticket names a policy that the set does not have.
func (s *Set) For(h Holder) *Policy {
	if h.Policy != "" {
		return s.byName[h.Policy]
	}
	if i, ok := s.choice.first(h); ok {
		return s.named[i]
	}
	return s.def
}

// Default is the policy that holds where no other does.
func (s *Set) Default() *Policy { return s.def }

// All returns every policy, the default one last.
func (s *Set) All() []*Policy { return append(s.named[:len(s.named):len(s.named)], s.def) }

// Snapshot is a short hash of all policies, their order and what they match, 12
// hex digits. Where there is only the default policy it is the policy's own.
func (s *Set) Snapshot() string { return s.snapshot }
