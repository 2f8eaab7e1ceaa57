package sta_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func keys(t *testing.T, lines ...string) []sta.Key {
	t.Helper()
	keys, err := sta.ParseKeyFile([]byte(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestAuthenticate(t *testing.T) {
	old, next, other := randomKeyLine(), randomKeyLine(), randomKeyLine()
	clients, err := sta.NewClients([]sta.ClientConfig{
		{Name: "enrolment", Keys: keys(t, old, next)},
		{Name: "gw-1", Keys: keys(t, other), May: sta.MayRedeem},
	})
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{old: "enrolment", next: "enrolment", other: "gw-1"} {
		client, err := clients.Authenticate(line)
		if err != nil || client.Name != want {
			t.Errorf("%v, %v; want %s", client, err, want)
		}
	}
	if c, _ := clients.Authenticate(old); c.May != sta.DefaultRights {
		t.Errorf("rights %b, want the default", c.May)
	}
	bare := strings.TrimRight(old, "=")
	for _, line := range []string{"", " ", bare, old + " ", " " + old, strings.ToLower(old), old + next, old[:40], strings.Repeat("A", 2000)} {
		_, err := clients.Authenticate(line)
		wantReason(t, err, ticket.Unauthenticated)
	}
	nobody, err := sta.NewClients(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = nobody.Authenticate("")
	wantReason(t, err, ticket.Unauthenticated)
}

func TestNewClientsRefuses(t *testing.T) {
	k := keys(t, randomKeyLine())
	for name, configs := range map[string][]sta.ClientConfig{
		"no name":     {{Keys: k}},
		"odd name":    {{Name: "a\nb", Keys: k}},
		"long name":   {{Name: strings.Repeat("a", 65), Keys: k}},
		"no key":      {{Name: "a"}},
		"empty key":   {{Name: "a", Keys: make([]sta.Key, 1)}},
		"three keys":  {{Name: "a", Keys: append(keys(t, randomKeyLine(), randomKeyLine()), k...)}},
		"same name":   {{Name: "a", Keys: k}, {Name: "a", Keys: keys(t, randomKeyLine())}},
		"same key":    {{Name: "a", Keys: k}, {Name: "b", Keys: k}},
		"negative":    {{Name: "a", Keys: k, MaxLifetime: -1}},
		"umlaut name": {{Name: "ä", Keys: k}},
	} {
		if _, err := sta.NewClients(configs); err == nil {
			t.Errorf("%s was accepted", name)
		} else if strings.Contains(err.Error(), k[0].Reveal()) {
			t.Errorf("%s: the error shows a key", name)
		}
	}
}

func TestParseRights(t *testing.T) {
	if got, err := sta.ParseRights(nil); err != nil || got != sta.DefaultRights {
		t.Errorf("none: %b, %v", got, err)
	}
	if got, err := sta.ParseRights([]string{"redeem", "list"}); err != nil || got != sta.MayRedeem|sta.MayList {
		t.Errorf("redeem and list: %b, %v", got, err)
	}
	if _, err := sta.ParseRights([]string{"Issue"}); err == nil {
		t.Error("Issue was accepted")
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	line := randomKeyLine()
	key := keys(t, line)[0]
	encoded, err := json.Marshal(map[string]any{"key": key, "config": sta.ClientConfig{Name: "a", Keys: []sta.Key{key}}})
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s %q %x %v", key, []sta.Key{key}, &key, key, key, key, sta.ClientConfig{Keys: []sta.Key{key}})
	for _, text := range []string{string(encoded), printed} {
		if strings.Contains(text, line[:8]) || strings.Contains(text, fmt.Sprintf("%x", line[:8])) {
			t.Errorf("shows the key: %s", text)
		}
	}
}

func TestReadKeyFileWantsItForItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "enrolment.key")
	line := randomKeyLine()
	if err := os.WriteFile(path, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := sta.ReadKeyFile(path); err != nil || len(got) != 1 || got[0].Reveal() != line {
		t.Fatalf("%v, %v", got, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := sta.ReadKeyFile(path); err == nil {
			t.Errorf("mode %04o was accepted", mode)
		}
	}
}

func FuzzParseKeyFile(f *testing.F) {
	line := randomKeyLine()
	for _, seed := range []string{
		line, line + "\n", line + "\r\n", line + "\n" + randomKeyLine() + "\n", line + "\n" + line, "", "\n", "\n" + line,
		line + "\n\n", " " + line, line + " ", "short", strings.Repeat("A", 2000), line + "\nx\ny", line[:43], "a\rb" + line,
		strings.NewReplacer("+", "-", "/", "_").Replace(line), strings.TrimRight(line, "="), line + "=",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := sta.ParseKeyFile(data)
		if err != nil {
			if len(data) > 20 && strings.Contains(err.Error(), string(data)) {
				t.Errorf("the error shows the file: %v", err)
			}
			return
		}
		if len(parsed) < 1 || len(parsed) > sta.MaxClientKeys {
			t.Fatalf("%d keys", len(parsed))
		}
		clients, err := sta.NewClients([]sta.ClientConfig{{Name: "a", Keys: parsed}})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range parsed {
			if !strings.Contains(string(data), key.Reveal()) || strings.ContainsAny(key.Reveal(), "\r\n ") {
				t.Errorf("key %q is no line of the file", key.Reveal())
			}
			if _, err := clients.Authenticate(key.Reveal()); err != nil {
				t.Errorf("its own key does not fit: %v", err)
			}
		}
	})
}
