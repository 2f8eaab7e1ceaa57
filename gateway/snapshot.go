package gateway

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
)

// Snapshot is what decides on destinations. It is immutable and replaced whole:
// no tunnel is judged by parts of two, nor by two address rules. Policies, Address and Resolver are
// required.
type Snapshot struct {
	Policies *policy.Set
	Address  *policy.AddressRules
	Resolver Resolver
	// DNS serves devices at [DeviceDNS]; nil: it is not offered.
	DNS DNS
	// Since is when the policies came into force; for explanations.
	Since time.Time
	// Catalogue has addresses that stand for a name whatever it resolves to, if
	// it is listed: clients that resolved for themselves are matched back to it.
	// nil: only what the Resolver says counts.
	Catalogue map[string][]netip.Addr
	// Trusted are, by authority, the policies that its tickets may have, be they
	// named or matched: whoever writes a ticket writes its groups too. An authority
	// that is not in it may give any.
	Trusted map[string][]string
	// Inside is what the inside door opens; see [Gateway.Inside]. nil: nothing.
	Inside *policy.Policy
	// Release is called once, when the snapshot has been replaced and nothing
	// uses its Resolver and DNS any more; nil: nobody needs to know.
	Release func()
}

// Resolver gives the addresses of a name. "No such name" and time-outs are told
// apart as in *net.DNSError, and its text is for the log.
type Resolver interface {
	Resolve(ctx context.Context, name string) (Resolution, error)
}

// Resolution is what a name resolved to.
type Resolution struct {
	// Addrs are the addresses, best first. They are not changed.
	Addrs  []netip.Addr
	Source Source
	// Server is who gave it; "" for hosts.
	Server string
	// Chain are the names that aliases led over, the last of which has the
	// addresses.
	Chain []string
	// Stale says that the answer is out of date, since no server gave a new one.
	Stale bool
}

// Source is where an answer comes from: a word for "the … answered".
type Source string

// The sources that are told in other words. Any other is told as it is, such as
// "zone corp.example".
const (
	// SourceHosts: the file pins the name to its addresses.
	SourceHosts Source = "hosts"
	// SourcePublic: the servers for names in no zone.
	SourcePublic Source = "public"
)

// DNS answers a device that asks over a tunnel, until the connection or ctx
// ends: DNS over TCP (RFC 7766). It says no more than the view allows.
type DNS interface {
	ServeDNS(ctx context.Context, conn net.Conn, view *View) error
}

// inForce is a snapshot with what hangs on its being the one in force.
//
//	hold ──► uses > 0 ──► drop
//	             └─ replaced, and the last use dropped ──► Release
type inForce struct {
	Snapshot
	// address is what Snapshot.Address says at first: rules come and go while the
	// rest stays.
	address  atomic.Pointer[policy.AddressRules]
	id       string          // of the policies
	current  context.Context // ends when the snapshot is replaced
	retire   context.CancelFunc
	uses     atomic.Int64 // one of them is being in force
	matches  matchBack
	panicked panicHook
}

func newInForce(s Snapshot, panicked panicHook) *inForce {
	f := &inForce{Snapshot: s, id: s.Policies.Snapshot(), panicked: panicked}
	f.address.Store(s.Address)
	f.current, f.retire = context.WithCancel(context.Background())
	f.uses.Store(1)
	return f
}

// take counts a use, unless the last one is over.
func (f *inForce) take() bool {
	for {
		n := f.uses.Load()
		if n == 0 {
			return false
		}
		if f.uses.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// drop ends a use.
func (f *inForce) drop() {
	if f.uses.Add(-1) == 0 && f.Release != nil {
		f.Release()
	}
}

// hold gives the snapshot in force, for a use that ends with drop.
func (g *Gateway) hold() *inForce {
	for {
		// One that is used up has been replaced: there is a newer one.
		if f := g.force.Load(); f.take() {
			return f
		}
	}
}

// Use puts a new snapshot in force for the tunnels that are set up from now on.
// Live tunnels go on; a device's DNS ends, and the device asks the new one when
// it comes again.
func (g *Gateway) Use(s Snapshot) {
	old := g.force.Swap(newInForce(s, g.config.Hooks.Panicked))
	old.retire()
	old.drop()
}

// UseAddress puts other address rules in the place of those of the snapshot in
// force. The rest stays as it is: what was resolved, and devices' DNS, which goes
// by the new rules from now on. It is not called together with Use.
func (g *Gateway) UseAddress(rules *policy.AddressRules) { g.force.Load().address.Store(rules) }
