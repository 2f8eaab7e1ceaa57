package config

import (
	"maps"
	"slices"
	"strings"
)

// gap is a key that is known, and whose part is not built yet.
type gap struct {
	// key is the key, with [] for the items of lists.
	key string
	// built lists the values that work all the same.
	built []string
	// severity is Error where ignoring the key would change what is allowed,
	// trusted or stored.
	severity Severity
	// what names the part, and advice what to do instead.
	what, advice string
}

// gaps is the one list of what is not built yet. When a part is built, its
// line goes, and with it the marks in docs/configuration.md, which a test
// compares.
var gaps = []gap{
	{"certs.mode", []string{"dev", "files"}, Error, "ACME", "use mode files"},
	{"certs.acme", nil, Error, "ACME", "use mode files"},

	{"admin", nil, Warning, "the operators' API", "nothing will listen there"},
	{"health.listen", []string{""}, Warning, "the health listener", "nothing will listen there"},
}

// checkGaps reports the keys of the file that are not built yet.
func (r *reader) checkGaps() {
	for _, path := range slices.Sorted(maps.Keys(r.places)) {
		p := r.places[path]
		for _, g := range gaps {
			if !p.given || p.bad || p.form != g.key || p.single && slices.Contains(g.built, p.word()) {
				continue
			}
			message := g.what + " is not built yet; " + g.advice
			if p.single && len(g.built) > 0 {
				message = p.word() + ": " + message
			}
			r.add(p.line, p.column, path, g.severity, message)
		}
	}
}

// word returns the value as gaps spell it; truth has three spellings in YAML.
func (p place) word() string { return strings.ToLower(p.value) }
