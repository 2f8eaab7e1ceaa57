package export

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/gateway/policy"
)

// TestRoundTrip is what the package is for: every form gives back the policy
// that it was made of.
func TestRoundTrip(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := random(t)
				want, err := s.Normal()
				if err != nil {
					t.Fatal(err)
				}
				file, err := form.write(s)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range file {
					if c != '\n' && (c < ' ' || c > '~') {
						t.Fatalf("the file holds the byte %#x", c)
					}
				}
				got, err := form.parse(file)
				if err != nil {
					t.Fatalf("%v\n%s", err, file)
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("got  %+v\nwant %+v\n%s", got, want, file)
				}
				before, err := policy.Compile(s.Name, s.Spec)
				if err != nil {
					t.Fatal(err)
				}
				after, err := policy.Compile(got.Name, got.Spec)
				if err != nil {
					t.Fatal(err)
				}
				if before.Snapshot() != after.Snapshot() {
					t.Fatalf("snapshot %s became %s\n%s", before.Snapshot(), after.Snapshot(), file)
				}
			})
		})
	}
}

var update = flag.Bool("update", false, "write the files in testdata anew")

// TestGolden keeps the forms as they are: a change here is a new format.
func TestGolden(t *testing.T) {
	for name, form := range forms {
		for kind, s := range map[string]Settings{"sample": sample(), "least": least()} {
			path := filepath.Join("testdata", kind+"."+name)
			got, err := form.write(s)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is\n%s\nand should be\n%s", path, got, want)
			}
			back, err := form.parse(want)
			if err != nil {
				t.Fatal(err)
			}
			if snapshot(t, back) != snapshot(t, s) {
				t.Errorf("%s holds another policy", path)
			}
		}
	}
}

// TestFieldsAreAll fails when Settings gains something that no form carries.
func TestFieldsAreAll(t *testing.T) {
	var s Settings
	carried := make(map[uintptr]string)
	for _, f := range fields {
		carried[reflect.ValueOf(f.at(&s)).Pointer()] = f.key
	}
	var leaves func(v reflect.Value, path string)
	leaves = func(v reflect.Value, path string) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				leaves(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
			return
		}
		at := v.Addr().Pointer()
		if carried[at] == "" {
			t.Errorf("no form carries Settings%s", path)
		}
		delete(carried, at)
	}
	leaves(reflect.ValueOf(&s).Elem(), "")
	if len(carried) > 0 {
		t.Errorf("two keys for one setting: %v", carried)
	}
}

// TestTooLong goes beyond the bound of a file by way of a list that is within
// its own, but grows when it is escaped.
func TestTooLong(t *testing.T) {
	s := least()
	s.Match.Groups = slices.Repeat([]string{strings.Repeat("<", maxWord)}, MaxBytes/maxWord/5)
	for name, form := range forms {
		if _, err := form.write(s); err == nil {
			t.Errorf("%s: wrote more than it would read", name)
		} else {
			wantError(t, err, "")
		}
		if _, err := form.parse(make([]byte, MaxBytes+1)); err == nil {
			t.Errorf("%s: read more than it may", name)
		} else {
			wantError(t, err, "")
		}
	}
}

// TestLongList has ten thousand services.
func TestLongList(t *testing.T) {
	entries := make([]string, 10_000)
	for i := range entries {
		entries[i] = fmt.Sprintf("mail-%d.departments.example.com:443", i)
	}
	s := least()
	s.Spec.Services, s.Spec.SplitTunnel = strings.Join(entries, ","), "on"
	file, err := MDX(s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseMDX(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.Spec.Services != s.Spec.Services {
		t.Error("the list came back as another")
	}
	answers := ways(t, t.TempDir(), s, []request{
		{"https://mail-9999.departments.example.com/", "mail-9999.departments.example.com"},
		{"https://mail-10000.departments.example.com/", "mail-10000.departments.example.com"},
	})
	if want := []string{gatewayWay, directWay}; !slices.Equal(answers, want) {
		t.Errorf("the ways are %q, want %q", answers, want)
	}
}

// fuzz feeds a parser. What it takes must be written again and mean the same;
// what it refuses must be refused in words that may be printed.
func fuzz(f *testing.F, name string, more ...string) {
	form := forms[name]
	for _, s := range []Settings{sample(), least(), web()} {
		file, err := form.write(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	for _, text := range more {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := form.parse(file)
		if err != nil {
			wantPrintable(t, err)
			return
		}
		again, err := form.write(s)
		if err != nil {
			t.Fatalf("read, and cannot be written: %v", err)
		}
		got, err := form.parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Fatalf("got  %+v\nwant %+v", got, s)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	fuzz(f, "json", `{}`, `{"format":1}`, `{"format":1,"name":"a","name":"b"}`, `[[[[`, `{"policy":{"policy":{}}}`, "\xff", `{"format":1,"name":null}`)
}

func FuzzParseMDX(f *testing.F) {
	fuzz(f, "mdx", `<Policies/>`, `<!DOCTYPE a [<!ENTITY b "c">]><Policies>&b;</Policies>`, `<a:b:c d=''/>`, `<Policies xmlns:sp="urn:sallyport:policy:1" sp:format="1"><!--x--><NetworkAccess><![CDATA[Unrestricted]]></NetworkAccess></Policies>`)
}

func FuzzParseVPNConfig(f *testing.F) {
	fuzz(f, "vpn", `<VpnConfig/>`, `<?xml version="1.0" encoding="utf-16"?><VpnConfig/>`, `<VpnConfig xmlns:sp="urn:sallyport:policy:1" sp:format="1"><sp:setting key="name">a`)
}

func FuzzParsePAC(f *testing.F) {
	fuzz(f, "pac", pacHead+"{}"+pacProxies+"[]"+pacTail+program, pacHead+pacProxies+pacTail+program, program)
}
