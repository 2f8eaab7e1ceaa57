package config

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sta"
)

// minimal is a file without a mistake, for tests that add one.
const minimal = `sta:
  id: STA01
  listen: 127.0.0.1:8442
  clients: [{name: enrolment, key_file: enrolment.key}]
gateway:
  fqdn: gateway.example.com
  listen: 127.0.0.1:8443
  authorities: [local]
  policy: {background_services: "mail.example.com:443"}
certs: {mode: dev}
`

// folder is a folder for a configuration file, with a key that minimal names.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "enrolment.key", newKey()+"\n", 0o600)
	return dir
}

func write(t testing.TB, dir, name, content string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
}

func newKey() string {
	var raw [sta.MinKeyBytes]byte
	rand.Read(raw[:])
	return base64.StdEncoding.EncodeToString(raw[:])
}

// edit replaces one piece of minimal.
func edit(t testing.TB, old, with string) string {
	t.Helper()
	if strings.Count(minimal, old) != 1 {
		t.Fatalf("%q stands %d times in the file to edit", old, strings.Count(minimal, old))
	}
	return strings.Replace(minimal, old, with, 1)
}

// said returns the diagnostics of a text, as lines without the folder's name.
func said(text, dir string, options ...Option) []string {
	_, diagnostics := Parse("f", []byte(text), dir, options...)
	var lines []string
	for _, d := range diagnostics {
		lines = append(lines, strings.ReplaceAll(d.String(), dir, "DIR"))
	}
	return lines
}

// good parses a text that must be without any diagnostic.
func good(t testing.TB, text, dir string, options ...Option) *Config {
	t.Helper()
	c, diagnostics := Parse("f", []byte(text), dir, options...)
	if c == nil || len(diagnostics) != 0 {
		t.Fatalf("diagnostics:\n%s", diagnostics)
	}
	return c
}
