package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// plan is what to measure, and how much of it.
type plan struct {
	Only        []string      `json:"only"`
	Rounds      int           `json:"rounds"`
	IdleRounds  int           `json:"idle_rounds"`
	Bulk        int64         `json:"bulk"` // bytes
	Tunnels     int           `json:"tunnels"`
	Connections int           `json:"connections"`
	Streams     int           `json:"streams"`
	After       time.Duration `json:"after_ns"`
	Tickets     int           `json:"tickets"`
	Setups      int           `json:"setups"`
	Pings       int           `json:"pings"`
	Parallel    int           `json:"parallel"`
	Quick       bool          `json:"quick"`

	sallyport string // binary; empty means to build one
	json      string // file; empty means none
	baselines string // folder; empty means those that are built in
	save      string // folder to write a baseline to; empty means none
	role      string // what this process is; empty means the coordinator
	naive     naiveServer
}

// parts are what -only chooses among.
func parts() []string { return []string{"relay", "idle", "setup", "latency", "carriers"} }

// errUsage is for a command line that makes no sense. What is wrong with it has
// been said.
var errUsage = errors.New("wrong usage")

func parsePlan(args []string, stderr io.Writer) (plan, error) {
	var p plan
	var only string
	var bulk int64
	f := flag.NewFlagSet("hotpath", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&only, "only", strings.Join(parts(), ","), "what to measure, separated by commas")
	f.IntVar(&p.Rounds, "rounds", 9, "rounds of relay, setup, latency and carriers")
	f.IntVar(&p.IdleRounds, "idle-rounds", 1, "rounds of idle, and of what idles by carrier, each with processes of its own")
	f.Int64Var(&bulk, "bulk", 1024, "relay: MiB a round and direction; carriers move a quarter of it")
	f.IntVar(&p.Tunnels, "tunnels", 9000, "idle: tunnels a gateway, each of which is two files to it")
	f.IntVar(&p.Connections, "connections", 1000, "carriers: connections a gateway, with one tunnel each")
	f.IntVar(&p.Streams, "streams", 9, "carriers: further tunnels on each, where a connection carries many")
	f.DurationVar(&p.After, "after", time.Minute, "idle: when to look again")
	f.IntVar(&p.Tickets, "tickets", 1, "tickets that tunnels share, each of a device of its own")
	f.IntVar(&p.Setups, "setups", 2000, "setup, carriers: tunnels a round")
	f.IntVar(&p.Pings, "pings", 5000, "latency: messages a round")
	f.IntVar(&p.Parallel, "parallel", 32, "idle: tunnels that are set up at a time; tickets that are requested")
	f.BoolVar(&p.Quick, "quick", false, "a smoke test: small numbers, which say nothing; other flags still count")
	f.StringVar(&p.sallyport, "sallyport", "", "the `BINARY` to measure (default: builds one)")
	f.StringVar(&p.json, "json", "", "write the report to this `FILE` as well, as JSON")
	f.StringVar(&p.baselines, "baselines", "", "compare with the baseline of this machine in this `FOLDER` (default: those of the repository, as built)")
	f.StringVar(&p.save, "save-baseline", "", "write the run to this `FOLDER` as the baseline of this machine: a whole run on a quiet machine only")
	f.StringVar(&p.naive.listen, "naive", "", "measure nothing: serve the naive gateway at this `ADDRESS:PORT`, of a test network alone, until a signal ends it")
	f.StringVar(&p.naive.cert, "cert", "", "-naive: its certificate's `FILE`")
	f.StringVar(&p.naive.key, "key", "", "-naive: the `FILE` of the certificate's key")
	f.StringVar(&p.naive.password, "password-file", "", "-naive: the `FILE` of the password that it takes of the user "+naiveUser)
	f.StringVar(&p.role, "role", "", "internal: what a child process is")
	if err := f.Parse(args); err != nil {
		return p, errors.Join(errUsage, err)
	}
	p.Bulk = bulk << 20
	if p.Quick {
		given := make(map[string]bool)
		f.Visit(func(one *flag.Flag) { given[one.Name] = true })
		p.quicken(given)
	}
	p.Only = strings.Split(only, ",")
	err := p.check()
	if f.NArg() > 0 {
		err = fmt.Errorf("%q is no flag", f.Arg(0))
	}
	if err != nil {
		fmt.Fprintf(stderr, "hotpath: %v\n", err)
		return p, errUsage
	}
	return p, nil
}

// quicken makes small what was not given.
func (p *plan) quicken(given map[string]bool) {
	for name, shrink := range map[string]func(){
		"rounds":      func() { p.Rounds = 2 },
		"bulk":        func() { p.Bulk = 32 << 20 },
		"tunnels":     func() { p.Tunnels = 300 },
		"connections": func() { p.Connections = 50 },
		"after":       func() { p.After = time.Second },
		"setups":      func() { p.Setups = 200 },
		"pings":       func() { p.Pings = 500 },
	} {
		if !given[name] {
			shrink()
		}
	}
}

func (p *plan) check() error {
	for _, part := range p.Only {
		if !slices.Contains(parts(), part) {
			return fmt.Errorf("-only has %q, which is none of %s", part, strings.Join(parts(), ", "))
		}
	}
	for name, value := range map[string]int64{
		"rounds": int64(p.Rounds), "idle-rounds": int64(p.IdleRounds), "bulk": p.Bulk, "tunnels": int64(p.Tunnels),
		"tickets": int64(p.Tickets), "setups": int64(p.Setups), "pings": int64(p.Pings), "parallel": int64(p.Parallel),
		"connections": int64(p.Connections), "streams": int64(p.Streams),
	} {
		if value < 1 {
			return fmt.Errorf("-%s must be 1 or more", name)
		}
	}
	if p.After < 0 {
		return errors.New("-after cannot be negative")
	}
	if p.naive.asked() {
		return p.naive.check()
	}
	return errors.Join(p.checkSave(), p.checkDescriptors())
}

// checkDescriptors makes sure that a gateway can hold the tunnels: two files
// each at most, and some for itself.
func (p *plan) checkDescriptors() error {
	const itself = 100
	limit, err := descriptors()
	if err != nil {
		return err
	}
	if most := (limit - itself) / 2; slices.Contains(p.Only, "idle") && p.Tunnels > most {
		return fmt.Errorf("-tunnels must be %d or less: a process may have %d files open here", most, limit)
	}
	// A connection is one file, and each of its tunnels is one to the service.
	if most := (limit - itself) / (p.Streams + 2); slices.Contains(p.Only, "carriers") && p.Connections > most {
		return fmt.Errorf("-connections must be %d or less: a process may have %d files open here", most, limit)
	}
	return nil
}
