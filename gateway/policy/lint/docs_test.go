package lint_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/gateway/policy/lint"
)

// The table of the documentation has the rules, all of them and no others.
func TestRulesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| rule | severity | it finds | fix | source |\n|---|---|---|---|---|\n")
	if !found {
		t.Fatal("the table of rules is gone")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(strings.TrimSpace(table), "\n")
	rules := lint.Rules()
	if len(rows) != len(rules) {
		t.Fatalf("%d rows for %d rules", len(rows), len(rules))
	}
	for i, rule := range rules {
		severity := string(rule.Severities[0])
		if len(rule.Severities) > 1 {
			severity = "error or warning"
		}
		cells := strings.Split(strings.Trim(rows[i], "| "), " | ")
		if len(cells) != 5 || cells[3] == "" {
			t.Errorf("row %q", rows[i])
			continue
		}
		if got, want := slices.Delete(cells, 3, 4), []string{"`" + rule.ID + "`", severity, rule.About, rule.Source}; !slices.Equal(got, want) {
			t.Errorf("row %q, want %q", got, want)
		}
	}
	dates := lint.DefaultFacts().EWS
	for _, day := range []lint.Date{dates.Blocked, dates.Gone} {
		if !strings.Contains(string(page), "| "+string(day)+" |") {
			t.Errorf("%s is not in the page", day)
		}
	}
}

// The transcript of a preset is what it prints.
func TestPresetIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	x, err := lint.Expand(lint.Preset{
		Mailboxes: "hybrid", Platform: "android", Exchange: []string{"mail.example.com"}, ADFS: []string{"adfs.example.com"}, Region: "emea",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), x.String()) {
		t.Errorf("the page does not have\n%s", x)
	}
}
