package config

import (
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// foreign are words of Go and of YAML's inside that a message never holds.
var foreign = []string{"!!", "map[", "[]", "<nil>", "string into", "unmarshal", "reflect", "struct", "interface", "netip", "time.Duration", "yaml:"}

func FuzzParse(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		minimal, string(full), "", "a", "- a\n", "sta:\n", "sta: 1\ngateway: []\n", "sta: {clients: [1, {}, [], ~]}\n",
		"a: &a [*a]\n", "<<: {node: a}\n", "? [a]\n: b\n", "node: !!binary a\n", "node: a\n---\nb: c\n", "a:\n\tb: c\n",
		"a: [\nb: c\n", "a: \"\n", "a: 'b\n", "a: |\n b\n c\n", "a: >-\n b\n", "\ufeffnode: a\n", "node: \"\\0\"\n",
		"gateway: {listen: ':1', authorities: [local, {}], policy: {background_services: 'a:1,,b'}}\n",
		"splitdns: {hosts: {a: [1.2.3.4], A.: [::1], '': [], ~: 1}}\n", "health: {listen: '[fe80::1%x]:1'}\n",
		"a: # b\n# c\n  # d\n- e\n# f\n", "[a, b: c]: d\n", "{a, b}\n", "certs: {files: [{cert: /dev/zero, key: /dev/tty}]}\n",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		c, diagnostics := Parse("f", data, dir)
		if (c == nil) != diagnostics.HasErrors() || (diagnostics.Err() != nil) != diagnostics.HasErrors() {
			t.Fatalf("a config and errors, or neither: %q", diagnostics)
		}
		lines := strings.Count(string(data), "\n") + 1
		for _, d := range diagnostics {
			if d.Line < 1 || d.Line > lines || d.Column < 1 || d.Message == "" || d.File != "f" {
				t.Fatalf("nowhere in %d lines: %+v", lines, d)
			}
			text := d.String()
			if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
				t.Fatalf("unfit for a terminal: %q", text)
			}
			for _, word := range foreign {
				if strings.Contains(d.Message, word) && !strings.Contains(string(data), word) {
					t.Fatalf("%q speaks of %q", text, word)
				}
			}
		}
	})
}
