package bench

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.key")
	first, made, err := MakeKey(path)
	if err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key file has mode %v, %v", info.Mode(), err)
	}
	second, made, err := MakeKey(path)
	if err != nil || made || string(second.secret) != string(first.secret) {
		t.Fatalf("made again: %v, %v", made, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", first, first, first, first); strings.Contains(text, "{") || strings.Count(text, "[secret]") != 4 {
		t.Errorf("a key prints as %s", text)
	}
}

func TestKeysRefused(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(make([]byte, keyBytes))
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"group can read":  {good, 0o640, "chmod 600"},
		"others can read": {good, 0o604, "chmod 600"},
		"too short":       {good[:40], 0o600, "is not a key"},
		"no base64":       {strings.Repeat("!", 44), 0o600, "is not a key"},
		"empty":           {"", 0o600, "is not a key"},
		"too long":        {strings.Repeat("A", maxKeyFile+4), 0o600, "larger than"},
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if _, _, err := MakeKey(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadKey(t.TempDir()); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a folder: %v", err)
	}
}
