package export

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestPACTableIsData shows that no setting can leave its string: the engine
// reads the same table as Go does, and the answers stay what they are.
func TestPACTableIsData(t *testing.T) {
	s := sample()
	s.Spec.SplitTunnel = "off"
	s.Match.Groups = nasty
	for _, version := range nasty {
		s.Version = version
		pac, err := PAC(s, proxies)
		if err != nil {
			t.Fatal(err)
		}
		var read struct {
			Table  json.RawMessage
			Answer string
		}
		evaluate(t, t.TempDir(), pac,
			`{Table: settings, Answer: FindProxyForURL("https://evil.example/", "evil.example")}`, &read)
		got, err := ParseJSON(read.Table)
		if err != nil {
			t.Fatal(err)
		}
		want, err := s.Normal()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("version %q: the engine reads %+v, want %+v", version, got, want)
		}
		if read.Answer != gatewayWay {
			t.Errorf("version %q: %s", version, read.Answer)
		}
	}
}

func TestProxies(t *testing.T) {
	for _, c := range []struct {
		given Proxies
		ways  string
	}{
		{Proxies{HTTP: "127.0.0.1:8118"}, "PROXY 127.0.0.1:8118"},
		{Proxies{SOCKS: "localhost:1080"}, "SOCKS5 localhost:1080"},
		{Proxies{HTTP: "[::1]:8118", SOCKS: "Proxy.example.com:1080"}, "PROXY [::1]:8118; SOCKS5 proxy.example.com:1080"},
	} {
		got, err := c.given.ways()
		if err != nil || strings.Join(got, "; ") != c.ways {
			t.Errorf("%+v: %q, %v; want %q", c.given, got, err, c.ways)
		}
	}
	for _, bad := range []Proxies{
		{},
		{HTTP: "127.0.0.1:8118; DIRECT"}, {HTTP: "127.0.0.1"}, {HTTP: "127.0.0.1:0"}, {HTTP: ":8118"},
		{HTTP: "*.example.com:80"}, {HTTP: "a:80,b:80"}, {HTTP: `"+DIRECT+":80`}, {HTTP: "DIRECT"},
		{SOCKS: "[::1]:0"}, {SOCKS: "[fe80::1%eth0]:1080"}, {SOCKS: "::1:1080"}, {SOCKS: "a b:1080"}, {HTTP: "127.0.0.1:8118", SOCKS: "\n"},
	} {
		if _, err := PAC(least(), bad); err == nil {
			t.Errorf("%+v passed", bad)
		}
	}
}

// TestParsePACMistakes changes a good file at every place that could matter.
func TestParsePACMistakes(t *testing.T) {
	good, err := PAC(sample(), proxies)
	if err != nil {
		t.Fatal(err)
	}
	for old, changed := range map[string]string{
		"return throughGateway":       "return !throughGateway",
		`"PROXY 127.0.0.1:8118"`:      `"DIRECT"`,
		"\n  \"SOCKS5 [::1]:1080\"\n": "\n  \"SOCKS5 [::1]:1080; DIRECT\"\n",
		"\n  \"format\": 1,":          "\n  \"format\": 2,",
		"\"split_tunnel\": \"on\"":    "\"split_tunnel\":\"on\"",
		"\"name\": \"mail-emea\"":     "\"name\": \"mail-emea\", \"name\": \"other\"",
		"var proxies":                 "var proxies = [];\nvar proxies",
		"// Proxy":                    "evil(); // Proxy",
		"mail.example.com:443":        "mail.example.com:443 ",
		"outlook.office365.com":       "OUTLOOK.office365.com",
		"\"ews.example.com\"":         "\"\\u0065ws.example.com\"",
	} {
		file := bytes.Replace(good, []byte(old), []byte(changed), 1)
		if bytes.Equal(file, good) {
			t.Fatalf("%q is not in the file", old)
		}
		if _, _, err := ParsePAC(file); err == nil {
			t.Errorf("took a file with %q", changed)
		} else {
			wantPrintable(t, err)
		}
	}
	for _, file := range [][]byte{nil, append(slices.Clone(good), ' '), good[:len(good)-1], bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n"))} {
		if _, _, err := ParsePAC(file); err == nil {
			t.Errorf("took a file of %d bytes", len(file))
		}
	}
}

// TestProgramIsPlain keeps the program to what every engine reads.
func TestProgramIsPlain(t *testing.T) {
	for i := range len(program) {
		if c := program[i]; c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("byte %d of pac.js is %#x", i, c)
		}
	}
	for _, never := range []string{"dnsResolve", "isInNet", "isResolvable", "dnsDomainIs", "shExpMatch", "myIpAddress", "; DIRECT", "=>", "let ", "const ", "`"} {
		if strings.Contains(program, never) {
			t.Errorf("pac.js has %q", never)
		}
	}
}
