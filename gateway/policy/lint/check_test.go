package lint_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/lint"
)

const (
	emea     = "eu-west-1.pushreg.xm.citrix.com:443"
	americas = "us-east-1.pushreg.xm.citrix.com:443"
	sound    = "mail.example.com:443,ews.example.com:443," + emea
)

var between = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// input is a policy with nothing to find in it, changed by edit.
func input(edit func(*lint.Input)) lint.Input {
	in := lint.Input{
		Spec: policy.Spec{
			ExchangeServers: []string{"mail.example.com"},
			Services:        sound,
			EWSHost:         "ews.example.com",
			PushRegion:      "emea",
		},
		Gateway: "gateway3.example.com:443",
		Zones:   []string{"example.com"},
		Now:     between,
	}
	if edit != nil {
		edit(&in)
	}
	return in
}

func TestRules(t *testing.T) {
	if found := lint.Check(input(nil)); found != nil {
		t.Fatalf("the sound policy has %v", found)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := input(c.with)
			mustCompile(t, in.Spec)
			found := lint.Check(in)
			if got := ruleIDs(found); !slices.Equal(got, c.rules) {
				t.Fatalf("found %q, want %q\n%v", got, c.rules, found)
			}
			// The case is about the rule that only it has, the last one else.
			i := slices.IndexFunc(found, func(f lint.Finding) bool {
				return f.Field == c.field && f.Severity == c.severity && strings.Contains(f.Fix, c.fix)
			})
			if i < 0 {
				t.Fatalf("no %s of %s with the fix %q:\n%v", c.severity, c.field, c.fix, found)
			}
			if f := found[i]; [3]int{f.Index, f.Entry, f.Column} != c.place {
				t.Errorf("at index %d, entry %d, column %d, want %v", f.Index, f.Entry, f.Column, c.place)
			}
			if c.without == nil {
				return
			}
			in = input(c.without)
			mustCompile(t, in.Spec)
			own := found[i].Rule
			if got := ruleIDs(lint.Check(in)); slices.Contains(got, own) {
				t.Errorf("%s is found without cause", own)
			}
		})
	}
}

// Every rule must have a policy that breaks it and one that does not.
func TestEveryRuleHasCases(t *testing.T) {
	online := []string{"name-not-resolved", "name-leads-nowhere", "name-differs-outside", "name-private-outside", "names-not-compared"} // names_test.go
	for _, rule := range lint.Rules() {
		with := slices.ContainsFunc(cases, func(c ruleCase) bool { return slices.Contains(c.rules, rule.ID) })
		if !with && !slices.Contains(online, rule.ID) {
			t.Errorf("no case has %s", rule.ID)
		}
	}
	for _, c := range cases {
		for _, id := range c.rules {
			i := slices.IndexFunc(lint.Rules(), func(r lint.Rule) bool { return r.ID == id })
			if i < 0 {
				t.Errorf("%s is not among the rules", id)
			} else if len(c.rules) == 1 && !slices.Contains(lint.Rules()[i].Severities, c.severity) {
				t.Errorf("%s is said to have no severity %s", id, c.severity)
			}
		}
	}
}

func mustCompile(t *testing.T, s policy.Spec) {
	t.Helper()
	if _, err := policy.Compile("p", s); err != nil {
		t.Fatalf("the case does not compile: %v", err)
	}
}

// ruleIDs are the rules of findings, each once, sorted.
func ruleIDs(found []lint.Finding) []string {
	var ids []string
	for _, f := range found {
		ids = append(ids, f.Rule)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func TestDates(t *testing.T) {
	day := func(s string) time.Time { return lint.Date(s).Time() }
	for _, c := range []struct {
		now      time.Time
		severity lint.Severity
		says     string
	}{
		{day("2026-10-01").Add(-time.Second), lint.Warning, "are blocked from 2026-10-01"},
		{day("2026-10-01"), lint.Warning, "since 2026-10-01"},
		{day("2027-04-01").Add(-time.Second), lint.Warning, "from 2027-04-01"},
		{day("2027-04-01"), lint.Error, "gone since 2027-04-01"},
	} {
		in := input(func(in *lint.Input) {
			in.Now, in.Spec.ExchangeServers, in.Spec.EWSHost = c.now, []string{"outlook.office365.com"}, ""
			in.Spec.Services += ",outlook.office365.com:443"
		})
		found := lint.Check(in)
		if len(found) != 1 || found[0].Severity != c.severity || found[0].Field != "push_region" || !strings.Contains(found[0].Problem, c.says) {
			t.Errorf("at %v: %v", c.now, found)
		}
	}
	in := input(func(in *lint.Input) { in.Now = day("2030-01-01") })
	if found := lint.Check(in); found != nil {
		t.Errorf("Exchange on premises has %v", found)
	}
}

func TestFactsOfAnOperator(t *testing.T) {
	facts := lint.DefaultFacts()
	facts.Regions[1].PushReg.Host = "push.example.net"
	in := input(func(in *lint.Input) { in.Facts = facts })
	found := lint.Check(in)
	if len(found) != 1 || found[0].Rule != "pushreg-not-listed" || !strings.Contains(found[0].Problem, "push.example.net:443") {
		t.Errorf("found %v", found)
	}
}

func TestWhatDoesNotCompileHasNoFindings(t *testing.T) {
	in := input(func(in *lint.Input) { in.Spec.Services = "mail.example.com" })
	if found := lint.Check(in); found != nil {
		t.Errorf("found %v", found)
	}
}

// The example and the full configuration of the documentation are sound.
func TestSoundFiles(t *testing.T) {
	for _, file := range []string{
		"../../../docs/examples/sallyport.yaml",
		"../../../cmd/sallyport/internal/config/testdata/full.yaml",
	} {
		in := readConfig(t, file)
		mustCompile(t, in.Spec)
		if len(in.Spec.Services) == 0 {
			t.Fatalf("%s lists nothing", file)
		}
		if found := lint.Check(in); found != nil {
			t.Errorf("%s: %v", file, found)
		}
	}
}

func readConfig(t *testing.T, file string) lint.Input {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Gateway struct {
			FQDN   string `yaml:"fqdn"`
			Policy struct {
				NetworkAccess      string `yaml:"network_access"`
				ExchangeServer     string `yaml:"exchange_server"`
				BackgroundServices string `yaml:"background_services"`
				EWSHost            string `yaml:"ews_host"`
				PushRegion         string `yaml:"push_region"`
				SplitTunnel        string `yaml:"split_tunnel"`
				SplitDNS           string `yaml:"split_dns"`
			} `yaml:"policy"`
		} `yaml:"gateway"`
		SplitDNS struct {
			Zones []struct {
				Suffix string `yaml:"suffix"`
			} `yaml:"zones"`
		} `yaml:"splitdns"`
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	p := c.Gateway.Policy
	in := lint.Input{
		Spec: policy.Spec{
			NetworkAccess: p.NetworkAccess, ExchangeServers: []string{p.ExchangeServer}, Services: p.BackgroundServices,
			EWSHost: p.EWSHost, PushRegion: p.PushRegion, SplitTunnel: p.SplitTunnel, SplitDNS: p.SplitDNS,
			// What the configuration has by default.
			Console: policy.Console{
				TrustedExchangeOnline: []string{"outlook.office365.com"}, TrustedADFS: []string{"login.microsoftonline.com"},
			},
		},
		Gateway: c.Gateway.FQDN + ":443",
		Now:     between,
	}
	for _, zone := range c.SplitDNS.Zones {
		in.Zones = append(in.Zones, zone.Suffix)
	}
	return in
}

// To write the corrected list once is enough, whatever was wrong with it.
func TestCorrectedListIsCorrect(t *testing.T) {
	entries := []string{
		"mail.example.com:443", "ews.example.com:443", "a.eu.example.com:443", "*.eu.example.com:443", "*.example.com:443",
		"*.example.com:80", "gateway3.example.com:443", emea, americas, "ldap.example.com:636",
		"eu-west-1.pushreg.xml.citrix.com:443", "eu-west-1.mailboxlistener.xml.citrix.com:443",
		"us-east-1.mailboxlistener.xm.citrix.com:443", "adfs.example.com:80", "intranet:443", "10.0.0.25:443",
	}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfDistinct(rapid.SampledFrom(entries), rapid.ID[string]).Draw(t, "list")
		in := input(func(in *lint.Input) {
			in.Spec.Services = strings.Join(list, ",")
			in.Spec.PushRegion = rapid.SampledFrom([]string{"", "emea", "americas"}).Draw(t, "region")
			in.Spec.SplitTunnel = rapid.SampledFrom([]string{"", "on"}).Draw(t, "split")
			in.Spec.ExchangeServers = rapid.SampledFrom([][]string{{"mail.example.com"}, {"10.0.0.26"}}).Draw(t, "exchange")
			in.Spec.Console = policy.Console{
				Mailboxes:   rapid.SampledFrom([]string{"", "on_premises", "hybrid", "exchange_online"}).Draw(t, "mailboxes"),
				Platforms:   rapid.SampledFrom([][]string{nil, {"ios"}, {"android"}}).Draw(t, "platforms"),
				TrustedADFS: []string{"adfs.example.com"},
				LDAPServers: rapid.SampledFrom([][]string{nil, {"ldap.example.com:636"}, {"10.0.0.27:389"}}).Draw(t, "ldap"),
				RichPush:    rapid.Bool().Draw(t, "rich push"),
			}
		})
		corrected, some := correctedList(t, lint.Check(in))
		if !some {
			return
		}
		if strings.Contains(corrected, "10.0.0.2") {
			t.Fatalf("the corrected list %q has what is never dialled", corrected)
		}
		in.Spec.Services = corrected
		if _, err := policy.Compile("p", in.Spec); err != nil {
			t.Fatalf("the corrected list %q: %v", corrected, err)
		}
		if again, some := correctedList(t, lint.Check(in)); some {
			t.Fatalf("%q is corrected to %q, and that to %q", strings.Join(list, ","), corrected, again)
		}
	})
}

// correctedList is the one that findings show, which must be the same in each.
func correctedList(t *rapid.T, found []lint.Finding) (list string, some bool) {
	for _, f := range found {
		_, quoted, ok := strings.Cut(f.Fix, "the corrected list is ")
		if !ok {
			continue
		}
		shown, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("fix %q: %v", f.Fix, err)
		}
		if some && shown != list {
			t.Fatalf("two corrected lists: %q and %q", shown, list)
		}
		list, some = shown, true
	}
	return list, some
}

func TestLongListIsNotShown(t *testing.T) {
	var list []string
	for i := range 10_000 {
		list = append(list, "host-"+strconv.Itoa(i)+".example.com:443")
	}
	in := input(func(in *lint.Input) {
		in.Spec.Services = strings.Join(append(list, "*.example.com:443"), ",")
		in.Spec.PushRegion = ""
	})
	found := lint.Check(in)
	if len(found) != 1 || found[0].Entry != 10_001 || len(found[0].String()) > 400 {
		t.Errorf("found %d, the first %.500v", len(found), found)
	}
}

func BenchmarkCheck(b *testing.B) {
	var list []string
	for i := range 10_000 {
		list = append(list, "host-"+strconv.Itoa(i)+".example.com:443")
	}
	in := input(func(in *lint.Input) { in.Spec.Services = strings.Join(list, ",") })
	for b.Loop() {
		lint.Check(in)
	}
}
