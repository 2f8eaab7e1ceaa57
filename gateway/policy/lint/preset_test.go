package lint_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/lint"
)

// The manuals' table, to the letter.
func TestPresetTable(t *testing.T) {
	exchange, adfs := []string{"mail.example.com"}, []string{"adfs.example.com", "idp.example.com"}
	const both = "adfs.example.com:443,idp.example.com:443"
	for _, c := range []struct {
		mailboxes, platform string
		list, other         string
	}{
		{"on_premises", "ios", "mail.example.com:443", ""},
		{"on_premises", "android", "mail.example.com:443", ""},
		{"on_premises", "", "mail.example.com:443", ""},
		{"hybrid", "ios", "mail.example.com:443", ""},
		{"hybrid", "android", "mail.example.com:443," + both, ""},
		{"hybrid", "", "mail.example.com:443," + both, ""},
		{"exchange_online", "ios", "outlook.office365.com:443", ""},
		{"exchange_online", "android", "mail.example.com:443," + both, "mail.example.com:443," + both + ",outlook.office365.com:443"},
		{"exchange_online", "", "mail.example.com:443,outlook.office365.com:443," + both, ""},
	} {
		t.Run(c.mailboxes+" "+c.platform, func(t *testing.T) {
			x, err := lint.Expand(lint.Preset{Mailboxes: c.mailboxes, Platform: c.platform, Exchange: exchange, ADFS: adfs}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if x.Services() != c.list {
				t.Errorf("the list is %s, want %s", x.Services(), c.list)
			}
			other := ""
			if x.Other != nil {
				other = x.Other.Services()
			}
			if other != c.other {
				t.Errorf("the other reading is %s, want %s", other, c.other)
			}
			for _, e := range x.Entries {
				if e.Why == "" {
					t.Errorf("%s has no reason", e.Service)
				}
			}
		})
	}
}

// What does not depend on where mailboxes are.
func TestPresetSurroundings(t *testing.T) {
	preset := func(edit func(*lint.Preset)) lint.Preset {
		p := lint.Preset{Mailboxes: "on_premises", Exchange: []string{"mail.example.com"}}
		edit(&p)
		return p
	}
	for _, c := range []struct {
		name string
		edit func(*lint.Preset)
		list string
	}{
		{"push, split tunnel off", func(p *lint.Preset) { p.Region = "emea" }, "mail.example.com:443," + emea},
		{"push, split tunnel on", func(p *lint.Preset) { p.Region, p.SplitTunnel = "emea", "on" }, "mail.example.com:443"},
		{"EWS elsewhere", func(p *lint.Preset) { p.EWS = "ews.example.com" }, "mail.example.com:443,ews.example.com:443"},
		{"EWS at the mail server", func(p *lint.Preset) { p.EWS = "Mail.example.com" }, "mail.example.com:443"},
		{"Traveler without TLS", func(p *lint.Preset) { p.TravelerPlain = true }, "mail.example.com:80"},
		{"directory on Android", func(p *lint.Preset) { p.Platform, p.LDAP = "android", []string{"ldap.example.com"} }, "mail.example.com:443,ldap.example.com:389"},
		{"directory over TLS", func(p *lint.Preset) { p.LDAP, p.LDAPS = []string{"ldap.example.com"}, true }, "mail.example.com:443,ldap.example.com:636"},
		{"directory on iOS", func(p *lint.Preset) { p.Platform, p.LDAP = "ios", []string{"ldap.example.com"} }, "mail.example.com:443"},
	} {
		x, err := lint.Expand(preset(c.edit), nil)
		if err != nil || x.Services() != c.list {
			t.Errorf("%s: %s, %v; want %s", c.name, x.Services(), err, c.list)
		}
	}
}

func TestPresetNamesWhatIsMissing(t *testing.T) {
	mail := []string{"mail.example.com"}
	for _, c := range []struct {
		preset lint.Preset
		input  string
	}{
		{lint.Preset{}, "mailboxes"},
		{lint.Preset{Mailboxes: "on_premises"}, "exchange"},
		{lint.Preset{Mailboxes: "hybrid", Platform: "ios"}, "exchange"},
		{lint.Preset{Mailboxes: "hybrid", Platform: "android", Exchange: mail}, "adfs"},
		{lint.Preset{Mailboxes: "exchange_online", Platform: "android"}, "exchange"},
		{lint.Preset{Mailboxes: "exchange_online", Exchange: mail}, "adfs"},
		{lint.Preset{Mailboxes: "hybrid", Platform: "ios", Exchange: mail, TravelerPlain: true}, "traveler_plain"},
		{lint.Preset{Mailboxes: "on_premises", Platform: "windows", Exchange: mail}, "platform"},
		{lint.Preset{Mailboxes: "on_premises", Exchange: mail, SplitTunnel: "reverse"}, "split_tunnel"},
		{lint.Preset{Mailboxes: "on_premises", Exchange: mail, Region: "mars"}, "region"},
		{lint.Preset{Mailboxes: "on_premises", Exchange: mail, EWS: "ews.example.com:443"}, "ews"},
		{lint.Preset{Mailboxes: "on_premises", Exchange: []string{"10.0.0.25"}}, "exchange"},
		{lint.Preset{Mailboxes: "hybrid", Platform: "ios", Exchange: []string{"outlook.office365.com"}}, "exchange"},
		{lint.Preset{Mailboxes: "on_premises", Exchange: mail, LDAP: []string{"ldap://ldap.example.com"}}, "ldap"},
	} {
		_, err := lint.Expand(c.preset, nil)
		var missing *lint.PresetError
		if !errors.As(err, &missing) || missing.Input != c.input {
			t.Errorf("%+v: error %v, want one about %s", c.preset, err, c.input)
		}
	}
}

// Whatever is expanded compiles, and lint has no more to say than what no list
// can mend.
func TestPresetsAreSound(t *testing.T) {
	name := rapid.SampledFrom([]string{"mail.example.com", "Mail2.example.com.", "ews.example.com", "adfs.example.com", "ldap.example.com"})
	names := rapid.SliceOfN(name, 0, 3)
	unmendable := []string{"ews-exchange-online", "ldap-ios-prompts"}
	rapid.Check(t, func(t *rapid.T) {
		p := lint.Preset{
			Mailboxes:     rapid.SampledFrom([]string{"on_premises", "hybrid", "exchange_online"}).Draw(t, "mailboxes"),
			Platform:      rapid.SampledFrom([]string{"", "ios", "android"}).Draw(t, "platform"),
			Exchange:      names.Draw(t, "exchange"),
			EWS:           rapid.OneOf(rapid.Just(""), name).Draw(t, "ews"),
			ADFS:          names.Draw(t, "adfs"),
			Region:        rapid.SampledFrom([]string{"", "americas", "emea", "apac"}).Draw(t, "region"),
			TravelerPlain: rapid.Bool().Draw(t, "traveler"),
			LDAP:          names.Draw(t, "ldap"),
			LDAPS:         rapid.Bool().Draw(t, "ldaps"),
			SplitTunnel:   rapid.SampledFrom([]string{"", "on", "off"}).Draw(t, "split"),
		}
		x, err := lint.Expand(p, nil)
		if err != nil {
			if _, ok := errors.AsType[*lint.PresetError](err); !ok {
				t.Fatalf("error %v", err)
			}
			return
		}
		specs := []policy.Spec{x.Spec}
		if x.Other != nil {
			other := x.Spec
			other.Services = x.Other.Services()
			specs = append(specs, other)
		}
		for _, spec := range specs {
			if _, err := policy.Compile("p", spec); err != nil {
				t.Fatal(err)
			}
			for _, f := range lint.Check(lint.Input{Spec: spec, Gateway: "gateway3.example.com:443", Now: between}) {
				if !slices.Contains(unmendable, f.Rule) {
					t.Fatalf("%s: %v", spec.Services, f)
				}
			}
		}
		if printed := printedSpec(t, x); !reflect.DeepEqual(printed, x.Spec) {
			t.Fatalf("printed as\n%s\nwhich is\n%+v, not\n%+v", x, printed, x.Spec)
		}
		if strings.Contains(x.Services(), "mailboxlistener") {
			t.Fatalf("the list is %s", x.Services())
		}
	})
}

// printedSpec reads what is printed as the configuration file is read.
func printedSpec(t *rapid.T, x lint.Expansion) policy.Spec {
	var c struct {
		Gateway struct {
			Policy struct {
				NetworkAccess         string   `yaml:"network_access"`
				Mailboxes             string   `yaml:"mailboxes"`
				Platforms             []string `yaml:"platforms"`
				ExchangeServer        []string `yaml:"exchange_server"`
				BackgroundServices    string   `yaml:"background_services"`
				EWSHost               string   `yaml:"ews_host"`
				PushRegion            string   `yaml:"push_region"`
				SplitTunnel           string   `yaml:"split_tunnel"`
				SplitDNS              string   `yaml:"split_dns"`
				TrustedExchangeOnline []string `yaml:"trusted_exchange_online"`
				TrustedADFS           []string `yaml:"trusted_adfs"`
				LDAPServers           []string `yaml:"ldap_servers"`
			} `yaml:"policy"`
		} `yaml:"gateway"`
	}
	strict := yaml.NewDecoder(strings.NewReader(x.String()))
	strict.KnownFields(true)
	if err := strict.Decode(&c); err != nil {
		t.Fatalf("%v in\n%s", err, x)
	}
	p := c.Gateway.Policy
	return policy.Spec{
		NetworkAccess: p.NetworkAccess, ExchangeServers: p.ExchangeServer, Services: p.BackgroundServices,
		EWSHost: p.EWSHost, PushRegion: p.PushRegion, SplitTunnel: p.SplitTunnel, SplitDNS: p.SplitDNS,
		Console: policy.Console{
			Mailboxes: p.Mailboxes, Platforms: p.Platforms, LDAPServers: p.LDAPServers,
			TrustedExchangeOnline: p.TrustedExchangeOnline, TrustedADFS: p.TrustedADFS,
		},
	}
}
