package policy

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func itoa(i int) string { return strconv.Itoa(i) }

func joinServices(services []Service) string {
	var list strings.Builder
	for i, s := range services {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(s.String())
	}
	return list.String()
}

// bigList is a list of n services: exact names of four labels, one wildcard in
// ten, and addresses, one in ten.
func bigList(n int) string {
	services := make([]string, n)
	for i := range services {
		switch i % 10 {
		case 8:
			services[i] = fmt.Sprintf("*.zone%d.corp.example:443", i)
		case 9:
			services[i] = fmt.Sprintf("10.%d.%d.%d:443", i>>16, i>>8&255, i&255)
		default:
			services[i] = fmt.Sprintf("host%d.dept%d.corp.example:443", i, i%100)
		}
	}
	return strings.Join(services, ",")
}

// bigQueries ask of bigList(10,000), from its end, where a linear search is
// slowest.
var bigQueries = []struct {
	name, host string
	allow      bool
}{
	{"exact", "host9997.dept97.corp.example", true},
	{"wildcard", "mail.zone9998.corp.example", true},
	{"address", "10.0.39.15", true},
	{"miss", "host9997.dept96.corp.example", false},
	{"miss-far", "a.b.evil.test", false},
	{"miss-address", "10.0.39.16", false},
}

func TestDecideDoesNotAllocate(t *testing.T) {
	p := compile(t, bigList(10_000))
	web, err := Compile("web", Spec{NetworkAccess: AccessWebSSO, Services: bigList(10_000), WebDomains: []string{"*.web.example"}})
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := CompileNarrowing([]string{"*.zone9998.corp.example:443"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range bigQueries {
		q := Query{Host: host(t, c.host), Port: 443}
		var d Decision
		free(t, c.name, func() { d = p.Decide(q) })
		if d.Allow != c.allow {
			t.Errorf("%s: %+v", c.name, d)
		}
		q.Narrow = narrow
		free(t, c.name+", narrowing", func() { d = p.Decide(q) })
		if d.Allow != (c.name == "wildcard") {
			t.Errorf("%s, narrowing: %+v", c.name, d)
		}
		free(t, c.name+", accessors", func() {
			p.Knows(q.Host)
			p.Opens(q.Host, 443)
			p.Holds(q.Host.Name)
			p.ExactNames(444)
		})
	}
	q := Query{Host: host(t, "a.b.web.example"), Port: 80}
	var d Decision
	free(t, "web domain", func() { d = web.Decide(q) })
	if !d.Allow || d.Rule != "web/web_domains[1]" {
		t.Errorf("web domain: %+v", d)
	}
}

// free checks that a call allocates nothing.
func free(t *testing.T, name string, call func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, call); n != 0 {
		t.Errorf("%s: %v allocations", name, n)
	}
}

// BenchmarkDecide measures the policy step of a tunnel's set-up, name parsing
// apart, with a list of 10,000; "linear" is what trying every entry costs.
//
//	go test -run '^$' -bench Decide -benchmem -count 10 ./gateway/policy | tee new
//	benchstat old new
func BenchmarkDecide(b *testing.B) {
	p := compile(b, bigList(10_000))
	services := p.Services()
	for _, c := range bigQueries {
		q := Query{Host: host(b, c.host), Port: 443}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(q)
			}
		})
		b.Run("linear/"+c.name, func(b *testing.B) {
			for b.Loop() {
				naiveFind(services, q.Host, q.Port)
			}
		})
	}
}

// BenchmarkFor measures choosing among 256 policies for a ticket of 20 groups.
func BenchmarkFor(b *testing.B) {
	s, holder := bigSet(b)
	b.ReportAllocs()
	for b.Loop() {
		s.For(holder)
	}
}

// BenchmarkCompile measures reading and indexing a list of 10,000, and what a
// mistake at its very end costs, correction and all.
func BenchmarkCompile(b *testing.B) {
	list := bigList(10_000)
	b.Run("good", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			compile(b, list)
		}
	})
	b.Run("mistake", func(b *testing.B) {
		for b.Loop() {
			if _, err := ParseServices(list + ", a.example"); err == nil {
				b.Fatal("no mistake found")
			}
		}
	})
}
