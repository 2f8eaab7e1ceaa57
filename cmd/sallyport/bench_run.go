package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/bench"
	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
	benchreport "github.com/sallyport/sallyport/bench/report"
)

// What a run leaves in its folder.
const (
	recordName = "report.json"
	pageName   = "report.html"
)

type benchRunFlags struct {
	to                      string
	compare, watch, sources []string
	keyFile, slo, out       string
	cpus                    string
	gatewayPID              int
	asJSON                  bool
	scenario                scenarioFlags
	options                 bench.Options
}

func newBenchRun() *cobra.Command {
	var flags benchRunFlags
	cmd := &cobra.Command{
		Use:   "run SCENARIO --to URL --sink HOST:PORT --key-file FILE",
		Short: "Make load through a gateway, and say what it held and what was the limit",
		Long: `Make load through a gateway, and say what it held and what was the limit.

The scenarios, from the smallest question to the largest:

  setup        new tunnels at a rate            idle         tunnels that do nothing
  requests     exchanges over held tunnels      bulk         as many bytes as go through
  push         long polls of Direct Push        storm        devices woken together
  morning      everybody comes online           revoke       tunnels cut by a command
  extender     a Cloud Extender's streams       attachments  large bodies at a rate
  day          a mix of all

An endpoint is a URL. The files that it names are read here, and tickets travel to
other clients over the control connection only:

  socks5+tls://HOST:PORT?tickets=FILE&ca=FILE&name=NAME
  https://HOST:PORT     HTTP CONNECT over TLS
  tls://HOST:PORT       TLS that ends there and is forwarded
  tcp://HOST:PORT       no gateway

and may have server_name, user, alpn, curve (X25519, P-256, X25519MLKEM768), resume=1
and tls12=1. A file of tickets has one a line and is readable by its owner only.

Latency counts from the moment something was scheduled for. A run is void, and says
so, when the generator, the sink or their network devices were the limit. Objectives
(--slo) are a file such as

  latency: {p99: 2s}
  operations: {wake: {p99: 8s}}
  within_10s: 99.9%
  failures: 0.1%
  throughput: 900 Mbit/s
  gateway_rss_per_tunnel: 40 KiB
  gateway_cpu: 6

The exit code is 1 if one is missed, if an endpoint served nothing in a round, or if
the run is void; 3 if it could not be done.
Ctrl-C ends it with what there is.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends it at once
			options, err := flags.gather(cmd, args[0])
			if err != nil {
				return usage(err)
			}
			return flags.run(ctx, cmd, options)
		},
	}
	flags.add(cmd)
	return cmd
}

func (f *benchRunFlags) add(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringVar(&f.to, "to", "", "the endpoint's `URL` (required)")
	s.StringArrayVar(&f.compare, "compare", nil, "another endpoint's `URL`, which takes turns with the first; may be repeated")
	s.StringVar(&f.options.Sink, "sink", "", "the sink's `HOST:PORT` (required)")
	s.StringVar(&f.keyFile, "key-file", "", "`FILE` with the key that the hosts share (required)")
	s.StringVar(&f.options.Service, "service", "", "`HOST:PORT` of the sink's service as endpoints know it (default: as the sink says)")
	s.StringArrayVar(&f.options.Clients, "client", nil, "`HOST:PORT` of an agent that makes a part of the load; may be repeated (default: this host makes it)")
	s.StringSliceVar(&f.sources, "source", nil, "dial from these local `ADDRESSES`, in turn")
	s.IntVar(&f.options.Rounds, "rounds", 5, "how often each endpoint has its turn")
	s.DurationVar(&f.options.Settle, "settle", 0, "the rest before each round (default 2s)")
	s.DurationVar(&f.options.Calibrate, "calibrate", 0, "how long each of the three parts of the calibration takes (default 3s)")
	s.StringVar(&f.slo, "slo", "", "`FILE` of objectives to judge by")
	s.BoolVar(&f.options.Knee, "knee", false, "look for the highest load within the objectives first, and run the rounds there")
	s.IntVar(&f.gatewayPID, "gateway-pid", 0, "watch this process of a gateway on this host, behind the first endpoint")
	s.StringArrayVar(&f.watch, "watch", nil, "watch a gateway's process on an agent's host, `HOST:PORT,pid=N[,endpoint=NAME]`; may be repeated")
	s.StringVar(&f.out, "out", "", "the `DIR` for report.json and report.html (default: a new one, bench-TIME)")
	s.BoolVar(&f.asJSON, "json", false, "print the report as JSON")
	s.BoolVar(&f.options.AllowLoopback, "allow-loopback", false, "run even if the traffic does not leave this host, and mark the report")
	s.StringVar(&f.cpus, "cpus", "", "make load on these cores only, a `LIST` such as 2-5,8 (Linux)")
	s.Uint64Var(&f.options.Seed, "seed", 1, "makes sizes and moments the same on every run")
	s.IntVar(&f.options.MaxInFlight, "max-in-flight", 0, "operations under way at each client, at most (default 20000)")
	s.DurationVar(&f.options.Patience, "patience", 0, "after how long an operation has failed (default 1m)")
	f.scenario.add(cmd)
	for _, name := range []string{"to", "sink", "key-file"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // only for a flag that is not there
		}
	}
}

// gather makes options of flags and of the files that they name.
func (f *benchRunFlags) gather(cmd *cobra.Command, kind string) (bench.Options, error) {
	o := f.options
	var err error
	if o.Scenario, err = f.scenario.scenario(kind, cmd.Flags().Changed); err != nil {
		return o, err
	}
	if kind == "revoke" && len(o.Scenario.Trigger) == 0 {
		return o, errors.New("--trigger: revoke needs the COMMAND that revokes")
	}
	for i, text := range append([]string{f.to}, f.compare...) {
		e, err := bench.ParseEndpoint(text)
		if err != nil {
			flag := "--to"
			if i > 0 {
				flag = "--compare"
			}
			return o, fmt.Errorf("%s: %w", flag, err)
		}
		o.Endpoints = append(o.Endpoints, e)
	}
	if o.Key, err = bench.ReadKey(f.keyFile); err != nil {
		err = fmt.Errorf("--key-file: %w", err)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; sallyport bench sink makes one", err)
		}
		return o, err
	}
	for _, text := range f.sources {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return o, fmt.Errorf("--source: %w", err)
		}
		// With --client they are addresses of the clients, which only these can try.
		if len(o.Clients) == 0 {
			if err := ownAddress(cmd.Context(), a); err != nil {
				return o, fmt.Errorf("--source: %w", err)
			}
		}
		o.Sources = append(o.Sources, a)
	}
	if f.gatewayPID != 0 {
		if !evidence.Lives(f.gatewayPID) {
			return o, fmt.Errorf("--gateway-pid: there is no process %d on this host", f.gatewayPID)
		}
		o.Watch = append(o.Watch, bench.Watch{PID: f.gatewayPID})
	}
	for _, text := range f.watch {
		w, err := parseWatch(text)
		if err != nil {
			return o, err
		}
		o.Watch = append(o.Watch, w)
	}
	if f.slo != "" {
		if o.Objectives, err = bench.ReadObjectivesFile(f.slo); err != nil {
			return o, fmt.Errorf("--slo: %w", err)
		}
	}
	o.Version, o.Commit = built()
	o.Command = typed(os.Args)
	return o, inFlags(o.Check())
}

// inFlags calls the fields of a plan by the flags, or the parts of a URL, that set them.
func inFlags(err error) error {
	if several, is := err.(interface{ Unwrap() []error }); is {
		var all []error
		for _, each := range several.Unwrap() {
			all = append(all, inFlags(each))
		}
		return errors.Join(all...)
	}
	var wrong *load.FieldError
	if !errors.As(err, &wrong) {
		return err
	}
	area, name, _ := strings.Cut(wrong.Field, ".")
	switch {
	case wrong.Field == "scenario.kind":
		area = "SCENARIO"
	case area == "endpoint":
		area = wrong.Endpoint + ": " + name
	case strings.HasPrefix(area, "sources"):
		area = "--source"
	default:
		area = "--" + strings.ReplaceAll(cmp.Or(name, area), "_", "-")
	}
	return fmt.Errorf("%s: %s", area, wrong.Says)
}

// ownAddress is an error if nobody can dial from an address on this host.
func ownAddress(ctx context.Context, a netip.Addr) error {
	var bind net.ListenConfig
	l, err := bind.Listen(ctx, "tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		return fmt.Errorf("%s is no address to dial from on this host: %w", a, err)
	}
	return l.Close()
}

// typed is a command line but for what a trigger was told: a command may carry a
// password.
func typed(args []string) []string {
	line := slices.Clone(args)
	for i, arg := range line {
		if flag, _, is := strings.Cut(arg, "="); is && flag == "--trigger" {
			line[i] = "--trigger=[secret]"
		} else if arg == "--trigger" && i+1 < len(line) {
			line[i+1] = "[secret]"
		}
	}
	return line
}

func parseWatch(text string) (bench.Watch, error) {
	parts := strings.Split(text, ",")
	w := bench.Watch{Address: parts[0]}
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		var err error
		switch key {
		case "pid":
			w.PID, err = strconv.Atoi(value)
		case "endpoint":
			w.Endpoint = value
		default:
			err = errors.New("unknown key")
		}
		if err != nil {
			return w, fmt.Errorf("--watch: %q is not HOST:PORT,pid=N", text)
		}
	}
	if w.Address == "" || w.PID == 0 {
		return w, fmt.Errorf("--watch: %q is not HOST:PORT,pid=N", text)
	}
	return w, nil
}

// run does it, writes the files and prints what came of it.
func (f *benchRunFlags) run(ctx context.Context, cmd *cobra.Command, o bench.Options) error {
	if err := pinTo(f.cpus); err != nil {
		return usage(err)
	}
	// The place for the report is made before the run: an hour's figures are not to be
	// lost for want of it.
	dir, err := f.folder()
	if err != nil {
		return usage(err)
	}
	shown, end := newBenchProgress(cmd.ErrOrStderr())
	made, failed := bench.Run(ctx, o, shown)
	end()
	if made == nil {
		if f.out == "" {
			_ = os.Remove(dir) // it is empty
		}
		var loopback *bench.LoopbackError
		if errors.As(failed, &loopback) {
			return usage(failed)
		}
		return failed
	}
	if err := writeReport(dir, made); err != nil {
		return errors.Join(failed, err)
	}
	stdout := cmd.OutOrStdout()
	if f.asJSON {
		err = made.WriteJSON(stdout)
	} else {
		err = made.WriteSummary(stdout, 0, isTerminal(stdout))
		fmt.Fprintf(cmd.ErrOrStderr(), "the report is %s\n", filepath.Join(dir, pageName))
	}
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	return verdictOf(made)
}

// folder makes the one for the report, which must have none yet. One that has a name of
// our making must be new: somebody else may have made it.
func (f *benchRunFlags) folder() (string, error) {
	if f.out == "" {
		dir := "bench-" + time.Now().UTC().Format("20060102T150405Z")
		return dir, os.Mkdir(dir, 0o700)
	}
	if err := os.MkdirAll(f.out, 0o700); err != nil {
		return "", err
	}
	for _, name := range []string{recordName, pageName} {
		if _, err := os.Lstat(filepath.Join(f.out, name)); err == nil {
			return "", fmt.Errorf("%s holds a report already", f.out)
		}
	}
	return f.out, nil
}

// verdictOf is the exit code: there are figures, they count, every objective is met, and
// something was served in every round.
func verdictOf(r *benchreport.Report) error {
	if len(r.Void) > 0 || len(r.Rounds) == 0 {
		return no(errSaid)
	}
	for _, v := range r.Verdicts {
		if !v.Met {
			return no(errSaid)
		}
	}
	for _, round := range r.Rounds {
		if servedNothing(round.Result) {
			return no(errSaid)
		}
	}
	return nil
}

// servedNothing is whether all that was tried has failed.
func servedNothing(r load.Result) bool {
	return r.Done == 0 && r.Held == 0 && (r.Failed > 0 || len(r.Outside) > 0)
}

func writeReport(dir string, r *benchreport.Report) error {
	return errors.Join(
		writeFile(filepath.Join(dir, recordName), os.O_EXCL, r.WriteJSON),
		writeFile(filepath.Join(dir, pageName), os.O_EXCL, r.WritePage),
	)
}

// writeFile writes a file whole: a new one and behind no link (os.O_EXCL), or over what
// is there (os.O_TRUNC).
func writeFile(path string, how int, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|how|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
