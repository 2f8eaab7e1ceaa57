package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
)

// TestChurn sends a crowd of devices at one sallyport, authority and gateway in
// one process, by every record layer: hundreds of tunnels that say little, and at
// the same time others that come and go in every way, carry much, are revoked, or
// are held by clients that mean no good. Every byte is checked. When all have gone
// the process must be as it was before: what a tunnel leaves behind is what a
// gateway dies of in its third week.
//
// TestSoakTunnels, which make soak runs, is the same for longer. SALLYPORT_SEED=N
// has everybody choose as in the run that printed it.
func TestChurn(t *testing.T) {
	for _, by := range []struct {
		layer string
		idle  int
	}{{"std", 300}, {"direct", 300}, {"auto", 30}} {
		t.Run(by.layer, func(t *testing.T) {
			c := gather(t, by.layer)
			c.cycle(bustle{
				idle: by.idle, churn: 40, transfers: 6, largest: 4 * mib, revocations: 3, hostile: 2 * len(hostilities),
			})
			c.disperse()
		})
	}
}

// bustle is what a cycle has of everything.
type bustle struct {
	idle        int   // tunnels that stay through the cycle
	churn       int   // tunnels that come and go
	transfers   int   // uploads and downloads
	largest     int64 // of these, in bytes; two have this size
	revocations int   // users who are revoked
	hostile     int   // clients that behave badly
	settle      bool  // waits at the end until the gateway's memory has settled
}

// What one cycle does at a time.
const (
	openers       = 8 // each tunnel has 10 s for its set-up, on whatever machine this is
	churners      = 4
	carriers      = 3
	hostiles      = 3
	idleBytes     = 600 // what an idle tunnel says, and hears, now and then
	threadsAtMost = 64  // of the gateway, however many tunnels there are
)

// crowd is what one gateway has to bear, and the gateway.
type crowd struct {
	t      *testing.T
	dir    string
	seed   uint64
	serve  *process
	addr   string
	far    *farEnd
	api    *api.Client
	tls    []*tls.Config // that devices shake hands by
	base   footprint     // of the process before any device came
	cycles []figures

	tunnels atomic.Uint64 // the last one's number

	mu      sync.Mutex // guards the rest
	groups  map[string]*group
	stalled []*strand // tunnels of clients that do nothing more
}

const crowdConfig = `
node: gw-1
sta:
  id: STA01
  listen: %s
  clients: [{name: enrolment, key_file: enrolment.key, may: [issue, revoke]}]
gateway:
  fqdn: %s
  listen: %s
  record_layer: %s
  authorities: [local]
  policy: {background_services: "%s:%d"}
splitdns:
  hosts: {%[5]s: [127.0.0.1]}
certs: {mode: dev}
`

// gather starts a gateway, what is behind it, and whatever devices need.
func gather(t *testing.T, layer string) *crowd {
	t.Helper()
	c := &crowd{t: t, dir: t.TempDir(), seed: seedOf(t), far: startFarEnd(t), groups: make(map[string]*group)}
	free := newPorts()
	door, err := free.free()
	c.check(err)
	gate, err := free.free()
	c.check(err)
	c.addr = loopback(strconv.Itoa(gate))
	authority := loopback(strconv.Itoa(door))
	c.write("enrolment.key", newKey()+"\n")
	c.write("sallyport.yaml", fmt.Sprintf(crowdConfig, authority, fqdn, c.addr, layer, echoHost, c.far.port))

	env := os.Environ()
	if os.Getenv("GORACE") == "" {
		env = append(env, "GORACE=atexit_sleep_ms=0")
	}
	c.serve, err = startProcess(c.dir, "serve", env, "sallyport", "serve", "--config", "sallyport.yaml")
	c.check(err)
	t.Cleanup(func() {
		if !c.serve.hasEnded() {
			c.serve.kill()
		}
		if t.Failed() {
			t.Logf("seed %d; the gateway's last words:\n%s", c.seed, tail(c.serve.stderr.String(), 40))
		}
	})
	_, err = c.serve.stderr.await(regexp.MustCompile(`"event":"gateway_ready"`), 1, c.serve.ended)
	c.check(err)
	c.base = c.footprint()
	c.meet(authority)
	return c
}

// meet makes the ways to speak with authority and gateway.
func (c *crowd) meet(authority string) {
	c.t.Helper()
	roots, err := certs.DevRoots(filepath.Join(c.dir, "data", "certs"))
	c.check(err)
	modern := &tls.Config{RootCAs: roots, ServerName: fqdn, MinVersion: tls.VersionTLS13}
	resuming := modern.Clone()
	resuming.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	old := modern.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	c.tls = []*tls.Config{modern, modern, modern, resuming, resuming, resuming, resuming, old}
	keys, err := sta.ReadKeyFile(filepath.Join(c.dir, "enrolment.key"))
	c.check(err)
	c.api, err = api.NewClient(api.ClientConfig{URL: "https://" + authority, Key: keys[0], TLS: modern.Clone()})
	c.check(err)
	c.t.Cleanup(c.api.Close)
}

func (c *crowd) write(name, text string) {
	c.t.Helper()
	c.check(os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600))
}

func (c *crowd) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// seedOf is what everything that is left to chance follows from, but for who
// comes first of those who run at a time.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("SALLYPORT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SALLYPORT_SEED: %v", err)
		}
	}
	t.Logf("SALLYPORT_SEED=%d", seed)
	return seed
}

// dice are those of one of many, in this cycle: they do not depend on what others
// do meanwhile.
func (c *crowd) dice(kind string, i int) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%d %s %d %d", c.seed, kind, len(c.cycles), i))))
}

// cycle lets a crowd come, and go. Then nothing may be left of it.
func (c *crowd) cycle(b bustle) {
	c.t.Helper()
	began := time.Now()
	ctx := c.t.Context()
	before := c.total()
	idle := make([]*strand, b.idle)
	c.check(repeat(ctx, openers, b.idle, func(ctx context.Context, i int) (err error) {
		dice := c.dice("idle", i)
		if idle[i], err = c.open(ctx, c.group("idle"), dice); err != nil {
			return err
		}
		return idle[i].exchange(dice.Uint64(), idleBytes)
	}))
	f := figures{standing: c.footprint()}
	if f.standing.threads > threadsAtMost {
		c.t.Errorf("%d tunnels, most of them idle, have the gateway run %d threads", b.idle, f.standing.threads)
	}

	cuts, err := c.busy(ctx, b, idle)
	c.check(err)
	c.check(repeat(ctx, openers, b.idle, func(_ context.Context, i int) error {
		if err := idle[i].exchange(c.dice("idle's end", i).Uint64(), idleBytes); err != nil {
			return fmt.Errorf("an idle tunnel was not left alone: %w", err)
		}
		return idle[i].finish()
	}))
	f.cuts = cuts
	f.quiet = c.awaitQuiet(b.settle)
	after := c.total()
	f.tunnels, f.bytes, f.took = after.tunnels-before.tunnels, after.bytes-before.bytes, time.Since(began)
	c.cycles = append(c.cycles, f)
	c.t.Logf("cycle %d: %v", len(c.cycles), f)
}

// busy does everything at once, with the idle tunnels saying a word now and then.
// It tells how long each tunnel of a revoked user lived.
func (c *crowd) busy(ctx context.Context, b bustle, idle []*strand) (cuts []time.Duration, err error) {
	done := make(chan struct{})
	murmuring, background := errgroup.WithContext(ctx)
	murmuring.Go(func() error { return c.murmur(background, idle, done) })
	working, ctx := errgroup.WithContext(ctx)
	working.Go(func() error { return repeat(ctx, churners, b.churn, c.comeAndGo) })
	working.Go(func() error { return c.transfer(ctx, b.transfers, b.largest) })
	working.Go(func() error { return repeat(ctx, hostiles, b.hostile, c.misbehave) })
	working.Go(func() error {
		return repeat(ctx, 1, b.revocations, func(ctx context.Context, i int) error {
			took, err := c.revoke(ctx, i)
			cuts = append(cuts, took...)
			return err
		})
	})
	err = working.Wait()
	close(done)
	return cuts, errors.Join(err, murmuring.Wait())
}

// murmur has one idle tunnel after the other say something, until done.
func (c *crowd) murmur(ctx context.Context, idle []*strand, done <-chan struct{}) error {
	const pause = 5 * time.Millisecond
	dice := c.dice("murmur", 0)
	next := time.NewTicker(pause)
	defer next.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-next.C:
		}
		if err := idle[dice.IntN(len(idle))].exchange(dice.Uint64(), idleBytes); err != nil {
			return fmt.Errorf("an idle tunnel: %w", err)
		}
	}
}

// repeat does something n times, so many at a time, until one fails.
func repeat(ctx context.Context, atOnce, n int, do func(context.Context, int) error) error {
	working, ctx := errgroup.WithContext(ctx)
	working.SetLimit(atOnce)
	for i := range n {
		working.Go(func() error {
			if ctx.Err() != nil {
				return nil // whoever failed says why
			}
			return do(ctx, i)
		})
	}
	return working.Wait()
}

// disperse ends the gateway, which has nobody left to wait for, and looks at what
// it has written.
func (c *crowd) disperse() {
	c.t.Helper()
	began := time.Now()
	c.check(c.serve.cmd.Process.Signal(syscall.SIGTERM))
	c.check(c.serve.end(0))
	if took := time.Since(began); took > promptly {
		c.t.Errorf("without tunnels it took %v to stop", took)
	}
	c.checkLog()
	c.checkGrowth()
	c.report()
}

// promptly is enough to stop in, also on a machine that is busy with something
// else. A gateway that waits for a tunnel which is not there any more waits for
// gateway.drain_timeout, an hour.
const promptly = 10 * time.Second
