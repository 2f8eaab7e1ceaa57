package export

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestParseJSONMistakes wants each refused, in the line where it stands.
func TestParseJSONMistakes(t *testing.T) {
	const good = `"format": 1, "name": "a", "gateway": "gw.example.com:443"`
	if _, err := ParseJSON([]byte("{" + good + "}")); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		text, key string
		line      int
	}{
		"nothing":              {``, "", 1},
		"no object":            {`[]`, "", 1},
		"null":                 {`null`, "", 1},
		"cut":                  {"{\n" + good, "", 2},
		"spare comma":          {"{" + good + ",}", "", 1},
		"something behind":     {"{" + good + "}\n{}", "", 2},
		"not UTF-8":            {"{" + good + ", \"version\": \"\xff\"}", "", 0},
		"no format":            {`{"name": "a", "gateway": "gw.example.com:443"}`, "format", 0},
		"another format":       {strings.Replace("{"+good+"}", "1", "2", 1), "format", 1},
		"format as text":       {strings.Replace("{"+good+"}", "1", `"1"`, 1), "format", 1},
		"unknown key":          {"{" + good + ",\n\"nom\": 1}", "", 2},
		"unknown key in group": {"{" + good + ",\n\"policy\": {\"match\": {}}}", "", 2},
		"key in another case":  {"{" + good + ", \"Version\": \"1\"}", "", 1},
		"key folded":           {"{" + good + ", \"ver\u017fion\": \"1\"}", "", 1},
		"key with a dot":       {"{" + good + ", \"policy.intune\": true}", "", 1},
		"key in a wrong group": {"{" + good + ", \"match\": {\"policy.intune\": true}}", "", 1},
		"key twice":            {"{" + good + ",\n\"name\": \"a\"}", "name", 2},
		"key twice, escaped":   {"{" + good + ", \"n\\u0061me\": \"a\"}", "name", 1},
		"group twice":          {"{" + good + ", \"match\": {}, \"match\": {}}", "match", 1},
		"group as list":        {"{" + good + ", \"match\": []}", "match", 1},
		"key twice in group":   {"{" + good + ", \"policy\": {\"intune\": true, \"intune\": true}}", "policy.intune", 1},
		"text as number":       {"{" + good + ", \"version\": 1}", "version", 1},
		"text as null":         {"{" + good + ", \"version\": null}", "version", 1},
		"list as text":         {"{" + good + ", \"suffixes\": \"a\"}", "suffixes", 1},
		"list of lists":        {"{" + good + ", \"suffixes\": [[\"a\"]]}", "suffixes", 1},
		"list with null":       {"{" + good + ", \"suffixes\": [null]}", "suffixes", 1},
		"truth as text":        {"{" + good + ", \"policy\": {\"intune\": \"true\"}}", "policy.intune", 1},
		"number as text":       {"{" + good + ", \"ticket_hours\": \"1\"}", "ticket_hours", 1},
		"fraction":             {"{" + good + ", \"ticket_hours\": 1.5}", "ticket_hours", 1},
		"exponent":             {"{" + good + ", \"ticket_hours\": 1e2}", "ticket_hours", 1},
		"half a character":     {"{" + good + ", \"version\": \"\\ud800\"}", "version", 0},
		"deep":                 {"{" + good + ", \"suffixes\": " + strings.Repeat("[", 100_000), "", 1},
		"does not compile":     {"{" + good + ", \"policy\": {\"split_dns\": \"none\"}}", "policy.split_dns", 0},
	} {
		_, err := ParseJSON([]byte(c.text))
		if err == nil {
			t.Errorf("%s: passed", what)
			continue
		}
		t.Run(what, func(t *testing.T) { wantMistake(t, err, c.key, c.line) })
	}
}

func wantMistake(t *testing.T, err error, key string, line int) {
	t.Helper()
	wantError(t, err, key)
	var e *Error
	if errors.As(err, &e) && e.Line != line {
		t.Errorf("%v: line %d, want %d", err, e.Line, line)
	}
}

// TestParseXMLMistakes has what goes wrong in XML, most of it on purpose.
func TestParseXMLMistakes(t *testing.T) {
	const (
		begin = `<VpnConfig xmlns:sp="urn:sallyport:policy:1" sp:format="1">`
		good  = `<sp:setting key="name">a</sp:setting><sp:setting key="gateway">gw.example.com:443</sp:setting>`
		unset = `<sp:default key="policy.split_tunnel"/>`
		end   = `</VpnConfig>`
		laugh = `<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>`
	)
	setting := func(key, text string) string {
		return begin + good + fmt.Sprintf(`<sp:setting key="%s">%s</sp:setting>`, key, text) + end
	}
	for _, fine := range []string{
		begin + good + end,
		"<?xml version=\"1.0\"?>\r\n<!-- ours -->\n" + begin + "\n\t<!-- it -->" + good + end + "\n<!-- end -->\n",
		begin + good + `<SplitTunnel/>` + end,
		begin + good + unset + `<!-- it --><SplitTunnel>OFF</SplitTunnel>` + end,
		begin + good + unset + end,
		begin + good + `<SplitTunnel><![CDATA[ON]]></SplitTunnel>` + end,
		begin + good + `<SplitTunnel>&#79;N</SplitTunnel>` + end,
		setting("match.apps", "&lt;&amp;&gt;"),
	} {
		if _, err := ParseVPNConfig([]byte(fine)); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
	for what, c := range map[string]struct{ text, key string }{
		"nothing":                   {``, ""},
		"only a declaration":        {`<?xml version="1.0"?>`, ""},
		"text":                      {`VpnConfig`, ""},
		"another form":              {strings.ReplaceAll(begin+good+end, "VpnConfig", "Policies"), ""},
		"byte order mark":           {"\ufeff" + begin + good + end, ""},
		"UTF-16 declared":           {`<?xml version="1.0" encoding="UTF-16"?>` + begin + good + end, ""},
		"version 1.1":               {`<?xml version="1.1"?>` + begin + good + end, ""},
		"late declaration":          {"\n" + `<?xml version="1.0"?>` + begin + good + end, ""},
		"document type":             {`<!DOCTYPE VpnConfig>` + begin + good + end, ""},
		"external document type":    {`<!DOCTYPE VpnConfig SYSTEM "file:///etc/passwd">` + begin + good + end, ""},
		"entities":                  {laugh + begin + good + `<ServerBuildVersion>&c;</ServerBuildVersion>` + end, ""},
		"unknown entity":            {setting("match.apps", "&nbsp;"), ""},
		"stylesheet":                {`<?xml-stylesheet href="x"?>` + begin + good + end, ""},
		"instruction inside":        {begin + good + `<?php evil() ?>` + end, ""},
		"no name space":             {`<VpnConfig sp:format="1">` + good + end, ""},
		"another name space":        {strings.Replace(begin, "sallyport", "evil", 1) + good + end, ""},
		"another prefix":            {strings.ReplaceAll(begin+good+end, "sp:", "x:"), ""},
		"prefix bound again":        {begin + `<sp:setting xmlns:sp="urn:evil" key="name">a</sp:setting>` + end, ""},
		"default name space":        {strings.Replace(begin, " ", ` xmlns="urn:evil" `, 1) + good + end, ""},
		"no format":                 {`<VpnConfig xmlns:sp="urn:sallyport:policy:1">` + good + end, "format"},
		"another format":            {strings.Replace(begin, `format="1"`, `format="2"`, 1) + good + end, "format"},
		"format twice":              {strings.Replace(begin, `format="1"`, `format="1" sp:format="1"`, 1) + good + end, ""},
		"cut in the root":           {begin + good, ""},
		"cut in a text":             {begin + `<sp:setting key="name">a`, ""},
		"cut in a tag":              {begin + `<sp:setting key="na`, ""},
		"second root":               {begin + good + end + begin + good + end, ""},
		"something behind":          {begin + good + end + "x", ""},
		"text between":              {begin + good + "x" + end, ""},
		"unknown element":           {begin + good + `<Evil>x</Evil>` + end, ""},
		"ours without prefix":       {begin + good + `<setting key="version">1</setting>` + end, ""},
		"theirs with prefix":        {begin + good + `<sp:SplitTunnel>ON</sp:SplitTunnel>` + end, ""},
		"element in another case":   {begin + good + `<splittunnel>ON</splittunnel>` + end, ""},
		"crossed":                   {begin + `<sp:setting key="name">a</SplitTunnel>` + end, ""},
		"third level":               {setting("match.apps", "<b>1</b>"), ""},
		"comment in a text":         {setting("dns", "dns.example<!-- -->:53"), ""},
		"instruction in a text":     {setting("dns", "dns.example<?x?>:53"), ""},
		"deep":                      {begin + strings.Repeat("<SplitTunnel>", 100_000), ""},
		"no key":                    {begin + good + `<sp:setting>x</sp:setting>` + end, ""},
		"key twice on an element":   {begin + good + `<sp:setting key="dns" key="name">x</sp:setting>` + end, ""},
		"another attribute":         {begin + good + `<sp:setting key="dns" x="y">dns.example:53</sp:setting>` + end, ""},
		"unknown key":               {setting("nom", "x"), ""},
		"unprintable key":           {setting("n\u202eom", "x"), ""},
		"setting twice":             {setting("name", "a"), "name"},
		"setting out of its place":  {setting("policy.split_tunnel", "off"), ""},
		"element twice":             {begin + good + `<SplitDNS>BOTH</SplitDNS><SplitDNS>LOCAL</SplitDNS>` + end, "policy.split_dns"},
		"element twice, once empty": {begin + good + `<SplitDNS/><SplitDNS>LOCAL</SplitDNS>` + end, "policy.split_dns"},
		"word in another case":      {begin + good + `<SplitTunnel>off</SplitTunnel>` + end, "policy.split_tunnel"},
		"blank around a word":       {begin + good + `<SplitTunnel> OFF </SplitTunnel>` + end, "policy.split_tunnel"},
		"false default":             {begin + good + unset + `<SplitTunnel>ON</SplitTunnel>` + end, "policy.split_tunnel"},
		"no such default":           {begin + good + `<sp:default key="version"/><ServerBuildVersion>1</ServerBuildVersion>` + end, ""},
		"default of no element":     {begin + good + `<sp:default key="policy.intune"/>` + end, ""},
		"default without key":       {begin + good + `<sp:default/>` + end, ""},
		"default without prefix":    {begin + good + `<default key="policy.split_tunnel"/>` + end, ""},
		"default with a value":      {begin + good + `<sp:default key="policy.split_tunnel">OFF</sp:default>` + end, "policy.split_tunnel"},
		"default twice":             {begin + good + unset + unset + end, "policy.split_tunnel"},
		"default behind the value":  {begin + good + `<SplitTunnel>OFF</SplitTunnel>` + unset + end, "policy.split_tunnel"},
		"default cut":               {begin + good + `<sp:default key="policy.split_tunnel">`, ""},
		"attribute of theirs":       {begin + good + `<SplitTunnel title="Split tunnel">OFF</SplitTunnel>` + end, ""},
		"default as attribute":      {begin + good + `<SplitTunnel sp:default="true">OFF</SplitTunnel>` + end, ""},
		"truth in another word":     {setting("policy.intune", "yes"), "policy.intune"},
		"number with a sign":        {setting("ticket_hours", "+1"), "ticket_hours"},
		"number with a zero":        {setting("ticket_hours", "01"), "ticket_hours"},
		"number too large":          {setting("ticket_hours", "99999999999999999999"), "ticket_hours"},
		"half a character":          {setting("match.apps", "&#xD800;"), "match.apps"},
		"NUL":                       {setting("match.apps", "&#0;"), ""},
		"line end":                  {setting("match.apps", "a\nb"), "match.apps"},
		"not UTF-8":                 {setting("match.apps", "\xff"), ""},
		"does not compile":          {setting("policy.push_region", "moon"), "policy.push_region"},
	} {
		_, err := ParseVPNConfig([]byte(c.text))
		if err == nil {
			t.Errorf("%s: passed", what)
			continue
		}
		t.Run(what, func(t *testing.T) { wantError(t, err, c.key) })
	}
}

// TestInjection puts elements into texts: they come back as texts, and change
// nothing beside themselves.
func TestInjection(t *testing.T) {
	for _, text := range nasty {
		s := sample()
		s.Version, s.Match.Apps = text, []string{text, text}
		want, err := s.Normal()
		if err != nil {
			t.Fatal(err)
		}
		for name, form := range forms {
			file, err := form.write(s)
			if err != nil {
				t.Fatal(err)
			}
			got, err := form.parse(file)
			if err != nil {
				t.Fatalf("%s of %q: %v\n%s", name, text, err, file)
			}
			if got.Version != text || len(got.Match.Apps) != 2 || got.Match.Apps[1] != text ||
				got.Spec.SplitTunnel != want.Spec.SplitTunnel || got.Name != want.Name || snapshot(t, got) != snapshot(t, want) {
				t.Errorf("%s of %q is %+v", name, text, got)
			}
		}
	}
}

// TestMDXDefaults holds the gateway that devices are told: this one, unless the
// console names another.
func TestMDXDefaults(t *testing.T) {
	file, err := MDX(least())
	if err != nil {
		t.Fatal(err)
	}
	const told = "  <sp:default key=\"policy.services_gateway\"/>\n  <BackgroundServicesGateway>gateway.example.com:443</BackgroundServicesGateway>"
	if !strings.Contains(string(file), told) {
		t.Fatalf("no %s in\n%s", told, file)
	}
	changed := strings.Replace(string(file), told, strings.Replace(told, ">gateway.", ">evil.", 1), 1)
	_, err = ParseMDX([]byte(changed))
	wantMistake(t, err, "policy.services_gateway", 12)
}
