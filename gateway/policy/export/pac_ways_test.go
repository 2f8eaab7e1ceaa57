package export

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/gateway/policy"
)

// tester is what the tests of testing.T and of rapid have in common.
type tester interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// evaluate runs a PAC file in an engine that knows nothing of proxies, and
// decodes the value of an expression behind it. The engine prints characters
// beyond 16 bits in an encoding of its own, so they travel escaped.
func evaluate(t tester, dir string, pac []byte, expression string, result any) {
	t.Helper()
	duk, err := exec.LookPath("duk")
	if err != nil {
		t.Fatal("the tests of PAC files need the JavaScript shell duk: sudo apt-get install -y duktape")
	}
	script := `
print(JSON.stringify(` + expression + `).replace(/[^\x00-\x7e]/g, function (c) {
  return "\\u" + ("000" + c.charCodeAt(0).toString(16)).slice(-4);
}));`
	file := filepath.Join(dir, "test.js")
	if err := os.WriteFile(file, append(slices.Clone(pac), script...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(duk, file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := json.Unmarshal(out, result); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
}

// request is what a browser asks its PAC file.
type request struct{ url, host string }

// ways asks a PAC file for the way of each request.
func ways(t tester, dir string, s Settings, requests []request) []string {
	t.Helper()
	pac, err := PAC(s, proxies)
	if err != nil {
		t.Fatal(err)
	}
	pairs := make([][2]string, len(requests))
	for i, r := range requests {
		pairs[i] = [2]string{r.url, r.host}
	}
	var answers []string
	evaluate(t, dir, pac, `(function (asked) {
  var answers = [];
  for (var i = 0; i < asked.length; i++) answers.push(FindProxyForURL(asked[i][0], asked[i][1]));
  return answers;
})(`+string(asciiJSON(pairs))+`)`, &answers)
	if len(answers) != len(requests) {
		t.Fatalf("%d answers to %d requests", len(answers), len(requests))
	}
	return answers
}

const (
	gatewayWay = "PROXY 127.0.0.1:8118; SOCKS5 [::1]:1080"
	directWay  = "DIRECT"
)

// wantWay says by the gateway's own rules which way a request has to take.
func wantWay(p *policy.Policy, s Settings, name string, port uint16) string {
	if p.NetworkAccess() == "unrestricted" {
		return directWay
	}
	host, err := readHost(name)
	if err != nil {
		return gatewayWay
	}
	for _, own := range []string{s.Gateway, s.Spec.Console.ServicesGateway} {
		if at, _, _ := strings.Cut(own, ":"); at != "" {
			if own, err := policy.ParseHost(at); err == nil && own == host {
				return directWay
			}
		}
	}
	if host.Name != "" && !strings.Contains(host.Name, ".") {
		return gatewayWay
	}
	listed := p.Decide(policy.Query{Host: host, Port: port}).Allow
	if s.Spec.SplitTunnel == "on" && !listed || s.Spec.SplitTunnel == "reverse" && listed {
		return directWay
	}
	return gatewayWay
}

// readHost is ParseHost and AddrHost, but for what a PAC file does without the
// tables of IDNA: what is not ASCII cannot be read, and A-labels are taken as
// they stand, well made or not.
func readHost(s string) (policy.Host, error) {
	if strings.IndexFunc(s, func(r rune) bool { return r > '~' }) >= 0 {
		return policy.Host{}, &policy.HostError{Reason: policy.HostIDNA}
	}
	inner, opened := strings.CutPrefix(s, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if opened && closed || strings.Contains(s, ":") {
		if !opened || !closed {
			inner = s
		}
		addr, err := netip.ParseAddr(inner)
		if err != nil || addr.Is4() {
			return policy.Host{}, &policy.HostError{Reason: policy.HostAddress}
		}
		return policy.AddrHost(addr)
	}
	host, err := policy.ParseHost(s)
	if lower := strings.ToLower(s); err != nil && strings.Contains(lower, "xn--") {
		return policy.ParseHost(strings.ReplaceAll(lower, "xn--", "yn--"))
	}
	return host, err
}

func compiled(t tester, s Settings) *policy.Policy {
	t.Helper()
	p, err := policy.Compile(s.Name, s.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// destinations are hosts as they arrive in a PAC file, and whether the list of
// sample or web has them.
var destinations = []struct {
	what      string
	request   request
	port      uint16
	inSample  bool
	inWebOnly bool
}{
	{"listed", request{"https://mail.example.com/owa?x=https://evil.example:1/", "mail.example.com"}, 443, true, false},
	{"listed, no path", request{"https://mail.example.com", "mail.example.com"}, 443, true, false},
	{"listed, port told", request{"https://mail.example.com:443/", "mail.example.com"}, 443, true, false},
	{"listed, port behind user and password", request{"https://u:80@mail.example.com:443/@a:80", "mail.example.com"}, 443, true, false},
	{"listed, scheme in upper case", request{"HTTPS://mail.example.com/", "mail.example.com"}, 443, true, false},
	{"listed, web socket", request{"wss://mail.example.com/", "mail.example.com"}, 443, true, false},
	{"listed, query at once", request{"https://mail.example.com?:80", "mail.example.com"}, 443, true, false},
	{"listed, fragment at once", request{"https://mail.example.com#:80", "mail.example.com"}, 443, true, false},
	{"listed, empty port", request{"https://mail.example.com:/", "mail.example.com"}, 443, true, false},
	{"listed, port with zeros", request{"https://mail.example.com:000443/", "mail.example.com"}, 443, true, false},
	{"listed, upper case", request{"https://MAIL.Example.com/", "MAIL.Example.com"}, 443, true, false},
	{"listed, trailing dot", request{"https://mail.example.com./", "mail.example.com."}, 443, true, false},
	{"listed, plain", request{"http://mail.example.com/", "mail.example.com"}, 80, false, false},
	{"listed, other port", request{"https://mail.example.com:8443/", "mail.example.com"}, 8443, false, false},
	{"listed, ftp", request{"ftp://mail.example.com/", "mail.example.com"}, 21, false, false},
	{"wildcard", request{"https://a.corp.example.com:8443/", "a.corp.example.com"}, 8443, true, false},
	{"wildcard, deep", request{"https://b.a.Corp.example.com.:8443/", "b.a.Corp.example.com."}, 8443, true, false},
	{"wildcard, other port", request{"https://a.corp.example.com/", "a.corp.example.com"}, 443, false, false},
	{"wildcard's own name", request{"https://corp.example.com:8443/", "corp.example.com"}, 8443, false, false},
	{"wildcard's look-alike", request{"https://a-corp.example.com:8443/", "a-corp.example.com"}, 8443, false, false},
	{"unlisted", request{"https://www.example.org/", "www.example.org"}, 443, false, false},
	{"unlisted, user with an @", request{"https://mail.example.com:443@u:p@www.example.org/", "www.example.org"}, 443, false, false},
	{"listed as prefix", request{"https://mail.example.com.evil.example/", "mail.example.com.evil.example"}, 443, false, false},
	{"object's own", request{"https://constructor.prototype/", "constructor.prototype"}, 443, false, false},
	{"IPv4 listed", request{"http://192.0.2.7:25/", "192.0.2.7"}, 25, true, false},
	{"IPv4 listed, other port", request{"http://192.0.2.7/", "192.0.2.7"}, 80, false, false},
	{"IPv4 unlisted", request{"http://192.0.2.8:25/", "192.0.2.8"}, 25, false, false},
	{"IPv6", request{"https://[2001:db8::1]:443/", "2001:db8::1"}, 443, false, false},
	{"IPv6 in brackets", request{"https://[2001:db8::1]/", "[2001:db8::1]"}, 443, false, false},
	{"IPv6 of a listed IPv4", request{"http://[::ffff:c000:207]:25/", "[::ffff:c000:207]"}, 25, true, false},
	{"IPv6 of a listed IPv4, dotted", request{"http://[::ffff:192.0.2.7]:25/", "::ffff:192.0.2.7"}, 25, true, false},
	{"IPv6 that holds a listed IPv4 otherwise", request{"http://[::c000:207]:25/", "[::c000:207]"}, 25, false, false},
	{"IPv6 that ends like a listed IPv4", request{"http://[1::ffff:c000:207]:25/", "[1::ffff:c000:207]"}, 25, false, false},
	{"web domain", request{"https://www.example.com/", "www.example.com"}, 443, false, true},
	{"web domain, plain", request{"http://www.example.com/", "www.example.com"}, 80, false, true},
	{"web domain, other port", request{"https://www.example.com:8443/", "www.example.com"}, 8443, false, false},
	{"web domain's wildcard", request{"http://a.b.web.example.com/", "a.b.web.example.com"}, 80, false, true},
	{"web domain's wildcard itself", request{"http://web.example.com/", "web.example.com"}, 80, false, false},
}

// TestPACTable says what goes where, in words, and that the gateway's own rules
// say the same.
func TestPACTable(t *testing.T) {
	for _, access := range []string{"tunneled", "web_sso", "unrestricted"} {
		for _, mode := range []string{"", "off", "on", "reverse"} {
			s := sample()
			if access == "web_sso" {
				s = web()
			}
			s.Spec.NetworkAccess, s.Spec.SplitTunnel = access, mode
			var requests []request
			for _, d := range destinations {
				requests = append(requests, d.request)
			}
			p, got := compiled(t, s), ways(t, t.TempDir(), s, requests)
			for i, d := range destinations {
				listed := d.inSample || d.inWebOnly && access == "web_sso"
				want := gatewayWay
				if access == "unrestricted" || mode == "on" && !listed || mode == "reverse" && listed {
					want = directWay
				}
				if got[i] != want {
					t.Errorf("%s, split tunnel %q, %s: %s, want %s", access, mode, d.what, got[i], want)
				}
				if rules := wantWay(p, s, d.request.host, d.port); rules != want {
					t.Errorf("%s, split tunnel %q, %s: the gateway's rules say %s, the table %s", access, mode, d.what, rules, want)
				}
			}
		}
	}
}

// TestPACAlways is what no split tunnel changes.
func TestPACAlways(t *testing.T) {
	always := map[request]string{
		// The gateway's own name: no tunnel in the tunnel.
		{"https://gw-1.example.com:8443/", "gw-1.example.com"}:   directWay,
		{"https://GW-1.example.com./", "GW-1.example.com."}:      directWay,
		{"http://gateway3.example.com/", "gateway3.example.com"}: directWay,
		// A single label is a name of the inside, listed or not.
		{"https://intranet/", "intranet"}:   gatewayWay,
		{"http://Intranet./", "Intranet."}:  gatewayWay,
		{"http://unlisted/", "unlisted"}:    gatewayWay,
		{"http://localhost/", "localhost"}:  gatewayWay,
		{"http://toString/", "toString"}:    gatewayWay,
		{"http://__proto__/", "__proto__"}:  gatewayWay,
		{"http://intranet:1/", "intranet"}:  gatewayWay,
		{"gopher://intranet/", "intranet."}: gatewayWay,
		// What cannot be read.
		{"https://mail.example.com../", "mail.example.com.."}: gatewayWay,
		{"https:///", ""}:                                                         gatewayWay,
		{"https://./", "."}:                                                       gatewayWay,
		{"https://3221225991/", "3221225991"}:                                     gatewayWay,
		{"https://0xC0.0.2.7/", "0xC0.0.2.7"}:                                     gatewayWay,
		{"https://192.0.519/", "192.0.519"}:                                       gatewayWay,
		{"https://[fe80::1%25eth0]/", "fe80::1%eth0"}:                             gatewayWay,
		{"https://[1:2:3:4::5:6:7:8]/", "1:2:3:4::5:6:7:8"}:                       gatewayWay,
		{"https://[1:2:3:4:5:6:7]/", "1:2:3:4:5:6:7"}:                             gatewayWay,
		{"https://b\u00fccher.example/", "b\u00fccher.example"}:                   gatewayWay,
		{"https://\u212aelvin.example/", "\u212aelvin.example"}:                   gatewayWay,
		{"https://evil.example/", "evil.example\nDIRECT"}:                         gatewayWay,
		{"https://evil.example/", strings.Repeat("a.", 127) + "aa"}:               gatewayWay,
		{"https://evil.example/", strings.Repeat("a", 64) + ".example"}:           gatewayWay,
		{"https://www.example.org:0/", "www.example.org"}:                         gatewayWay,
		{"https://www.example.org:65536/", "www.example.org"}:                     gatewayWay,
		{"https://www.example.org:99999999999999999999999/", "www.example.org"}:   gatewayWay,
		{"https://www.example.org:x/", "www.example.org"}:                         gatewayWay,
		{"gopher://www.example.org/", "www.example.org"}:                          gatewayWay,
		{"www.example.org", "www.example.org"}:                                    gatewayWay,
		{"", "www.example.org"}:                                                   gatewayWay,
		{"https:www.example.org", "www.example.org"}:                              gatewayWay,
		{"https://www.example.org:443:443/", "www.example.org"}:                   gatewayWay,
		{"https://[::1]x:443/", "www.example.org"}:                                gatewayWay,
		{"javascript:FindProxyForURL=function(){return'DIRECT'}", "evil.example"}: gatewayWay,
	}
	var requests []request
	for r := range always {
		requests = append(requests, r)
	}
	for _, mode := range []string{"", "off", "on", "reverse"} {
		s := sample()
		s.Spec.SplitTunnel = mode
		for i, got := range ways(t, t.TempDir(), s, requests) {
			if want := always[requests[i]]; got != want {
				t.Errorf("split tunnel %q: %q %q: %s, want %s", mode, requests[i].url, requests[i].host, got, want)
			}
		}
	}
}

// TestPACTricks sends the corpus of spellings that fooled gateways.
func TestPACTricks(t *testing.T) {
	text, err := os.ReadFile("../testdata/tricks.txt")
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for row := range strings.Lines(string(text)) {
		columns := strings.Split(row, "\t")
		if strings.HasPrefix(row, "#") || len(columns) < 3 {
			continue
		}
		host, err := strconv.Unquote(columns[1])
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, host)
	}
	if len(hosts) < 120 {
		t.Fatalf("only %d tricks", len(hosts))
	}
	s := least()
	s.Spec.Services = "mail.example.com:443"
	for _, s.Spec.SplitTunnel = range []string{"off", "on", "reverse"} {
		wantWays(t, t.TempDir(), s, hosts, 443)
	}
}

// wantWays compares a PAC file with the gateway's rules.
func wantWays(t tester, dir string, s Settings, hosts []string, port uint16) {
	t.Helper()
	requests := make([]request, len(hosts))
	for i, host := range hosts {
		requests[i] = request{"https://host:" + strconv.Itoa(int(port)) + "/", host}
	}
	p := compiled(t, s)
	for i, got := range ways(t, dir, s, requests) {
		if want := wantWay(p, s, hosts[i], port); got != want {
			t.Errorf("split tunnel %s: %q port %d: %s, want %s", s.Spec.SplitTunnel, hosts[i], port, got, want)
		}
	}
}

// TestPACAgreesWithThePolicy asks about random hosts, near to what is listed
// and far from it.
func TestPACAgreesWithThePolicy(t *testing.T) {
	dir := t.TempDir()
	pieces := rapid.SampledFrom([]string{
		"mail", "example", "com", ".", ".", ".", "-", "_", ":", "::", "[", "]", "%", "0", "1", "255", "256", "01", "0x", "ffff", "fF",
		"xn--", "192.0.2.7", "::ffff:", "*", " ", ";", "@", "/", "\\", "\u212a", "\u3002", "\x00",
	})
	free := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(pieces, 0, 8).Draw(t, "pieces"), "") })
	six := rapid.Custom(func(t *rapid.T) string {
		groups := rapid.SliceOfN(rapid.SampledFrom([]string{"0", "0", "0", "ffff", "c000", "207", "1", "", ":", "192.0.2.7", "00001", "g"}), 1, 9).Draw(t, "groups")
		return strings.Join(groups, ":")
	})
	rapid.Check(t, func(t *rapid.T) {
		s := random(t)
		hosts := append(rapid.SliceOfN(rapid.OneOf(free, six), 20, 20).Draw(t, "hosts"), "mail.example.com")
		ports := []uint16{443}
		for _, service := range compiled(t, s).Services() {
			name := service.Name
			if service.Addr.IsValid() {
				mapped := netip.AddrFrom16(service.Addr.As16())
				hosts = append(hosts, service.Addr.String(), mapped.String(), fmt.Sprintf("[%s]", mapped))
				continue
			}
			hosts = append(hosts, name, strings.ToUpper(name), name+".", "a."+name, "b.a."+name, "a"+name, name+"x", name[1:])
			ports = append(ports, service.Port)
		}
		for _, domain := range s.Spec.WebDomains {
			name := strings.TrimPrefix(domain, "*.")
			hosts = append(hosts, name, "a."+name, name+".")
		}
		for _, own := range []string{s.Gateway, s.Spec.Console.ServicesGateway} {
			name, _, _ := strings.Cut(own, ":")
			hosts = append(hosts, name, "a."+name)
		}
		wantWays(t, dir, s, hosts, rapid.SampledFrom(ports).Draw(t, "asked port"))
	})
}
