package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/armon/go-socks5"

	"github.com/sallyport/sallyport/bench/exchange"
	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

const testTicket = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// gateway is a SOCKS5 server over TLS, as anybody would write it first.
type gateway struct {
	address string
	ca      []byte
}

func startGateway(t *testing.T) gateway {
	t.Helper()
	server, err := socks5.New(&socks5.Config{
		Credentials: socks5.StaticCredentials{"bench": testTicket},
		Logger:      log.New(io.Discard, "", 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	identity := gatewayIdentity(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{identity}})
	if err != nil {
		t.Fatal(err)
	}
	var tunnels sync.WaitGroup
	tunnels.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tunnels.Go(func() {
				defer conn.Close()
				_ = server.ServeConn(conn)
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); tunnels.Wait() })
	return gateway{listener.Addr().String(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: identity.Certificate[0]})}
}

// gatewayIdentity is a certificate that clients verify.
func gatewayIdentity(t *testing.T) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"gateway.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// startSink is an agent with a service on loopback.
func startSink(t *testing.T, key Key) (address string, stop func()) {
	t.Helper()
	return startSinkWith(t, key, nil)
}

func startSinkWith(t *testing.T, key Key, service *exchange.Service) (address string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	listeners := make([]net.Listener, 2)
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
	}
	served := make(chan error, 1)
	go func() {
		served <- (&Agent{Key: key, Version: "test", Service: service}).Serve(ctx, listeners[0], listeners[1])
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return listeners[0].Addr().String(), stop
}

func socksEndpoint(name string, g gateway) load.Endpoint {
	return load.Endpoint{Name: name, Way: "socks", Address: g.address, ServerName: "gateway.test", CA: g.ca, User: "bench", Tickets: []string{testTicket}}
}

// short is a run that takes a few seconds.
func short(t *testing.T, key Key, sink string, endpoints ...load.Endpoint) Options {
	t.Helper()
	scenario := load.Default(load.Setup)
	scenario.Rate, scenario.Ramp, scenario.Sustain, scenario.Down = 40, 200*time.Millisecond, time.Second, 0
	return Options{
		Scenario: scenario, Endpoints: endpoints, Sink: sink, Key: key, Version: "test", AllowLoopback: true,
		Rounds: 1, Settle: time.Millisecond, Calibrate: 50 * time.Millisecond, Seed: 1, Patience: 5 * time.Second,
	}
}

func TestWholeRun(t *testing.T) {
	t.Parallel()
	key := newKey()
	sink, _ := startSink(t, key)
	g := startGateway(t)
	o := short(t, key, sink, socksEndpoint("ours", g), socksEndpoint("theirs", g))
	o.Watch = []Watch{{PID: os.Getpid()}}
	o.Scenario.Sustain = 500 * time.Millisecond
	o.Scenario.Rate = 40
	var err error
	if o.Objectives, err = parseObjectives([]byte("latency: {p50: 4s}\noperations: {setup: {max: 1ns}}\nfailures: 0%\n")); err != nil {
		t.Fatal(err)
	}
	var steps []string
	var mu sync.Mutex
	r, err := Run(t.Context(), o, func(s Step) {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(steps, s.Text) {
			steps = append(steps, s.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	checkWhole(t, r)
	if last := steps[len(steps)-1]; last != "round 1 of 1 through theirs" {
		t.Errorf("the last step is %q of %q", last, steps)
	}
	checkWritten(t, r)
}

// checkWhole looks whether the report holds what the run must have seen.
func checkWhole(t *testing.T, r *report.Report) {
	t.Helper()
	if len(r.Rounds) != 2 || r.Rounds[0].Endpoint == r.Rounds[1].Endpoint {
		t.Fatalf("%d rounds", len(r.Rounds))
	}
	var asks uint64
	for _, round := range r.Rounds {
		if round.Result.Scheduled != 20 || round.Result.Done != 20 || round.Load != 40 {
			t.Errorf("%s: %d of %d done at %v", round.Endpoint, round.Result.Done, round.Result.Scheduled, round.Load)
		}
		asks += round.Service.Asks
		if round.Limit.Resource == "" {
			t.Errorf("%s: nothing is said of its limit", round.Endpoint)
		}
	}
	// Accounts are taken while exchanges go on, so some are on the far side of either.
	if asks == 0 || asks > 50 {
		t.Errorf("the service says %d asks", asks)
	}
	met := make(map[string]bool)
	for _, v := range r.Verdicts {
		if v.Endpoint == "ours" {
			met[v.Objective] = v.Met
		}
	}
	if want := map[string]bool{"exchange p50 (p50 ≤ 4s)": true, "setup p50 (p50 ≤ 4s)": true, "setup max ≤ 1ns": false, "failed ≤ 0 %": true}; !equal(met, want) {
		t.Errorf("verdicts %v, want %v", met, want)
	}
	if !slices.ContainsFunc(r.Marks, func(m string) bool { return strings.HasPrefix(m, "loopback") }) {
		t.Errorf("no mark says loopback: %q", r.Marks)
	}
	for _, name := range []string{"setup p90", "done"} {
		if !slices.ContainsFunc(r.Figures, func(f report.Figure) bool { return f.Name == name && f.Endpoint == "ours" && f.Median > 0 }) {
			t.Errorf("there is no figure %q", name)
		}
	}
	if len(r.Calibration) < 3 || len(r.Hosts) != 2 || len(r.Limits) != 2 || len(r.Hosts[0].Samples) == 0 {
		t.Errorf("%d calibrations, %d hosts, %d limits", len(r.Calibration), len(r.Hosts), len(r.Limits))
	}
	if !slices.ContainsFunc(r.Ratios, func(x report.Ratio) bool { return x.Name == "setup p90" && x.Of == "theirs" && x.Pairs == 1 }) {
		t.Errorf("ratios: %+v", r.Ratios)
	}
}

// checkWritten looks whether the record can be read again and holds no ticket.
func checkWritten(t *testing.T, r *report.Report) {
	t.Helper()
	var record bytes.Buffer
	if err := r.WriteJSON(&record); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(record.String(), testTicket) {
		t.Error("the record holds a ticket")
	}
	if _, err := report.Read(&record); err != nil {
		t.Error(err)
	}
}

func equal(a, b map[string]bool) bool {
	for k, v := range b {
		if got, has := a[k]; !has || got != v {
			return false
		}
	}
	return len(a) == len(b)
}

// Interrupted in a round, a run says what there was; without its sink, who went.
func TestRunsThatEndEarly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(cancel func(), stopSink func())
		want func(error) bool
		mark string
	}{
		"interrupted": {func(cancel, _ func()) { cancel() }, interrupted, "partial: it was interrupted"},
		"sink gone": {func(_, stopSink func()) { stopSink() }, func(err error) bool {
			var gone *goneError
			return errors.As(err, &gone) && gone.role == "sink"
		}, "partial: the sink at 127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := newKey()
			sink, stopSink := startSink(t, key)
			o := short(t, key, sink, socksEndpoint("ours", startGateway(t)))
			o.Scenario.Sustain = time.Minute
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			end := sync.OnceFunc(func() { go c.end(cancel, stopSink) })
			began := time.Now()
			r, err := Run(ctx, o, func(s Step) {
				if strings.HasPrefix(s.Text, "round") && s.Second.Done > 0 {
					end()
				}
			})
			if !c.want(err) {
				t.Fatalf("the error is %v", err)
			}
			if took := time.Since(began); took > long {
				t.Errorf("it took %v to end", took)
			}
			if r == nil || len(r.Rounds) != 1 || r.Rounds[0].Result.Done == 0 {
				t.Fatal("nothing is left of the round")
			}
			if !slices.ContainsFunc(r.Marks, func(m string) bool { return strings.HasPrefix(m, c.mark) }) {
				t.Errorf("marks %q", r.Marks)
			}
			if len(r.Figures) > 0 {
				t.Errorf("half a round makes figures: %v", r.Figures)
			}
		})
	}
}

// Two idle devices carry no terabit, nor does one: there is no load to halve, and no rounds follow.
func TestKneeThatIsNowhere(t *testing.T) {
	t.Parallel()
	key := newKey()
	sink, _ := startSink(t, key)
	o := short(t, key, sink, socksEndpoint("ours", startGateway(t)))
	o.Scenario = load.Default(load.Idle)
	o.Scenario.Devices, o.Scenario.Ramp, o.Scenario.Sustain, o.Scenario.Down = 2, 200*time.Millisecond, 500*time.Millisecond, 0
	o.Knee = true
	var err error
	if o.Objectives, err = parseObjectives([]byte("throughput: 1000 Gbit/s")); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var steps []Step
	r, err := Run(t.Context(), o, func(s Step) {
		mu.Lock()
		defer mu.Unlock()
		steps = append(steps, s)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Knees) != 1 || r.Knees[0].Load != 0 || r.Knees[0].Unit != "devices" {
		t.Fatalf("%+v", r.Knees)
	}
	tries := r.Knees[0].Tries
	// Each load is tried twice; on a busy machine one may be void, which ends the search.
	if n := len(tries); n != 4 && (n > 3 || !strings.HasPrefix(tries[n-1].Reason, "void")) || tries[0].Met {
		t.Errorf("%+v", tries)
	}
	checkSteps(t, steps, len(tries))
	if len(r.Rounds) != 0 || !slices.ContainsFunc(r.Marks, func(m string) bool { return strings.HasPrefix(m, "no rounds") }) {
		t.Errorf("%d rounds, marks %q", len(r.Rounds), r.Marks)
	}
}

// checkSteps looks whether what was told of a run with a knee was true: so many tries
// are told of, and what was done is never more than all.
func checkSteps(t *testing.T, steps []Step, tries int) {
	t.Helper()
	tried := make(map[string]bool)
	for _, s := range steps {
		if s.Done > s.Of && s.Of > 0 {
			t.Errorf("%q: %v of %v are done", s.Text, s.Done, s.Of)
		}
		if strings.HasPrefix(s.Text, "knee of ours, try ") {
			tried[s.Text] = true
		}
	}
	if len(tried) != tries {
		t.Errorf("%d tries are told of: %v", len(tried), tried)
	}
}

func TestLoopbackIsRefused(t *testing.T) {
	t.Parallel()
	key := newKey()
	sink, _ := startSink(t, key)
	o := short(t, key, sink, socksEndpoint("ours", startGateway(t)))
	o.AllowLoopback = false
	r, err := Run(t.Context(), o, nil)
	var loopback *LoopbackError
	if !errors.As(err, &loopback) || r != nil || !strings.Contains(err.Error(), "--allow-loopback") {
		t.Errorf("%v", err)
	}
}

// A client on another host may go away, too.
func TestClientGone(t *testing.T) {
	t.Parallel()
	key := newKey()
	sink, _ := startSink(t, key)
	first, _ := startSink(t, key)
	second, stopSecond := startSink(t, key)
	o := short(t, key, sink, socksEndpoint("ours", startGateway(t)))
	o.Scenario.Sustain = time.Minute
	o.Clients = []string{first, second}
	end := sync.OnceFunc(func() { go stopSecond() })
	r, err := Run(t.Context(), o, func(s Step) {
		if strings.HasPrefix(s.Text, "round") && s.Second.Done > 0 {
			end()
		}
	})
	var gone *goneError
	if !errors.As(err, &gone) || gone.role != "client 2" {
		t.Fatalf("%v", err)
	}
	if r == nil || len(r.Rounds) != 1 || r.Rounds[0].Result.Done == 0 {
		t.Error("nothing is left of what the first client did")
	}
}
