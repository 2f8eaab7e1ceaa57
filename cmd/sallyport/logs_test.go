package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/gateway/policy"
)

// TestLogsAreDocumented wants every event of the code in docs/logs.md, and no other.
func TestLogsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| [a-z, ]+ \\|.*\\|.*\\|$").FindAllSubmatch(page, -1) {
		for _, event := range regexp.MustCompile("`([a-z_]+)`").FindAllSubmatch(row[1], -1) {
			documented[string(event[1])] = true
		}
	}
	written := make(map[string]bool)
	event := regexp.MustCompile(`(?:Str\("event", |n\.attempt\([^,]*, )"([a-z_]+)"`)
	for _, folder := range []string{".", "internal/node"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range event.FindAllSubmatch(code, -1) {
				written[string(found[1])] = true
			}
		}
	}
	if len(written) < 30 {
		t.Fatalf("only %d events found in the code", len(written))
	}
	for event := range written {
		if !documented[event] {
			t.Errorf("docs/logs.md lacks %s", event)
		}
	}
	for event := range documented {
		if !written[event] {
			t.Errorf("docs/logs.md has %s, which nothing writes", event)
		}
	}
}

// TestReasonsAreDocumented wants every reason for which a destination is refused in
// the table of docs/logs.md, and no other in there.
func TestReasonsAreDocumented(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, table, found := strings.Cut(read("docs/logs.md"), "## Reasons of refusals")
	if !found {
		t.Fatal("docs/logs.md has no table of reasons")
	}
	documented := make(map[string]bool)
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		words, prefix := cells[1], ""
		if strings.Contains(words, "host_…") { // whose second halves are in the next cell
			words, prefix = cells[2], "host_"
		}
		for _, quoted := range regexp.MustCompile("`([a-z_ ]+)`").FindAllStringSubmatch(words, -1) {
			for word := range strings.FieldsSeq(quoted[1]) {
				documented[prefix+word] = true
			}
		}
	}
	written := map[string]bool{"host_malformed": true}
	for _, source := range []struct{ file, constant, prefix string }{
		{"gateway/refusal.go", `\tlabel[A-Za-z]+ += "([a-z_]+)"`, ""},
		{"gateway/policy/policy.go", `[A-Za-z]+ Reason = "([a-z_]+)"`, ""},
		{"gateway/policy/host.go", `Host[A-Za-z]+ +HostReason += "([a-z_]+)"`, "host_"},
	} {
		all := regexp.MustCompile(source.constant).FindAllStringSubmatch(read(source.file), -1)
		if len(all) < 5 {
			t.Errorf("only %d reasons found in %s", len(all), source.file)
		}
		for _, one := range all {
			written[source.prefix+one[1]] = true
		}
	}
	for _, class := range []policy.Class{policy.Never, policy.Own, policy.PinnedOnly, policy.Private} {
		written["address_"+class.String()] = true
	}
	delete(written, string(policy.Listed)) // which is why something is allowed
	for reason := range written {
		if !documented[reason] {
			t.Errorf("the table lacks %s", reason)
		}
	}
	for reason := range documented {
		if !written[reason] {
			t.Errorf("the table has %s, for which nothing is refused", reason)
		}
	}
}
