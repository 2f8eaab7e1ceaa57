package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSyntax(t *testing.T) {
	const nothing = "f:1:1: there is nothing to do; " + least
	const brackets = "brackets do not match, or what stands between them lacks a comma or has one too many"
	const neighbours = "the line cannot be read; is it indented like its neighbours?"
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", []string{"f:1:1: the file is empty; " + least}},
		{"# only a comment\n", []string{"f:1:1: the file is empty; " + least}},
		{"~\n", []string{"f:1:1: the file is empty; " + least}},
		{"just words\n", []string{"f:1:1: needs keys with values, such as  node: gw-1"}},
		{"- a\n- b\n", []string{"f:1:1: needs keys with values, such as  node: gw-1"}},
		{"\ufeff# a byte order mark\n", []string{"f:1:1: the file is empty; " + least}},

		// What YAML can do and this file may not.
		{"node: a\n---\nnode: b\n", []string{nothing, "f:2:1: a second document begins here; one file holds one document"}},
		{"node: &a [*a]\n", []string{nothing,
			"f:1:7: an anchor (&) is not used in this file; leave it out, or quote the value if it begins with &",
			"f:1:7: node: needs a text",
			"f:1:11: an alias (*) is not used in this file; write the value out, or quote it if it begins with *"}},
		{"log: &l {}\nnode: *l\n", []string{nothing,
			"f:1:6: an anchor (&) is not used in this file; leave it out, or quote the value if it begins with &",
			"f:2:7: an alias (*) is not used in this file; write the value out, or quote it if it begins with *"}},
		{"node: !!str a\n", []string{nothing, "f:1:7: a tag (!) is not used in this file; leave it out, or quote the value if it begins with an exclamation mark"}},

		// What is no text.
		{"node: a\xff\n", []string{"f:1:8: this is not UTF-8; save the file as UTF-8"}},
		{"n\x00o\x00d\x00e\x00", []string{"f:1:2: the file holds an invisible control character here; delete it"}},
		{"node: ä\u2028b\n", []string{"f:1:8: the file holds an invisible control character here; delete it"}},
		{"node: a\rlog: b\n", []string{"f:1:8: the file holds an invisible control character here; delete it"}},
		{"node: a\r\nlg: {}\r\n", []string{nothing, "f:2:1: lg: unknown key; did you mean log?"}},

		// What cannot be read: the place is where a person would look.
		{"a: 1\nb:\n\tc: d\n", []string{"f:3:1: the line is indented by a tab; indent by blanks"}},
		{"a: 1\nb:\n  c: d\n\te: f\n", []string{"f:4:1: the line is indented by a tab; indent by blanks"}},
		{"a: 1\nb: c: d\ne: 1\n", []string{"f:2:5: a second colon with a blank behind it; quote the value, or begin a new line"}},
		{"ä: ö: ü", []string{"f:1:5: a second colon with a blank behind it; quote the value, or begin a new line"}},
		{"a: 1\nb: [1, 2\nc: 3\nd: 4\n", []string{"f:2:4: " + brackets}},
		{"a: 1\nb: {c: 1\nd: 4\n", []string{"f:2:4: " + brackets}},
		{"a: [1, 2]]\nc: 3\n", []string{"f:1:4: " + brackets}},
		{"a: 1\nb: \"c\nd: 4\ne: 5\n", []string{"f:2:4: a quotation mark is opened and never closed"}},
		{"a: 1\nb: 'c\nd: 4\ne: 5\n", []string{"f:2:4: a quotation mark is opened and never closed"}},
		{`a: "C:\dir"`, []string{"f:1:7: a backslash between double quotation marks begins an escape; use single ones"}},
		{"a: 1\nb: @c\n", []string{"f:2:4: a value that begins with @ must be quoted"}},
		{"a: 1\nb: *.example.com:443\nc: 3\n", []string{"f:2:4: a value that begins with * must be quoted"}},
		{"a: 1\nb: *example\nc: 3\n", []string{"f:2:4: a value that begins with * must be quoted"}},
		{"a: 1\n  b: 2\nc: 3\n", []string{"f:2:3: " + neighbours}},
		{"a:\n   b: 2\n  c: 3\nd: 4\ne: 5\n", []string{"f:3:3: " + neighbours}},
		{"a:\n  - b: 1\n   c: 2\nd: 3\n", []string{"f:3:4: " + neighbours}},
		{"a: 1\nb\nc: 3\n", []string{"f:2:1: this is no  key: value"}},
		{"node: a\n...\nb: 2\n", []string{nothing, "f:3:1: the line cannot be read as YAML"}},
	} {
		if got := said(tt.text, t.TempDir()); !slices.Equal(got, tt.want) {
			t.Errorf("%q\n got %q\nwant %q", tt.text, got, tt.want)
		}
	}
}

// A file that is made to cost much must not: neither by nesting, nor by
// aliases, nor by making us look for the place of a mistake in it.
func TestCostlyFiles(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'z'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+",", 9) + "]\n"
	}
	for name, text := range map[string]string{
		"aliases":                              bomb,
		"nesting":                              "a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"a bracket left open above many lines": "a: [\n" + strings.Repeat("x,\n", 20_000) + "}",
		"a long key":                           strings.Repeat("x", 100_000) + ": 1\n",
	} {
		start := time.Now()
		c, diagnostics := Parse("f", []byte(text), t.TempDir())
		if c != nil || !diagnostics.HasErrors() {
			t.Errorf("%s: accepted", name)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		for _, d := range diagnostics {
			if len(d.String()) > 2000 {
				t.Errorf("%s: a diagnostic of %d bytes", name, len(d.String()))
			}
		}
	}
}
