package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/bench/load"
	benchreport "github.com/sallyport/sallyport/bench/report"
)

// A link that is held to 1 Gbit/s carries that much through a real gateway, and the
// run finds out what it was that held it. A machine whose processors others use has not
// enough of them left for that, and the run must say so: then a slower link shows it.
func TestBenchFillsLink(t *testing.T) {
	if !alone(t, builtSallyport) {
		return
	}
	w := benchApart(t)
	w.fast()
	w.sink()
	_, endpoint := w.gateway()
	for _, rate := range []float64{1000, 200} {
		if w.fillsLink(endpoint, rate) {
			return
		}
	}
	t.Log("others had so much of this machine that no run counts")
}

// fillsLink is false if the run is void, by what the test can do nothing about.
func (w *benchWorld) fillsLink(endpoint string, rate float64) (counts bool) {
	w.t.Helper()
	// A burst is what comes in 2 ms, and two segments at least.
	w.must(w.inside, "tc", "qdisc", "replace", "dev", "far", "root", "tbf", "rate", fmt.Sprintf("%gmbit", rate),
		"burst", fmt.Sprintf("%gk", max(128, rate/4)), "latency", "20ms")
	p := w.run("bulk", endpoint, "--streams", "4", "--ramp", "1s", "--sustain", "3s")
	r := w.endedEither(p)
	mbit, limit := w.figure(r, "ours", "on the wire, down"), r.Rounds[0].Limit
	w.t.Logf("%.1f of %g Mbit/s, %+v", mbit, rate, limit)
	if mbit > rate {
		w.t.Errorf("%.1f Mbit/s through a link of %g", mbit, rate)
	}
	if len(r.Void) > 0 {
		w.disturbed(p, r)
		return false
	}
	if mbit < 0.9*rate {
		w.t.Errorf("%.1f Mbit/s, where the link carries %g", mbit, rate)
	}
	if limit.Resource != "link" || !strings.Contains(strings.Join(limit.Evidence, " "), "far, tbf") {
		w.t.Errorf("the limit is said to be %+v", limit)
	}
	return true
}

// A generator that shares its core with somebody else measures him.
func TestBenchBusyCore(t *testing.T) {
	if !alone(t) {
		return
	}
	w := benchHere(t)
	w.sink()
	core := someCore(t)
	busy := w.start(nil, "busy", "taskset", "-c", core, "sh", "-c", "ulimit -t 60; while :; do :; done")
	p := w.run("setup", w.direct(), "--cpus", core, "--rate", "50", "--ramp", "200ms", "--sustain", "2s")
	r := w.ended(p, exitNo)
	w.disturbed(p, r)
	if busy.hasEnded() {
		t.Error("the core was not busy")
	}
	says, void := voidBy(r, "generator")
	if !void {
		t.Errorf("not void by the generator: %+v, limits %+v", r.Void, r.Limits)
	}
	t.Log(says)
}

// A rate that one core cannot make is not the endpoint's limit.
func TestBenchRateOutOfReach(t *testing.T) {
	if !alone(t, builtSallyport) {
		return
	}
	w := benchHere(t)
	w.fast() // with the race detector, what is left over takes longer than a round may
	w.sink()
	r := w.ended(w.run("setup", w.direct(), "--cpus", someCore(t), "--rate", "40000", "--max-in-flight", "200000", "--patience", "2s", "--ramp", "0s", "--sustain", "1s"), exitNo)
	says, void := voidBy(r, "generator")
	if !void {
		t.Errorf("not void by the generator: %+v, limits %+v", r.Void, r.Limits)
	}
	t.Log(says)
}

// someCore is one that this process may use.
func someCore(t *testing.T) string {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for core := range maxCore {
		if set.IsSet(core) {
			return strconv.Itoa(core)
		}
	}
	t.Fatal("there is no core")
	return ""
}

// A gateway that stands still for two seconds shows with all operations that were due
// in them. At R a second for T, those due while it stands still for D wait for what is
// left of D: (D-x)/T of all wait longer than x, and the quantile q is D-(1-q)T.
func TestBenchSeesStandstill(t *testing.T) {
	if !alone(t, builtSallyport) {
		return
	}
	const rate, lasts = 100, 6 * time.Second
	w := benchHere(t)
	w.fast()
	w.sink()
	gateway, endpoint := w.gateway()
	run := w.run("requests", endpoint, "--rate", strconv.Itoa(rate), "--devices", "250", "--ramp", "1s", "--sustain", lasts.String())
	w.await(gateway.stderr, gateway, `"event":"tunnel_opened"`) // the ramp has begun
	stopped := standstill(t, gateway.cmd.Process, 1500*time.Millisecond, 2*time.Second)
	r := w.endedEither(run)
	result := r.Rounds[0].Result
	index := slices.IndexFunc(result.Operations, func(o load.Operation) bool { return o.Name == "exchange" })
	if index < 0 || result.Done != uint64(rate*lasts.Seconds()) || result.Failed != 0 {
		t.Fatalf("%d done, %d failed: %v", result.Done, result.Failed, result.Failures)
	}
	latency := result.Operations[index].Latency
	for _, over := range []time.Duration{500 * time.Millisecond, time.Second, 1250 * time.Millisecond} {
		got, want := float64(latency.Above(over))/float64(latency.Count()), (stopped-over).Seconds()/lasts.Seconds()
		if got < 0.9*want || got > 1.1*want {
			t.Errorf("%.2f %% took longer than %v, want %.2f %%", 100*got, over, 100*want)
		}
		t.Logf("longer than %v: %.2f %%, by the schedule %.2f %%", over, 100*got, 100*want)
	}
	got, want := latency.Quantile(.999).Seconds(), (stopped - lasts/1000).Seconds()
	if got < 0.9*want || got > 1.1*want {
		t.Errorf("p99.9 is %.3f s, want %.3f", got, want)
	}
	t.Logf("still for %v: p99.9 %.3f s, by the schedule %.3f s", stopped, got, want)
}

// standstill stops a process, some time from now, and returns for how long it stood
// still.
func standstill(t *testing.T, p *os.Process, after, long time.Duration) time.Duration {
	t.Helper()
	<-time.After(after)
	from := time.Now()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(long)
	if err := p.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	return time.Since(from)
}

// stormDevices is for make test; make soak has more.
const stormDevices = 100

// Our gateway and the one that anybody would write first, in turns.
func TestBenchStormBeside(t *testing.T) {
	if !alone(t, builtSallyport, builtHotpath) {
		return
	}
	stormBeside(t, stormDevices, time.Second)
}

func stormBeside(t *testing.T, devices int, within time.Duration) {
	t.Helper()
	w := benchApart(t)
	w.fast()
	w.sink()
	gateway, ours := w.gateway()
	theirs := w.naive()
	for range 2 {
		run := w.run("storm", ours, "--compare", theirs, "--service", net.JoinHostPort(w.there, "7401"), "--gateway-pid", strconv.Itoa(gateway.cmd.Process.Pid),
			"--devices", strconv.Itoa(devices), "--within", within.String(), "--ramp", within.String(), "--sustain", (within + time.Second).String(), "--rounds", "2")
		r := w.endedEither(run)
		if w.besides(r, uint64(devices)) {
			return
		}
		w.disturbed(run, r)
	}
	t.Log("others had so much of this machine that no round of one gateway counts beside one of the other")
}

// besides holds a storm of two rounds through either gateway against what it must show.
// It is false if there is no pair of rounds: one of each endpoint counts, and they are
// not of the same number. Then half of the rounds are void, and so is the run.
func (w *benchWorld) besides(r *benchreport.Report, devices uint64) (paired bool) {
	w.t.Helper()
	if len(r.Rounds) != 4 || !slices.Equal(r.Endpoints, []string{"ours", "naive"}) {
		w.t.Fatalf("%d rounds of %v", len(r.Rounds), r.Endpoints)
	}
	for _, round := range r.Rounds {
		if round.Result.Failed != 0 || round.Result.Done < devices {
			w.t.Errorf("%s, round %d: %d done, %d failed: %v", round.Endpoint, round.Number, round.Result.Done, round.Result.Failed, round.Result.Failures)
		}
	}
	pairs := pairsOf(r.Rounds, "ours", "naive")
	if pairs == 0 {
		if len(r.Ratios) != 0 {
			w.t.Errorf("no two rounds belong together, and ratios are made: %+v", r.Ratios)
		}
		return false
	}
	whole := 0
	for _, x := range r.Ratios {
		if x.Pairs == pairs && x.Of == "naive" && x.To == "ours" {
			whole++
			w.t.Logf("%s: %s to %s %.2f (%.2f to %.2f)", x.Name, x.Of, x.To, x.Median, x.Low, x.High)
		}
	}
	if whole == 0 {
		w.t.Errorf("no ratio is of %d pairs: %+v", pairs, r.Ratios)
	}
	return true
}

// pairsOf is how many rounds of two endpoints are held against one another: those that
// count of both, and if none of an endpoint's does, all of them.
func pairsOf(rounds []benchreport.Round, one, other string) (pairs int) {
	counted := make(map[string][]int)
	all := make(map[string][]int)
	for _, round := range rounds {
		all[round.Endpoint] = append(all[round.Endpoint], round.Number)
		if len(round.Void) == 0 {
			counted[round.Endpoint] = append(counted[round.Endpoint], round.Number)
		}
	}
	for _, endpoint := range []string{one, other} {
		if len(counted[endpoint]) == 0 {
			counted[endpoint] = all[endpoint]
		}
	}
	for _, number := range counted[one] {
		if slices.Contains(counted[other], number) {
			pairs++
		}
	}
	return pairs
}

// naive starts the gateway that everything is compared with, on the other side, and
// returns its endpoint.
func (w *benchWorld) naive() (endpoint string) {
	w.t.Helper()
	w.write("naive.pw", newKey()[:32]+"\n")
	p := w.start(w.inside, "naive", builtHotpath.name, "-naive", net.JoinHostPort(w.there, "8444"), "-cert", "cert.pem", "-key", "key.pem", "-password-file", "naive.pw")
	at := w.await(p.stdout, p, `naive  (\S+)`)
	return fmt.Sprintf("socks5+tls://%s?server_name=%s&ca=%s&tickets=%s&user=device&name=naive", at, fqdn, filepath.Join(w.dir, "cert.pem"), filepath.Join(w.dir, "naive.pw"))
}

// A link that goes away in the middle takes the control connection with it: the run
// says who was lost, keeps what there is and marks it.
func TestBenchLinkGone(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	w := benchApart(t)
	sink := w.sink()
	gateway, endpoint := w.gateway()
	p := w.run("setup", endpoint, "--rate", "50", "--ramp", "0s", "--sustain", "1m", "--patience", "2s")
	w.inRound(gateway)
	w.must(nil, "ip", "link", "del", "near")
	r := w.ended(p, exitRuntime)
	if said := p.stderr.String(); !strings.Contains(said, "the sink at "+farAddr+":7400 went away") {
		t.Errorf("it says %s", said)
	}
	if !slices.ContainsFunc(r.Marks, func(m string) bool { return strings.HasPrefix(m, "partial: the sink at") }) || len(r.Figures) != 0 {
		t.Errorf("marks %q, %d figures", r.Marks, len(r.Figures))
	}
	w.nothingLeft(sink)
}

// Ctrl-C ends a run at once, with a report of what there is.
func TestBenchInterrupted(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	w := benchApart(t)
	sink := w.sink()
	gateway, endpoint := w.gateway()
	p := w.run("setup", endpoint, "--rate", "50", "--ramp", "0s", "--sustain", "1m")
	w.inRound(gateway)
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	r := w.ended(p, exitRuntime)
	if !slices.Contains(r.Marks, "partial: it was interrupted, after 0 of 1 rounds") {
		t.Errorf("marks %q", r.Marks)
	}
	w.nothingLeft(sink)
}

// An endpoint where nobody listens: everything fails, and that is said to be the limit.
func TestBenchNobodyThere(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	w := benchApart(t)
	w.sink()
	p := w.run("setup", "tls://"+farAddr+":9?name=nobody", "--rate", "50", "--ramp", "0s", "--sustain", "1s")
	r := w.ended(p, exitNo)
	if len(r.Rounds) != 1 || r.Rounds[0].Result.Done != 0 || r.Rounds[0].Result.Failures["refused"] != 50 {
		t.Fatalf("rounds %+v", r.Rounds)
	}
	if says, void := voidBy(r, "sink"); void {
		t.Errorf("the sink, which nobody asked, is to blame: %s", says)
	}
	// On a busy machine the generator was late as well, and is not what to mend.
	if limit := r.Rounds[0].Limit; limit.Resource != "gateway refuses" || !strings.Contains(p.stdout.String(), "Nothing was served: every operation failed at the endpoint.") {
		t.Errorf("limit %+v\n%s", limit, p.stdout.String())
	}
}

// inRound waits until a round goes through the gateway: calibration does not.
func (w *benchWorld) inRound(gateway *process) {
	w.t.Helper()
	if _, err := gateway.stderr.await(regexp.MustCompile(`"event":"tunnel_closed"`), 20, gateway.ended); err != nil {
		w.t.Fatal(err)
	}
}

// nothingLeft wants the sink to have let go of a run, so that the next may come.
func (w *benchWorld) nothingLeft(sink *process) {
	w.t.Helper()
	w.await(sink.stderr, sink, `coordinator at \S+ is (done|gone)`)
}
