package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sallyport/sallyport/gateway/policy"
)

// maxShownList is the longest corrected list that a message shows, in bytes.
const maxShownList = 2000

// checkPolicies judges the default policy and the named ones, each by itself and
// then all together, and points into their lists.
func (r *reader) checkPolicies(c *Config) {
	good := r.checkPolicy("gateway.policy", policy.DefaultName, &c.Gateway.Policy)
	named := c.NamedPolicies()
	for _, n := range named {
		at := "gateway.policies." + n.Name
		p := c.Gateway.Policies[n.Name]
		if r.bad("gateway.policies") || r.bad(at) || !r.checkPolicy(at, n.Name, &p.Policy) {
			good = false
		}
		if r.bad(at+".match") || slices.ContainsFunc([]string{"apps", "platforms", "groups"}, func(list string) bool { return r.bad(at + ".match." + list) }) {
			good = false
		}
	}
	if !good {
		return
	}
	var conflict *policy.SetError
	if _, err := policy.CompileSet(c.Gateway.Policy.Spec(), named); errors.As(err, &conflict) {
		r.sayConflict("gateway.policies."+conflict.Policy, conflict.Err)
	}
}

// sayConflict reports what is wrong with a policy beside the others: its name, or
// the tickets that it is for.
func (r *reader) sayConflict(at string, err error) {
	var flaw *policy.SpecError
	if !errors.As(err, &flaw) {
		r.say(at, err.Error())
		return
	}
	if flaw.Field != "name" {
		at += "." + flaw.Field
		if one := item(at, flaw.Index); r.places[one].given {
			at = one
		}
	}
	r.say(at, flaw.Err.Error())
}

// checkPolicy judges one policy, and reports whether it can be used.
func (r *reader) checkPolicy(at, name string, p *Policy) bool {
	if r.bad(at) {
		return false
	}
	list := at + ".background_services"
	if r.bad(list) {
		return false
	}
	var flaw *policy.SpecError
	_, err := policy.Compile(name, p.Spec())
	switch {
	case errors.As(err, &flaw):
		r.sayInPolicy(at, p, flaw)
		return false
	case err != nil:
		r.say(at, err.Error())
		return false
	case p.BackgroundServices == "" && len(p.WebDomains) == 0 && p.NetworkAccess != policy.AccessUnrestricted:
		r.sayAs(Warning, list, "nothing is listed, so every tunnel will be refused")
	}
	return true
}

// sayInPolicy reports what is wrong with a setting of a policy, once: what the
// decoder refused is not judged again.
func (r *reader) sayInPolicy(at string, p *Policy, flaw *policy.SpecError) {
	path := at + "." + flaw.Field
	if flaw.Field == "background_services" {
		r.sayInList(path, p.BackgroundServices, flaw.Err)
		return
	}
	if one := item(path, flaw.Index); r.places[one].given {
		path = one
	}
	if !r.bad(path) {
		r.say(path, flaw.Err.Error())
	}
}

// sayInList reports a mistake of an allow-list, at the very character where
// the list stands on one line as it is, else at its beginning.
func (r *reader) sayInList(path, list string, err error) {
	var mistake *policy.ListError
	if !errors.As(err, &mistake) {
		r.say(path, err.Error())
		return
	}
	r.sayOfEntry(path, list, mistake, Diagnostic{Severity: Error})
}

// sayOfEntry is sayInList with the severity, fix and rule of d.
func (r *reader) sayOfEntry(path, list string, mistake *policy.ListError, d Diagnostic) {
	p := r.places[path]
	column := p.column
	if start, ok := startOf(r.lines, p, list); ok {
		column = start + mistake.Column - 1
	}
	message := fmt.Sprintf("entry %d %s", mistake.Entry, mistake.Problem)
	if mistake.Corrected != "" && len(mistake.Corrected) <= maxShownList {
		message += "; the corrected list is " + mistake.Corrected
	}
	r.add(p.line, column, path, d.Severity, message)
	said := &r.diagnostics[len(r.diagnostics)-1]
	said.Fix, said.Rule = d.Fix, d.Rule
}

// startOf returns the column of a value's first character, past a quotation
// mark. It fails for a value that is written otherwise than it reads: over
// several lines, or with escapes.
func startOf(lines []string, p place, value string) (column int, ok bool) {
	if p.line < 1 || p.line > len(lines) {
		return 0, false
	}
	text := strings.TrimPrefix(lines[p.line-1], "\ufeff")
	for range p.column - 1 {
		_, size := utf8.DecodeRuneInString(text)
		text = text[size:]
	}
	for _, quotes := range []string{"", `"`, `'`} {
		if strings.HasPrefix(text, quotes+value) {
			return p.column + len(quotes), true
		}
	}
	return 0, false
}
