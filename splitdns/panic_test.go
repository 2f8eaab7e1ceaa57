package splitdns

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/stub"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

// defective servers make whoever reads their answers stumble.
type defective struct{}

func (defective) Ask(context.Context, upstream.Question) (*upstream.Reply, error) { panic("a defect") }

// defectiveView stumbles over what it is asked.
type defectiveView struct{ View }

func (defectiveView) Knows(string) bool { panic("a defect") }

// A defect ends the look-up, for all who wait for it, and is told; the resolver
// goes on.
func TestDefects(t *testing.T) {
	var told atomic.Int32
	r := newResolver(t, Config{
		Public: defective{}, Hosts: mustHosts("pinned.example", "10.0.0.25"),
		Panicked: func(value any, stack []byte) {
			if value != "a defect" || len(stack) == 0 {
				t.Errorf("told of %v", value)
			}
			told.Add(1)
		},
	})
	if _, err := r.Resolve(t.Context(), "mail.example"); !errors.Is(err, ErrFailed) {
		t.Errorf("got %v", err)
	}
	if n := told.Load(); n != 2 { // A and AAAA
		t.Errorf("told %d times", n)
	}
	if got := mustResolve(t, r, "pinned.example"); len(got.Addrs) != 1 {
		t.Errorf("got %+v", got)
	}

	wire, err := new(dns.Msg).SetQuestion("mail.example.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	query, err := stub.Parse(wire)
	if err != nil {
		t.Fatal(err)
	}
	answer := (&asker{&Service{Resolver: r}, defectiveView{}}).Answer(t.Context(), query)
	if stub.Rcode(answer) != stub.ServerFailure || told.Load() != 3 {
		t.Errorf("answered %x, told %d times", answer, told.Load())
	}
}
