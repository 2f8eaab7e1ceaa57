package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the naive gateway cannot serve with is said, and no password.
func TestNaiveMistakes(t *testing.T) {
	dir := t.TempDir()
	id, err := newIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	password := func(text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const secret = "swordfish"
	good := naiveServer{"127.0.0.1:0", id.cert, id.key, password(secret+"\n", 0o600)}
	for want, change := range map[string]func(*naiveServer){
		"chmod 600":          func(n *naiveServer) { n.password = password(secret, 0o644) },
		"holds no password":  func(n *naiveServer) { n.password = password("\n", 0o600) },
		"1 to 255 bytes":     func(n *naiveServer) { n.password = password(strings.Repeat("x", 256), 0o600) },
		"its owner's alone":  func(n *naiveServer) { n.password = dir },
		"no such file":       func(n *naiveServer) { n.cert = filepath.Join(dir, "nowhere") },
		"listen tcp":         func(n *naiveServer) { n.listen = "192.0.2.1:1" },
		"failed to find any": func(n *naiveServer) { n.key = n.password },
	} {
		n := good
		change(&n)
		var out bytes.Buffer
		err := n.serve(t.Context(), &out)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) || out.Len() > 0 {
			t.Errorf("%v, want %s; %s", err, want, &out)
		}
	}
}
