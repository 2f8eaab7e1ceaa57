package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/bench/load"
)

// Options are what a run is to do.
type Options struct {
	// Scenario is done in every round, through every endpoint.
	Scenario load.Scenario
	// Endpoints take turns; the others are held against the first. Their names differ.
	Endpoints []load.Endpoint
	// Sink is host:port of the agent that serves the exchange service.
	Sink string
	// Service is host:port of that service as the endpoints know it; empty for what
	// the agent advertises.
	Service string
	// Clients are host:port of agents that make the load, in equal parts. With none,
	// this host makes it; with some, it only coordinates.
	Clients []string
	// Watch are gateways' processes. What is watched on this host has no address.
	Watch []Watch
	// Sources are the local addresses to dial from, in turn; empty leaves it to the
	// system. Every client must have them.
	Sources []netip.Addr
	// Key proves this host to the agents and them to it.
	Key Key

	// Rounds is how often each endpoint has its turn, 1 to 100; 0 means 5.
	Rounds int
	// Settle is how long a round waits for the one before to be forgotten; 0 means 2 s.
	Settle time.Duration
	// Calibrate is how long each part of the calibration takes; 0 means 3 s.
	Calibrate time.Duration
	// MaxInFlight bounds the operations under way at each client; 0 means 20,000.
	MaxInFlight int
	// Patience ends one operation; 0 means a minute, above the 30 s budget so that what
	// misses it is still seen.
	Patience time.Duration
	// Seed makes sizes and moments the same on every run.
	Seed uint64

	// Objectives judge the figures; nil judges nothing.
	Objectives *Objectives
	// Knee looks for the highest load within the objectives, and runs the rounds at
	// the highest that all endpoints reach.
	Knee bool
	// AllowLoopback runs even where the traffic does not leave the host.
	AllowLoopback bool

	// Version must be that of every agent. Commit and Command are for the report;
	// Command must not hold secrets.
	Version, Commit string
	Command         []string
}

// Watch is a process of a gateway.
type Watch struct {
	Address string // of the agent on its host; empty for this host
	PID     int
	// Endpoint is the name of the endpoint that the process is behind; empty for the first.
	Endpoint string
}

// Progress is told where a run is. It is called from several goroutines and must
// return at once; nil is fine.
type Progress func(Step)

// Step is where a run is.
type Step struct {
	Text string // calibrating; round 2 of 5 through gw-1
	// Done and Of are of the whole run, as far as can be told: while a knee is looked
	// for, all the tries that there may be are in Of, and those that there was no need
	// for are out of it afterwards.
	Done, Of time.Duration
	// Second is the last second of a client; its At is zero if there is none.
	Second load.Second
}

func (o Options) withDefaults() Options {
	set(&o.Rounds, 5)
	set(&o.Settle, 2*time.Second)
	set(&o.Calibrate, 3*time.Second)
	set(&o.MaxInFlight, 20_000)
	set(&o.Patience, time.Minute)
	o.Watch = slices.Clone(o.Watch)
	for i := range o.Watch {
		if o.Watch[i].Endpoint == "" && len(o.Endpoints) > 0 {
			o.Watch[i].Endpoint = o.Endpoints[0].Name
		}
	}
	return o
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Check says what is wrong with the options, before anybody is asked.
func (o Options) Check() error {
	o = o.withDefaults()
	var mistakes []error
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Errorf(format, args...)) }
	if len(o.Endpoints) == 0 {
		wrong("there is no endpoint to go to")
	}
	if len(o.Key.secret) < keyBytes {
		wrong("there is no key")
	}
	if o.Rounds < 1 || o.Rounds > 100 {
		wrong("%d rounds are not 1 to 100", o.Rounds)
	}
	if o.Settle < 0 || o.Calibrate < 0 || o.Calibrate > time.Minute {
		wrong("a rest is not negative, and a part of the calibration takes a minute at most")
	}
	if err := o.Objectives.fit(o.Scenario.Kind); err != nil {
		wrong("%w", err)
	}
	if o.Knee && o.Objectives.Count() == 0 {
		wrong("a knee is the highest load within objectives: it needs some")
	}
	for _, address := range append([]string{o.Sink}, o.Clients...) {
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			wrong("%q is not HOST:PORT of an agent", address)
		}
	}
	for i, address := range o.Clients {
		if slices.Contains(o.Clients[:i], address) {
			wrong("%s is a client twice", address)
		}
	}
	for i, e := range o.Endpoints {
		if slices.ContainsFunc(o.Endpoints[:i], func(have load.Endpoint) bool { return have.Name == e.Name }) {
			wrong("two endpoints are called %s: name=… in their URLs tells them apart", e.Name)
		}
		mistakes = append(mistakes, o.checkPlan(e, i == 0)...)
	}
	if all := lasts(o.Scenario); all > maxLasts {
		wrong("a round lasts %s, where a day is the most", all)
	}
	for i, w := range o.Watch {
		if w.PID < 1 {
			wrong("%d is not the id of a process", w.PID)
		}
		if !slices.ContainsFunc(o.Endpoints, func(e load.Endpoint) bool { return e.Name == w.Endpoint }) {
			wrong("no endpoint is called %s, which process %d is to be behind", w.Endpoint, w.PID)
		}
		if slices.ContainsFunc(o.Watch[:i], func(have Watch) bool { return have.Endpoint == w.Endpoint }) {
			wrong("two processes are behind %s: one can be watched", w.Endpoint)
		}
	}
	return errors.Join(mistakes...)
}

// checkPlan says what is wrong with the plan of an endpoint. What all of them share is
// said of the first alone.
func (o Options) checkPlan(e load.Endpoint, first bool) (mistakes []error) {
	err := o.plan(e, o.Scenario, "service:1").Check()
	all, _ := err.(interface{ Unwrap() []error })
	if all == nil {
		return nil
	}
	for _, mistake := range all.Unwrap() {
		var field *load.FieldError
		own := errors.As(mistake, &field) && strings.HasPrefix(field.Field, "endpoint.")
		if own {
			field.Endpoint = e.Name
		}
		if own || first {
			mistakes = append(mistakes, mistake)
		}
	}
	return mistakes
}

// plan is what one client does, but for its share and its beginning.
func (o Options) plan(e load.Endpoint, s load.Scenario, service string) load.Plan {
	return load.Plan{Scenario: s, Endpoint: e, Service: service, Sources: o.Sources, Of: 1,
		Seed: o.Seed, MaxInFlight: o.MaxInFlight, Patience: o.Patience}
}
