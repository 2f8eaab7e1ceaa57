package main

import (
	"os"
	"path/filepath"
	"testing"

	benchreport "github.com/sallyport/sallyport/bench/report"
)

// A report is written over nothing, and through no link, whenever that was put there.
func TestReportIsNew(t *testing.T) {
	for _, name := range []string{recordName, pageName} {
		dir := t.TempDir()
		victim := filepath.Join(t.TempDir(), "victim")
		if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
			t.Fatal(err)
		}
		f := &benchRunFlags{out: dir}
		if _, err := f.folder(); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(victim, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.folder(); err == nil {
			t.Errorf("%s is taken for nothing", name)
		}
		if err := writeReport(dir, &benchreport.Report{Format: benchreport.Format}); err == nil {
			t.Errorf("%s is written over", name)
		}
		if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}
