package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestFull reads the file as it will be one day: every key is known today.
func TestFull(t *testing.T) {
	data, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"f:41:1: warning: admin: the operators' API is not built yet; nothing will listen there",
	}
	if got := said(string(data), folder(t)); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestGaps(t *testing.T) {
	in := func(old, with string) string { return edit(t, old, with) }
	top := func(line string) string { return minimal + line + "\n" }
	shownBy := map[string]struct{ text, want string }{
		"certs.mode":    {in("mode: dev", "mode: acme"), "f:10:15: certs.mode: acme: ACME is not built yet; use mode files"},
		"certs.acme":    {in("mode: dev", "acme: {email: a@example.com}"), "f:10:9: certs.acme: ACME is not built yet; use mode files"},
		"admin":         {top("admin: {}"), "f:11:1: warning: admin: the operators' API is not built yet; nothing will listen there"},
		"health.listen": {top("health: {listen: ':8080'}"), "f:11:18: warning: health.listen: :8080: the health listener is not built yet; nothing will listen there"},
	}
	dir := folder(t)
	for _, g := range gaps {
		example, ok := shownBy[g.key]
		if !ok {
			t.Errorf("%s: no file shows it", g.key)
			continue
		}
		if got := said(example.text, dir); !slices.Equal(got, []string{example.want}) {
			t.Errorf("got  %q\nwant %q", got, example.want)
		}
		c, _ := Parse("f", []byte(example.text), dir)
		if refused := c == nil; refused != (g.severity == Error) {
			t.Errorf("%s is %s, but refused is %t", g.key, g.severity, refused)
		}
		delete(shownBy, g.key)
	}
	for key := range shownBy {
		t.Errorf("%s is built, it seems: take its example out", key)
	}
}
