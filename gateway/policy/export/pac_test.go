package export

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
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
		{Proxies{HTTPS: "Gateway3.example.com.:443"}, "HTTPS gateway3.example.com:443"},
		{
			Proxies{SOCKS: "127.0.0.1:1080", HTTP: "127.0.0.1:8118", HTTPS: "[2001:db8::1]:443"},
			"HTTPS [2001:db8::1]:443; PROXY 127.0.0.1:8118; SOCKS5 127.0.0.1:1080",
		},
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
		{HTTPS: "gateway3.example.com"}, {HTTPS: "gateway3.example.com:443; DIRECT"}, {HTTPS: `a:443"]; evil(); ["`}, {HTTPS: "https://a:443"},
	} {
		if _, err := PAC(least(), bad); err == nil {
			t.Errorf("%+v passed", bad)
		}
	}
}

// TestParseProxy reads one proxy, and nothing that a PAC file could take for more.
func TestParseProxy(t *testing.T) {
	for way, want := range map[string]struct {
		p     Proxies
		spelt string
	}{
		"HTTPS gateway3.example.com:443":   {Proxies{HTTPS: "gateway3.example.com:443"}, "HTTPS gateway3.example.com:443"},
		"HTTPS GATEWAY3.example.com.:443":  {Proxies{HTTPS: "gateway3.example.com:443"}, "HTTPS gateway3.example.com:443"},
		"HTTPS b\u00fccher.example:443":    {Proxies{HTTPS: "xn--bcher-kva.example:443"}, "HTTPS xn--bcher-kva.example:443"},
		"PROXY 127.0.0.1:8118":             {Proxies{HTTP: "127.0.0.1:8118"}, "PROXY 127.0.0.1:8118"},
		"SOCKS5 [2001:DB8:0::1]:1080":      {Proxies{SOCKS: "[2001:db8::1]:1080"}, "SOCKS5 [2001:db8::1]:1080"},
		"SOCKS5 localhost:65535":           {Proxies{SOCKS: "localhost:65535"}, "SOCKS5 localhost:65535"},
		"PROXY constructor.prototype:8118": {Proxies{HTTP: "constructor.prototype:8118"}, "PROXY constructor.prototype:8118"},
	} {
		p, err := ParseProxy(way)
		if err != nil || p != want.p {
			t.Errorf("%q: %+v, %v", way, p, err)
			continue
		}
		file, err := PAC(least(), p)
		if err != nil {
			t.Fatal(err)
		}
		var answer string
		evaluate(t, t.TempDir(), file, `FindProxyForURL("https://mail.example.com/", "mail.example.com")`, &answer)
		if answer != want.spelt {
			t.Errorf("%q: the engine says %q", way, answer)
		}
		s, read, err := ParsePAC(file)
		if err != nil || read != p || s.Name != least().Name {
			t.Errorf("%q: read back as %+v, %v", way, read, err)
		}
	}
	for _, way := range badProxies {
		if p, err := ParseProxy(way); err == nil || p != (Proxies{}) {
			t.Errorf("%q passed as %+v", way, p)
		} else {
			wantPrintable(t, err)
		}
	}
}

var badProxies = []string{
	"", " ", "HTTPS", "HTTPS ", "DIRECT", "127.0.0.1:8118", "gateway3.example.com:443",
	"https a.example:443", "Https a.example:443", " HTTPS a.example:443", "HTTPS\ta.example:443", "HTTPS\u00a0a.example:443",
	"HTTP a.example:80", "SOCKS a.example:1080", "SOCKS4 a.example:1080", "QUIC a.example:443", "HTTPS2 a.example:443",
	"HTTPS  a.example:443", "HTTPS a.example:443 ", "HTTPS a.example:443\n", "HTTPS a.example:443\x00",
	"HTTPS a.example", "HTTPS a.example:", "HTTPS :443", "HTTPS a.example:0", "HTTPS a.example:65536", "HTTPS a.example:+443", "HTTPS a.example:0443",
	"HTTPS a.example:443;DIRECT", "HTTPS a.example:443; DIRECT", "HTTPS a.example:443, PROXY b.example:80", "HTTPS a.example:443,b.example:443",
	"HTTPS *.example.com:443", "HTTPS https://a.example:443", "HTTPS a.example:443/", "HTTPS u:p@a.example:443", "HTTPS u@a.example:443",
	`HTTPS a.example:443"`, `HTTPS "a.example":443`, `HTTPS a\u0022.example:443`, `HTTPS a.example:443"];alert(1);["`, "HTTPS a.example:443*/", "HTTPS ${a}:443",
	"HTTPS 2001:db8::1:443", "HTTPS [2001:db8::1]", "HTTPS [fe80::1%25eth0]:443", "HTTPS [::1]:0", "HTTPS [127.0.0.1]:443", "HTTPS 127.1:443", "HTTPS 0x7f000001:443",
	"HTTPS a\u2028b:443", "HTTPS \u202ea.example:443", "HTTPS \xff:443",
}

// FuzzParseProxy wants what is read to be one proxy in a PAC file, whatever it was
// read from, and to be read again as it is.
func FuzzParseProxy(f *testing.F) {
	for _, way := range append([]string{"HTTPS gateway3.example.com:443", "PROXY [::1]:8118", "SOCKS5 b\u00fccher.example:1080"}, badProxies...) {
		f.Add(way)
	}
	f.Fuzz(func(t *testing.T, way string) {
		p, err := ParseProxy(way)
		if err != nil {
			wantPrintable(t, err)
			return
		}
		ways, err := p.ways()
		if err != nil || len(ways) != 1 || !regexp.MustCompile(`^(HTTPS|PROXY|SOCKS5) [a-z0-9._:\[\]-]+:[1-9][0-9]{0,4}$`).MatchString(ways[0]) {
			t.Fatalf("%q: %q, %v", way, ways, err)
		}
		if again, err := ParseProxy(ways[0]); err != nil || again != p {
			t.Errorf("%q: %+v, %v; before %+v", ways[0], again, err, p)
		}
	})
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
