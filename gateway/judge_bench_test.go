package gateway

import (
	"context"
	"net/netip"
	"testing"

	"github.com/sallyport/sallyport/gateway/policy"
)

type fixed Resolution

func (f fixed) Resolve(context.Context, string) (Resolution, error) { return Resolution(f), nil }

// What it costs a tunnel to be judged, no sentence being asked for, beside what the
// sentences cost where one is.
//
//	go test -run '^$' -bench Trial -benchmem ./gateway
func BenchmarkTrial(b *testing.B) {
	set, err := policy.CompileSet(policy.Spec{Services: "mail.example.com:443"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	force := newInForce(Snapshot{
		Policies: set, Address: policy.NewAddressRules(policy.AddressConfig{}),
		Resolver: fixed{Addrs: []netip.Addr{netip.MustParseAddr("8.8.8.8")}, Source: SourcePublic},
	}, nil)
	ask := Ask{Host: policy.Host{Name: "mail.example.com"}, Port: 443}
	judged := func() *trial {
		t := newTrial(force, ask)
		if err := t.judge(b.Context()); err != nil {
			b.Fatal(err)
		}
		return t
	}
	b.Run("judge", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			judged()
		}
	})
	b.Run("explain", func(b *testing.B) {
		t := judged()
		b.ReportAllocs()
		for b.Loop() {
			t.judgement()
		}
	})
}
