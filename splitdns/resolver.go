package splitdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The kinds of failure, to be told apart by errors.Is.
var (
	// ErrNotFound: the name does not exist, or has no address.
	ErrNotFound = errors.New("no such name")
	// ErrTimeout: no answer in time, by the resolver's limit or the caller's.
	ErrTimeout = errors.New("the look-up timed out")
	// ErrFailed: everything else, among it a caller that gave up, for whom
	// context.Canceled is in the chain too.
	ErrFailed = errors.New("the look-up failed")
)

// Config is what a Resolver is made of. The zero Config asks the machine.
type Config struct {
	// Hosts are the pinned addresses by normalised name: lower case, A-labels,
	// no trailing dot. A name may not come without addresses.
	Hosts map[string][]netip.Addr
	// System is asked for names that are not in Hosts; nil is the resolver of
	// the machine.
	System System
	// Timeout bounds one look-up; 0 is 5 s, half of what a device woken by
	// push has for everything.
	Timeout time.Duration
	// MaxAddrs bounds the addresses of an answer; 0 is 32. The first ones stay.
	MaxAddrs int
}

// Where an answer came from.
const (
	SourceHosts  = "hosts"
	SourceSystem = "system"
)

// Answer is what a name resolved to.
type Answer struct {
	// Name is the name as asked.
	Name string
	// Addrs holds at least one address, unmapped, without zones and without
	// repeats, in the order of the source. It belongs to the caller.
	Addrs []netip.Addr
	// Source is SourceHosts or SourceSystem.
	Source string
}

// Resolver answers by its Config. It is safe for concurrent use, and has
// nothing to close.
type Resolver struct {
	hosts    map[string][]netip.Addr
	system   System
	timeout  time.Duration
	maxAddrs int
	flights  flights
}

// New checks a config and keeps no reference to its maps. An error names the
// host at fault.
func New(c Config) (*Resolver, error) {
	r := &Resolver{
		hosts:    make(map[string][]netip.Addr, len(c.Hosts)),
		system:   c.System,
		timeout:  c.Timeout,
		maxAddrs: c.MaxAddrs,
	}
	if r.system == nil {
		var dialer net.Dialer
		r.system = machineResolver(dialer.DialContext)
	}
	if r.timeout <= 0 {
		r.timeout = 5 * time.Second
	}
	if r.maxAddrs <= 0 {
		r.maxAddrs = 32
	}
	for name, addrs := range c.Hosts {
		if !isNormalised(name) {
			return nil, fmt.Errorf("splitdns: host %q is not written as a name: lower case, no blanks, no trailing dot", name)
		}
		usable := tidy(addrs, r.maxAddrs)
		if len(usable) == 0 {
			return nil, fmt.Errorf("splitdns: host %s has no usable address", name)
		}
		r.hosts[name] = usable
	}
	r.flights.init()
	return r, nil
}

// Resolve returns the addresses of a normalised name. A name in another form
// and an address in the guise of a name are ErrNotFound, without a look-up.
func (r *Resolver) Resolve(ctx context.Context, name string) (Answer, error) {
	if !isNormalised(name) {
		return Answer{}, fmt.Errorf("splitdns: %w", ErrNotFound)
	}
	if addrs, ok := r.hosts[name]; ok {
		return Answer{Name: name, Addrs: slices.Clone(addrs), Source: SourceHosts}, nil
	}
	addrs, err := r.flights.share(ctx, name, r.timeout, r.lookUp)
	if err != nil {
		return Answer{}, fmt.Errorf("splitdns: %w", classify(err))
	}
	return Answer{Name: name, Addrs: slices.Clone(addrs), Source: SourceSystem}, nil
}

// lookUp asks the system. The trailing dot keeps search domains out.
func (r *Resolver) lookUp(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := r.system.LookupNetIP(ctx, "ip", name+".")
	if err != nil {
		return nil, err
	}
	if addrs = tidy(addrs, r.maxAddrs); len(addrs) == 0 {
		return nil, ErrNotFound
	}
	return addrs, nil
}

// classify puts one of the three kinds in front of an error.
func classify(err error) error {
	var dns *net.DNSError
	isDNS := errors.As(err, &dns)
	switch {
	case errors.Is(err, ErrNotFound):
		return err
	case errors.Is(err, context.DeadlineExceeded), isDNS && dns.IsTimeout:
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case isDNS && dns.IsNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

// tidy returns at most limit addresses: valid, unmapped, each once. Those with
// a zone are left out, for they mean something on one link only.
func tidy(addrs []netip.Addr, limit int) []netip.Addr {
	var kept []netip.Addr
	for _, addr := range addrs {
		if len(kept) == limit {
			break
		}
		addr = addr.Unmap()
		if addr.IsValid() && addr.Zone() == "" && !slices.Contains(kept, addr) {
			kept = append(kept, addr)
		}
	}
	return kept
}

// isNormalised is the last look at a name before it leaves the machine. It
// takes what a name can consist of after normalisation, and no number in the
// last label: some resolvers would read the whole as an IPv4 address.
func isNormalised(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
		last = label
	}
	digits, hex := strings.CutPrefix(last, "0x")
	if hex {
		return strings.Trim(digits, "0123456789abcdef") != ""
	}
	return strings.Trim(digits, "0123456789") != ""
}
