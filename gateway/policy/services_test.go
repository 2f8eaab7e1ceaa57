package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseServices(t *testing.T) {
	list := "mail.example.com:443,EWS.Example.com.:8443,192.0.2.7:25,*.example.net:80,bücher.example:1,mail.example.com:65535"
	services, err := ParseServices(list)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range services {
		got = append(got, s.String())
	}
	want := []string{
		"mail.example.com:443", "ews.example.com:8443", "192.0.2.7:25",
		"*.example.net:80", "xn--bcher-kva.example:1", "mail.example.com:65535",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if !services[3].Wildcard || services[3].Name != "example.net" {
		t.Errorf("the wildcard is %+v", services[3])
	}
	if !services[2].Addr.Is4() || services[2].Name != "" {
		t.Errorf("the address is %+v", services[2])
	}
	if none, err := ParseServices(""); err != nil || len(none) != 0 {
		t.Errorf("the empty list gives %v, %v", none, err)
	}
}

var listMistakes = []struct {
	list      string
	entry     int
	column    int
	problem   string // a part of it
	corrected string
}{
	{"mail1.example.com:443, mail2.example.com:443", 2, 23, "blank", "mail1.example.com:443,mail2.example.com:443"},
	{" a.example:443", 1, 1, "blank", "a.example:443"},
	{"a.example :443", 1, 10, "blank", "a.example:443"},
	{"a.example:443\n", 1, 14, "blank", "a.example:443"},
	{"a.example:443 b.example:443", 1, 14, "blank", "a.example:443,b.example:443"},
	{"a.example:443,\u00a0b.example:443", 2, 15, "blank", "a.example:443,b.example:443"},
	{"ä.example:443,bü cher.example:443", 2, 17, "blank", "xn--4ca.example:443,xn--bcher-kva.example:443"},
	{"a.example", 1, 10, "write a.example:443", "a.example:443"},
	{"a.example:443,b.example", 2, 24, "write b.example:443", "a.example:443,b.example:443"},
	{"a.example:443,192.0.2.7", 2, 24, "write 192.0.2.7:443", "a.example:443,192.0.2.7:443"},
	{"*.example.com", 1, 14, "write *.example.com:443", "*.example.com:443"},
	{"a.example:", 1, 11, "empty port", "a.example:443"},
	{"a.example:443,", 2, 15, "spare comma", "a.example:443"},
	{",a.example:443", 1, 1, "spare comma", "a.example:443"},
	{"a.example:443,,b.example:443", 2, 15, "spare comma", "a.example:443,b.example:443"},
	{",", 1, 1, "spare comma", ""},
	{"a.example:443;b.example:443", 1, 14, "semicolon", "a.example:443,b.example:443"},
	{"a.example:0", 1, 11, "1 to 65535", ""},
	{"a.example:000", 1, 11, "1 to 65535", ""},
	{"a.example:65536", 1, 11, "1 to 65535", ""},
	{"a.example:https", 1, 11, "1 to 65535", ""},
	{"a.example:-1", 1, 11, "1 to 65535", ""},
	{"a.example:+443", 1, 11, "1 to 65535", ""},
	{"a.example:４４３", 1, 11, "1 to 65535", ""},
	{"a.example:0443", 1, 11, "write 443", "a.example:443"},
	{"a.example:443,A.Example.:443", 2, 15, "repeats entry 1", "a.example:443"},
	{"a.example:443,b.example:1,a.example:443,b.example", 3, 27, "repeats entry 1", "a.example:443,b.example:1,b.example:443"},
	{"https://a.example/owa", 1, 7, "URL", "a.example:443"},
	{"http://a.example", 1, 6, "URL", "a.example:80"},
	{"https://a.example:8443/", 1, 7, "URL", "a.example:8443"},
	{"ldap://a.example:389", 1, 6, "URL", ""},
	{"10.0.0.0/8:443", 1, 9, "network", ""},
	{"[2001:db8::1]:443", 1, 1, "IPv6", ""},
	{"2001:db8::1", 1, 1, "IPv6", ""},
	{"a.example:443:443", 1, 1, "two ports", ""},
	{":443", 1, 1, "no host", ""},
	{"*:443", 1, 1, "'*'", ""},
	{"*.com:443", 1, 1, "too wide", ""},
	{"*.192.0.2.7:443", 1, 1, "too wide", ""},
	{"mail*.example.com:443", 1, 5, "'*'", ""},
	{"*.*.example.com:443", 1, 3, "'*'", ""},
	{"127.1:443", 1, 1, "number", ""},
	{"a..example:443", 1, 1, "label", ""},
	{"a.example:443,b\x00.example:443", 2, 15, "control", ""},
}

func TestParseServicesMistakes(t *testing.T) {
	for _, m := range listMistakes {
		_, err := ParseServices(m.list)
		var mistake *ListError
		if !errors.As(err, &mistake) {
			t.Errorf("%q: %v, want a *ListError", m.list, err)
			continue
		}
		if mistake.Entry != m.entry || mistake.Column != m.column ||
			!strings.Contains(mistake.Problem, m.problem) || mistake.Corrected != m.corrected {
			t.Errorf("%q: %+v", m.list, *mistake)
		}
	}
}

func TestListErrorSpeaks(t *testing.T) {
	_, err := ParseServices("mail1.example.com:443, mail2.example.com:443")
	want := "entry 2, column 23: holds a blank; write the list without blanks; " +
		"the corrected list is mail1.example.com:443,mail2.example.com:443"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestListBounds(t *testing.T) {
	var full []string
	for i := range MaxServices {
		full = append(full, Service{Name: "a.example", Port: uint16(i + 1)}.String())
	}
	services, err := ParseServices(strings.Join(full, ","))
	if err != nil || len(services) != MaxServices {
		t.Errorf("a full list gives %d entries, %v", len(services), err)
	}
	p := compile(t, strings.Join(full, ","))
	if d := p.Decide(Query{Host: Host{Name: "a.example"}, Port: MaxServices}); d.Service != services[MaxServices-1] {
		t.Errorf("the last port is found as %+v", d)
	}
	full = append(full, "b.example:1")
	long := strings.Repeat("a", MaxListBytes)
	for name, c := range map[string]struct {
		list    string
		entry   int
		problem string
	}{
		"an entry too many": {strings.Join(full, ","), MaxServices + 1, "more than 16384 entries"},
		"a byte too many":   {long + "a", 1, "longer than 1024 KiB"},
		"one long entry":    {long, 1, "longer than 253 bytes"},
		"one long port":     {("a.example:" + strings.Repeat("1", MaxListBytes))[:MaxListBytes], 1, "no number"},
	} {
		var mistake *ListError
		_, err := ParseServices(c.list)
		if !errors.As(err, &mistake) || mistake.Entry != c.entry || !strings.Contains(mistake.Problem, c.problem) || mistake.Corrected != "" {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

// A list of 10,000 with its one mistake at the end is corrected whole.
func TestLongListIsCorrected(t *testing.T) {
	list := bigList(10_000)
	var mistake *ListError
	if _, err := ParseServices(list + ", last.example"); !errors.As(err, &mistake) {
		t.Fatal(err)
	}
	if mistake.Entry != 10_001 || mistake.Column != len(list)+2 || mistake.Corrected != list+",last.example:443" {
		t.Errorf("entry %d, column %d, corrected %d bytes", mistake.Entry, mistake.Column, len(mistake.Corrected))
	}
}

func FuzzParseServices(f *testing.F) {
	for _, m := range listMistakes {
		f.Add(m.list)
	}
	f.Add("mail.example.com:443,*.example.net:80,192.0.2.7:25")
	f.Fuzz(func(t *testing.T, list string) {
		services, err := ParseServices(list)
		if err == nil {
			checkCanonical(t, list, services)
			return
		}
		var mistake *ListError
		if !errors.As(err, &mistake) {
			t.Fatalf("%q: not a *ListError: %v", list, err)
		}
		if mistake.Entry < 1 || mistake.Column < 1 || mistake.Column > len([]rune(list))+1 {
			t.Fatalf("%q: points nowhere: %+v", list, *mistake)
		}
		if strings.IndexFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			t.Fatalf("%q: raw bytes in %q", list, err)
		}
		if mistake.Corrected == "" {
			return
		}
		if _, err := ParseServices(mistake.Corrected); err != nil {
			t.Fatalf("%q: the correction %q has a mistake too: %v", list, mistake.Corrected, err)
		}
	})
}

// checkCanonical: what was accepted can be written down, and read as the same.
func checkCanonical(t *testing.T, list string, services []Service) {
	t.Helper()
	if strings.ContainsAny(list, " \t\r\n[]/") {
		t.Fatalf("%q was accepted", list)
	}
	var written []string
	for _, s := range services {
		if s.Port == 0 || (s.Name != "") == s.Addr.IsValid() || (s.Addr.IsValid() && !s.Addr.Is4()) {
			t.Fatalf("%q gave %+v", list, s)
		}
		written = append(written, s.String())
	}
	again, err := ParseServices(strings.Join(written, ","))
	if err != nil || !slices.Equal(again, services) {
		t.Fatalf("%q gave %v, which gave %v, %v", list, services, again, err)
	}
}
