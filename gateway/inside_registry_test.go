package gateway

import (
	"testing"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Tunnels from within have no ticket, whose bound they could reach: an agent may hold
// more of them than a device may ever have. They leave in any order.
func TestInsideIsNoTicket(t *testing.T) {
	var r registry
	var lives []*live
	for range maxPerTicket + 2 {
		l, err := r.enter(nil, pipe{})
		if err != nil {
			t.Fatal(err)
		}
		lives = append(lives, l)
	}
	nobody := &ticket.Claims{}
	theirs, err := r.enter(nobody, pipe{})
	if err != nil {
		t.Fatal(err)
	}
	if theirs.ticket == &r.inside || r.len() != len(lives)+1 {
		t.Errorf("%d live; a ticket without names is one from within", r.len())
	}
	first, last := lives[0], lives[len(lives)-1]
	for _, l := range append(append([]*live{last, first, first}, lives[1:len(lives)-1]...), theirs) {
		r.leave(l)
	}
	if r.len() != 0 || r.inside.tunnels != nil || len(r.named[byTicket]) != 0 {
		t.Errorf("%d live", r.len())
	}
}
