package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The exit codes.
const (
	exitMet     = 0 // every goal that was measured
	exitShort   = 1 // of a goal
	exitUsage   = 2
	exitRuntime = 3
)

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p, err := parsePlan(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitMet
	case err != nil:
		return exitUsage
	}
	if p.role != "" {
		if err := runRole(p.role, stdin, stdout); err != nil {
			fmt.Fprintf(stderr, "hotpath %s: %v\n", p.role, err)
			return exitRuntime
		}
		return exitMet
	}
	if p.naive.asked() {
		if err := p.naive.serve(ctx, stdout); err != nil {
			fmt.Fprintf(stderr, "hotpath: %v\n", err)
			return exitRuntime
		}
		return exitMet
	}
	file, err := p.openOutputs()
	if err != nil {
		fmt.Fprintf(stderr, "hotpath: %v\n", err)
		return exitUsage
	}
	r, err := measure(ctx, p, newProgress(stderr))
	if err == nil {
		err = r.print(stdout)
	}
	if file != nil {
		if err == nil {
			err = r.encode(file)
		}
		err = errors.Join(err, file.Close())
	}
	if err == nil && p.save != "" {
		var name string
		if name, err = r.saveBaseline(p.save); err == nil {
			fmt.Fprintf(stdout, "\nsaved as the baseline of this machine: %s\n", filepath.Join(p.save, name))
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "hotpath: %v\n", err)
		return exitRuntime
	}
	if r.short() > 0 {
		return exitShort
	}
	return exitMet
}

// bench is one run.
type bench struct {
	plan      plan
	scratch   string // folder, 0700
	sallyport string // binary
	identity  identity
	gateways  []string // the naive one first
	results   results
	progress  func(format string, args ...any)
}

// measure does what the plan says. Whatever it started has ended, and whatever
// it wrote is gone, when it returns.
func measure(ctx context.Context, p plan, progress func(string, ...any)) (r report, err error) {
	found := lookAround(time.Now())
	b := &bench{plan: p, progress: progress}
	if b.scratch, err = os.MkdirTemp("", "hotpath-"); err != nil { // 0700
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.scratch)) }()
	if b.identity, err = newIdentity(b.scratch); err != nil {
		return r, err
	}
	if err := b.findBinary(ctx); err != nil {
		return r, err
	}
	if found.Sallyport, err = describe(ctx, b.sallyport); err != nil {
		return r, err
	}
	if err := b.findLayers(ctx); err != nil {
		return r, err
	}
	for name, do := range b.parts() {
		if !slices.Contains(p.Only, name) {
			continue
		}
		if err := do(ctx); err != nil {
			return r, fmt.Errorf("%s: %w", name, err)
		}
	}
	b.hidden()
	found.lookBack()
	var judged []goal
	if !p.Quick {
		judged = goals(p.After)
	}
	r = newReport(&b.results, judged)
	r.Machine, r.Plan = found, p
	before, err := findBaseline(p, found)
	r.Against = r.compare(before)
	if err != nil {
		r.Against = &comparison{Why: err.Error() + "; -save-baseline writes it anew"}
	}
	r.Warnings = append(r.Warnings, found.warnings()...)
	if p.Quick {
		r.Warnings = append(r.Warnings, "-quick: too little was measured to mean anything")
	}
	return r, nil
}

// parts are what can be measured, in order.
func (b *bench) parts() func(yield func(string, func(context.Context) error) bool) {
	return func(yield func(string, func(context.Context) error) bool) {
		_ = yield("relay", b.relay) && yield("idle", b.idle) && yield("setup", b.setup) &&
			yield("latency", b.latency) && yield("carriers", b.carriers)
	}
}

// findBaseline gives the one of this machine, or nil.
func findBaseline(p plan, found machine) (*baseline, error) {
	folder, err := fs.Sub(committed, "baselines")
	if err != nil {
		return nil, err
	}
	if p.baselines != "" {
		folder = os.DirFS(p.baselines)
	}
	return loadBaseline(folder, found.fingerprint())
}

// openOutputs opens what is to be written, nil if nothing is, before anything is
// measured: a quarter of an hour later is too late to say that it cannot be. The folder
// comes first, so that no mistake in it empties a file of figures.
func (p plan) openOutputs() (file *os.File, err error) {
	if p.save != "" {
		if err := canSave(p.save); err != nil {
			return nil, err
		}
	}
	if p.json != "" {
		return os.Create(p.json)
	}
	return nil, nil
}

// canSave looks whether a file can be made in a folder.
func canSave(folder string) error {
	f, err := os.CreateTemp(folder, ".baseline-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// findBinary takes the binary that was given, or builds one as make build does.
func (b *bench) findBinary(ctx context.Context) (err error) {
	if b.plan.sallyport != "" {
		b.sallyport, err = filepath.Abs(b.plan.sallyport) // it will run in other folders
		return err
	}
	b.progress("building sallyport")
	b.sallyport = filepath.Join(b.scratch, "sallyport")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w -X main.version=built-here",
		"-o", b.sallyport, "github.com/sallyport/sallyport/cmd/sallyport")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
	cmd.SysProcAttr = ownGroup()
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, said)
	}
	return nil
}

// findLayers asks the binary which record layers it has. Without crypto/tls's
// there is nothing to measure; without our own, that much is not measured.
func (b *bench) findLayers(ctx context.Context) error {
	b.gateways = []string{naiveGateway, stdLayer}
	for _, layer := range []string{stdLayer, directLayer} {
		n, err := b.newNode()
		if err != nil {
			return err
		}
		if err := n.configure(layer, 443, b.identity); err != nil {
			return err
		}
		err = n.check(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case layer == stdLayer && err != nil:
			return err
		case layer == stdLayer:
		case err != nil:
			b.results.miss("gateway "+layer, "not built: "+err.Error())
		default:
			b.gateways = append(b.gateways, layer)
		}
	}
	return nil
}

// hidden names what cannot be seen from outside a process.
func (b *bench) hidden() {
	b.results.missing = append(b.results.missing,
		missing{"allocations per relayed buffer", "cannot be seen from outside; go test -run AllocatesNoBuffer ./tunnel holds it", true},
		missing{"processor time of a full garbage collection at 50,000 tunnels",
			"cannot be seen from outside; make bench BENCH=FullGC COUNT=6 shows it", true})
}

// newProgress tells whoever watches a terminal what is going on, in one line
// that the next overwrites.
func newProgress(stderr io.Writer) func(string, ...any) {
	f, is := stderr.(*os.File)
	if !is {
		return func(string, ...any) {}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) {
		fmt.Fprintf(f, "\r\x1b[K"+format+"\r", args...)
	}
}
