package lint_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/lint"
)

// What is printed is the built-in file itself, so that nothing is lost by
// copying it.
func TestFactsPrintAsTheyAreWritten(t *testing.T) {
	file, err := os.ReadFile("facts.json")
	if err != nil {
		t.Fatal(err)
	}
	if printed := lint.DefaultFacts().JSON(); !bytes.Equal(printed, file) {
		t.Errorf("printed:\n%s", printed)
	}
}

// The catalogue, as the manuals' table has it.
func TestCatalogue(t *testing.T) {
	facts := lint.DefaultFacts()
	want := map[string][4]string{
		"us-east-1":      {"52.7.65.6", "52.7.147.0", "52.6.252.176", "52.4.180.132"},
		"eu-west-1":      {"54.154.200.233", "54.154.204.192", "54.77.174.172", "52.17.147.220"},
		"ap-southeast-1": {"52.74.236.173", "52.74.25.245", "52.74.231.240", "54.169.87.20"},
	}
	addresses := facts.Addresses()
	if len(addresses) != 2*len(want) {
		t.Errorf("%d names have addresses", len(addresses))
	}
	for place, a := range want {
		for host, pair := range map[string][2]string{".pushreg": {a[0], a[1]}, ".mailboxlistener": {a[2], a[3]}} {
			name := place + host + ".xm.citrix.com"
			got := addresses[name]
			if len(got) != 2 || got[0] != netip.MustParseAddr(pair[0]) || got[1] != netip.MustParseAddr(pair[1]) {
				t.Errorf("%s has %v, want %v", name, got, pair)
			}
		}
	}
	for region, place := range map[string]string{"americas": "us-east-1", "emea": "eu-west-1", "apac": "ap-southeast-1"} {
		r, ok := facts.Region(region)
		if !ok || r.PushReg.Host != place+".pushreg.xm.citrix.com" || r.PushReg.Port != 443 || r.MailboxListener.Host != place+".mailboxlistener.xm.citrix.com" || r.MailboxListener.Port != 443 {
			t.Errorf("%s is %+v", region, r)
		}
		if _, err := policy.Compile("p", policy.Spec{PushRegion: region}); err != nil {
			t.Errorf("a policy cannot name it: %v", err)
		}
	}
	if _, ok := facts.Region(""); ok {
		t.Error("no region is a region")
	}
}

// Every mistake is told with its place.
func TestFactsMistakes(t *testing.T) {
	good := string(lint.DefaultFacts().JSON())
	line := func(part string) int { return strings.Count(good[:strings.Index(good, part)], "\n") + 1 }
	for _, c := range []struct {
		name, old, new string
		line, column   int
		key, problem   string
	}{
		{"unknown key", `"port": 443`, `"prot": 443`, line(`"port": 443`), 9, "regions[0].pushreg.prot", "unknown key; the keys here are host, port"},
		{"key twice", `"port": 443,`, `"port": 443, "port": 443,`, line(`"port": 443`), 22, "regions[0].pushreg.port", "already"},
		{"key in another case", `"gone"`, `"Gone"`, line(`"gone"`), 5, "ews_in_exchange_online.Gone", "unknown"},
		{"missing key", `"gone": "2027-04-01",`, "", line(`"ews_in`), 29, "ews_in_exchange_online.gone", "missing"},
		{"a day that is none", `"2026-10-01"`, `"2026-10-32"`, line("2026-10-01"), 16, "ews_in_exchange_online.blocked", "day"},
		{"gone before blocked", `"2027-04-01"`, `"2026-09-01"`, line(`"ews_in`), 29, "ews_in_exchange_online.gone", "later"},
		{"private address", `"52.7.65.6"`, `"10.7.65.6"`, line("52.7.65.6"), 11, "regions[0].pushreg.addresses[0]", "public"},
		{"metadata address", `"52.7.65.6"`, `"::ffff:169.254.169.254"`, line("52.7.65.6"), 11, "regions[0].pushreg.addresses[0]", "public"},
		{"no address", `"52.7.65.6"`, `52`, line("52.7.65.6"), 11, "regions[0].pushreg.addresses[0]", "public"},
		{"address for a host", `"us-east-1.pushreg.xm.citrix.com"`, `"52.7.65.6"`, 6, 17, "regions[0].pushreg.host", "host name"},
		{"unusable host", `"login.microsoftonline.com"`, `"login microsoftonline"`, line("login.m"), 7, "trusted_adfs.hosts[0]", "host name"},
		{"port zero", `"port": 443`, `"port": 0`, line(`"port": 443`), 17, "regions[0].pushreg.port", "65535"},
		{"port as text", `"port": 443`, `"port": "443"`, line(`"port": 443`), 17, "regions[0].pushreg.port", "65535"},
		{"port beyond", `"port": 443`, `"port": 65536`, line(`"port": 443`), 17, "regions[0].pushreg.port", "65535"},
		{"region twice", `"emea"`, `"americas"`, line(`"name": "emea"`) - 1, 5, "regions[1].name", "already"},
		{"unknown region", `"emea"`, `"mars"`, line(`"emea"`), 15, "regions[1].name", "americas, emea, apac"},
		{"unknown use", `"ldaps",`, `"x500",`, line(`"ldaps",`), 14, "ports[3].use", "ldaps"},
		{"no source", `"RFC 4516"`, `""`, line("RFC 4516"), 17, "ports[2].source", "1 to 1024"},
		{"a control character", `"RFC 4516"`, `"RFC\u001b[31m"`, line("RFC 4516"), 17, "ports[2].source", "printable"},
		{"a list for an object", `"exchange_online": {`, `"exchange_online": [], "x": {`, line(`"exchange_online"`), 22, "exchange_online", "object"},
		{"a syntax error", `"regions": [`, `"regions": [,`, 2, 15, "", "no JSON"},
		{"an end too early", good[len(good)-40:], ``, strings.Count(good[:len(good)-40], "\n") + 1, 0, "", "too early"},
		{"something behind", good[len(good)-4:], good[len(good)-4:] + "{}", strings.Count(good, "\n") + 1, 1, "", "follows"},
		{"not UTF-8", `"RFC 4516"`, "\"RFC \xff\"", line("RFC 4516"), 22, "", "UTF-8"},
		{"too deep", `"regions": [`, `"regions": [[[[[[[[[[[[`, 2, 0, "", "deeply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatal("the case changes nothing")
			}
			_, err := lint.ParseFacts([]byte(bad))
			var mistake *lint.FactsError
			if !errors.As(err, &mistake) {
				t.Fatalf("error %v", err)
			}
			if mistake.Line != c.line || c.column != 0 && mistake.Column != c.column || mistake.Key != c.key || !strings.Contains(mistake.Problem, c.problem) {
				t.Errorf("got %v, want line %d, column %d: %s: …%s…", mistake, c.line, c.column, c.key, c.problem)
			}
		})
	}
	if _, err := lint.ParseFacts(bytes.Repeat([]byte(" "), 1<<20)); err == nil {
		t.Error("a file of 1 MiB is accepted")
	}
	if _, err := lint.ParseFacts(nil); err == nil {
		t.Error("no file is accepted")
	}
}

// A copy belongs to its caller.
func TestDefaultFactsAreCopies(t *testing.T) {
	lint.DefaultFacts().Regions[0].PushReg.Host = "changed.example.com"
	if host := lint.DefaultFacts().Regions[0].PushReg.Host; host == "changed.example.com" {
		t.Error("the built-in facts have changed")
	}
}

func FuzzParseFacts(f *testing.F) {
	good := lint.DefaultFacts().JSON()
	f.Add(good)
	f.Add(bytes.ReplaceAll(good, []byte("citrix.com"), []byte("EXAMPLE.com.")))
	f.Add(bytes.ReplaceAll(good, []byte("52.7.65.6"), []byte("2600:1f18::1")))
	f.Add([]byte(`{"regions": [{"name": "emea", "name": 1}], "note": "x"`))
	f.Add([]byte(`{"ports": [{"port": 1e2}]}`))
	f.Add([]byte("{\"\xff\": 1}"))
	f.Add([]byte(`[[[[[[[[[[`))
	f.Add([]byte(`"\u0000" {}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := lint.ParseFacts(data)
		if err != nil {
			var mistake *lint.FactsError
			if !errors.As(err, &mistake) || mistake.Line < 1 || mistake.Column < 1 || mistake.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Fatalf("error %#v", err)
			}
			for _, c := range mistake.Error() {
				if c < ' ' || c > '~' {
					t.Fatalf("the error holds %q", c)
				}
			}
			return
		}
		again, err := lint.ParseFacts(facts.JSON())
		if err != nil || !reflect.DeepEqual(facts, again) {
			t.Fatalf("printed and read again: %v\n%+v\n%+v", err, facts, again)
		}
		for name, addrs := range facts.Addresses() {
			if host, err := policy.ParseHost(name); err != nil || host.Name != name {
				t.Fatalf("name %q: %v", name, err)
			}
			for _, addr := range addrs {
				if policy.Classify(addr) != policy.Public {
					t.Fatalf("address %v of %s", addr, name)
				}
			}
		}
	})
}
