package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
