package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/bench/evidence"
)

// member is a host that takes part, in one role or several.
type member struct {
	party *party
	host  evidence.Host
	watch []evidence.Watched
}

// cast are the hosts of a run.
type cast struct {
	all     []*member
	clients []*member
	sink    *member
	// gateways are by endpoint: the host, and the role of the process there.
	gateways map[string]gatewayAt
}

type gatewayAt struct {
	member *member
	role   string
}

func (c cast) clientParties() []*party {
	var parties []*party
	for _, m := range c.clients {
		parties = append(parties, m.party)
	}
	return parties
}

// seat is what a host is to be: all its roles are known before anybody is met.
type seat struct {
	address string
	roles   []string
	watch   []evidence.Watched
}

// seats has one seat for each host, in the order sink, clients, gateways.
func (o Options) seats() []*seat {
	var all []*seat
	take := func(address, role string, watch evidence.Watched) {
		i := slices.IndexFunc(all, func(s *seat) bool { return s.address == address })
		if i < 0 {
			i = len(all)
			all = append(all, &seat{address: address})
		}
		all[i].roles = append(all[i].roles, role)
		all[i].watch = append(all[i].watch, watch)
	}
	take(o.Sink, roleSink, evidence.Watched{Role: roleSink})
	for i, address := range o.clients() {
		take(address, fmt.Sprintf("client %d", i+1), evidence.Watched{Role: roleGenerator})
	}
	for _, w := range o.Watch {
		role := o.gatewayRole(w.Endpoint)
		take(w.Address, role, evidence.Watched{Role: role, PID: w.PID})
	}
	return all
}

// clients are the addresses of those who make the load; this host has none.
func (o Options) clients() []string {
	if len(o.Clients) == 0 {
		return []string{""}
	}
	return o.Clients
}

// gatewayRole is what the process behind an endpoint is called.
func (o Options) gatewayRole(endpoint string) string {
	if endpoint == o.Endpoints[0].Name {
		return roleGateway
	}
	return roleGateway + " " + endpoint
}

// gather connects to everybody. start has a goroutine attend to a party, until the
// run is over.
func gather(ctx context.Context, o Options, start func(func(context.Context) error)) (cast, error) {
	c := cast{gateways: make(map[string]gatewayAt)}
	at := make(map[string]*member)
	for _, s := range o.seats() {
		p, err := meet(ctx, strings.Join(s.roles, ", "), s.address, o, start)
		if err != nil {
			return c, err
		}
		at[s.address] = &member{party: p, watch: s.watch}
		c.all = append(c.all, at[s.address])
	}
	c.sink = at[o.Sink]
	for _, address := range o.clients() {
		c.clients = append(c.clients, at[address])
	}
	for _, w := range o.Watch {
		c.gateways[w.Endpoint] = gatewayAt{at[w.Address], o.gatewayRole(w.Endpoint)}
	}
	return c, nil
}

// meet connects to an agent, or to the one within this process, and greets it.
func meet(ctx context.Context, role, address string, o Options, start func(func(context.Context) error)) (*party, error) {
	var p *party
	if address == "" {
		mine, its := net.Pipe()
		local := &host{version: o.Version, do: realDeeds(), addresses: ownAddresses, trigger: true}
		start(func(life context.Context) error { _ = local.serve(life, newLink(its)); return nil })
		p = newParty(role, "", newLink(mine))
	} else {
		var err error
		if p, err = dialParty(ctx, role, address, o.Key); err != nil {
			return nil, err
		}
	}
	start(p.attend)
	return p, p.greet(ctx, o.Version)
}

// leavesHosts finds out whether the traffic does: from each client to the endpoints and
// the sink, and from the endpoints to the sink. Two that are on one host elsewhere are
// that host's matter, and marked; those on this one, whose addresses are own, are refused.
func (r *run) leavesHosts(ctx context.Context, own []netip.Addr) error {
	clients, sink := r.cast.clientParties(), r.cast.sink.party
	for _, each := range [][2]string{{"the sink", r.Sink}, {"the service", r.service}} {
		p, err := placed(ctx, each[0], each[1])
		if err == nil {
			err = p.leadsOut(clients)
		}
		if err != nil {
			return err
		}
	}
	for _, c := range clients {
		if sameHost(c.hello.Addresses, sink.hello.Addresses) {
			return &LoopbackError{"the sink", r.Sink, "is on the host of " + c.name()}
		}
	}
	for _, e := range r.Endpoints {
		if e.Address == "" {
			continue
		}
		p, err := placed(ctx, "the endpoint "+e.Name, e.Address)
		if err == nil {
			err = p.leadsOut(clients)
		}
		switch {
		case err != nil:
			return err
		case e.Way == "tcp" || !p.within(sink.hello.Addresses): // the sink itself; another host
		case p.within(own):
			return &LoopbackError{p.what, p.address, "is on this host, and so is the sink"}
		default:
			r.mark(e.Name + " and the sink are on one host: the way between them is loopback")
		}
	}
	return nil
}

// locate finds out how the service is reached, and refuses what does not leave a host.
func (r *run) locate(ctx context.Context) error {
	sinkHost, _, err := net.SplitHostPort(r.Sink)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(r.cast.sink.party.hello.Service)
	if err != nil {
		return fmt.Errorf("the sink at %s has no exchange service", r.Sink)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("the sink at %s: %w: its service: %w", r.Sink, errFrame, err)
	}
	if host != "" && !plainHost(host) {
		return fmt.Errorf("the sink at %s: %w: its service is at no host", r.Sink, errFrame)
	}
	r.direct = net.JoinHostPort(sinkHost, port)
	if r.service = r.Service; r.service == "" {
		if host == "" {
			host = sinkHost
		} else if host != sinkHost {
			r.mark(fmt.Sprintf("the service is at %s by the sink's word: --service says otherwise", host))
		}
		r.service = net.JoinHostPort(host, port)
	}
	err = r.leavesHosts(ctx, ownAddresses())
	var loopback *LoopbackError
	if errors.As(err, &loopback) && r.AllowLoopback {
		r.mark("loopback: traffic did not leave the host, so the figures are of processors and memory, not of a network")
		return nil
	}
	return err
}
