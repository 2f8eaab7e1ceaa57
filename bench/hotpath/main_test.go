package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also what a child process runs, for it is this program that is
// started again; and, for one test, a coordinator that gets killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-role" {
		if os.Args[2] == "doomed" {
			os.Exit(doomed())
		}
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// TestEndToEnd measures the real binary, as little of it as can be.
func TestEndToEnd(t *testing.T) {
	if os.Getenv("GORACE") == "" { // else every child sleeps a second at its end
		t.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	built := bench{scratch: t.TempDir(), progress: func(string, ...any) {}}
	if err := built.findBinary(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Run("report", func(t *testing.T) { testReport(t, built.sallyport) })
	t.Run("cancelled", func(t *testing.T) { testCancelled(t, built.sallyport) })
	t.Run("broken gateway", func(t *testing.T) { testBrokenGateway(t, built.sallyport) })
}

func testReport(t *testing.T, binary string) {
	scratch := nothingLeft(t)
	file := filepath.Join(t.TempDir(), "report.json")
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{
		"-quick", "-sallyport", binary, "-json", file, "-rounds", "2", "-bulk", "1", "-tunnels", "20", "-after", "1ms",
		"-tickets", "3", "-setups", "20", "-pings", "100", "-parallel", "4", "-connections", "5", "-streams", "3",
	}, nil, &stdout, &stderr)
	if code != exitMet {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	gateways := []string{naiveGateway, stdLayer}
	if !slices.ContainsFunc(r.Missing, func(m missing) bool { return m.What == "gateway "+directLayer }) {
		gateways = append(gateways, directLayer)
	}
	for _, f := range []string{
		relayDown, relayUp, speedDown, speedUp, newTunnel, delayP50, delayP99, addedP50, idleBoth, idleUpload, atOnce(idleBoth), atOnce(idleUpload), goroutines,
	} {
		for _, gateway := range gateways {
			checkRow(t, r, f, gateway)
		}
		if !strings.Contains(stdout.String(), "\n"+f) {
			t.Errorf("the table has no %q:\n%s", f, &stdout)
		}
	}
	checkCarriers(t, r)
	if i := slices.IndexFunc(r.Rows, func(made row) bool { return made.Verdict != unjudged }); i >= 0 {
		t.Errorf("a smoke test judges %q", r.Rows[i].Figure)
	}
	if r.Machine.Cores < 1 || r.Machine.CPU == "" || !strings.HasPrefix(r.Machine.Sallyport, "sallyport ") {
		t.Errorf("the machine is %+v", r.Machine)
	}
	checkEmpty(t, scratch)
}

// checkCarriers wants a row of each carrier beside those it is held against.
func checkCarriers(t *testing.T, r report) {
	t.Helper()
	every := append([]string{naiveGateway, stdLayer}, carriers()...)
	for figure, gateways := range map[string][]string{
		byCarrier(relayDown): every, byCarrier(relayUp): every, byCarrier(speedDown): every, byCarrier(speedUp): every,
		byCarrier(newTunnel): every, idleConnection: every, oneMoreTunnel: shared(), idleOneMore: shared(),
	} {
		for _, gateway := range gateways {
			checkRow(t, r, figure, gateway)
		}
	}
	for _, made := range r.Rows {
		if made.Figure == byCarrier(newTunnel) && slices.Contains(carriers(), made.Gateway) && made.OverStd == nil {
			t.Errorf("%q for gateway %s is held against nothing", made.Figure, made.Gateway)
		}
	}
}

// checkRow wants real figures, of as many rounds as there were.
func checkRow(t *testing.T, r report, figure, gateway string) {
	t.Helper()
	i := slices.IndexFunc(r.Rows, func(made row) bool { return made.Figure == figure && made.Gateway == gateway })
	if i < 0 {
		t.Errorf("no row of %q for gateway %s", figure, gateway)
		return
	}
	made := r.Rows[i]
	rounds := r.Plan.Rounds
	if strings.Contains(figure, "idle") {
		rounds = r.Plan.IdleRounds
	}
	if len(made.Rounds) != rounds {
		t.Errorf("%q for gateway %s has %d rounds, not %d", figure, gateway, len(made.Rounds), rounds)
	}
	// Twenty tunnels may be lost in what the process holds anyway, and what a
	// gateway adds may be lost in the scatter.
	signed := slices.Contains([]string{
		addedP50, idleBoth, idleUpload, atOnce(idleBoth), atOnce(idleUpload), idleConnection, idleOneMore,
	}, figure)
	for _, value := range made.Rounds {
		if math.IsNaN(value) || math.IsInf(value, 0) || (value <= 0 && !signed) {
			t.Errorf("%q for gateway %s is %v", figure, gateway, value)
		}
	}
}

// testCancelled stops while everything is running.
func testCancelled(t *testing.T, binary string) {
	scratch := nothingLeft(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	p := plan{Only: []string{"latency"}, Rounds: 1, Pings: 1 << 24, Tickets: 1, Parallel: 1, sallyport: binary}
	_, err := measure(ctx, p, func(format string, args ...any) {
		if strings.HasPrefix(fmt.Sprintf(format, args...), "latency: warming up") { // which takes minutes
			time.AfterFunc(50*time.Millisecond, func() { cancel(enough) })
		}
	})
	if !errors.Is(err, enough) {
		t.Errorf("the error is %v", err)
	}
	checkEmpty(t, scratch)
}

// testBrokenGateway has a gateway die under its tunnels.
func testBrokenGateway(t *testing.T, binary string) {
	scratch := nothingLeft(t)
	dir := t.TempDir()
	id, err := newIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{plan: plan{Tickets: 1, Parallel: 1}, scratch: dir, sallyport: binary, identity: id}
	l, err := b.open(t.Context(), stdLayer)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.doAll(t.Context(), order{Do: "open", N: 1}); err != nil {
		t.Fatal(err)
	}
	l.process.signalGroup(syscall.SIGKILL)
	<-l.process.ended
	if _, err := l.do(t.Context(), order{Do: "exchange", Times: 1, Up: headSize, Down: 1}); err == nil {
		t.Error("an exchange through a dead gateway succeeded")
	}
	if _, err := l.rest(t.Context()); err == nil {
		t.Error("a dead gateway has processor time")
	}
	if err := l.close(); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("the lane of a dead gateway ends with %v", err)
	}
	checkEmpty(t, scratch)
}

// nothingLeft gives the folder in which scratch folders will be made.
func nothingLeft(t *testing.T) string {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

// checkEmpty wants no file and no child process to be left.
func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Fatalf("no list of children: %v", err)
	}
	for _, list := range lists {
		if children, err := os.ReadFile(list); err == nil && len(children) > 0 {
			t.Errorf("child processes are left: %s", children)
		}
	}
}

// doomed is a coordinator with a child that would outlive it.
func doomed() int {
	c, err := start(context.Background(), "sleep", exec.Command("sleep", "600"))
	if err != nil {
		return exitRuntime
	}
	fmt.Println(c.pid())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return exitMet
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"-only", "relay,speed"}, {"-only", ""}, {"-rounds", "0"}, {"-bulk", "-1"}, {"-after", "-1s"}, {"-tunnels", "100000000"},
		{"-connections", "100000000"}, {"-streams", "0"},
		{"-unknown"}, {"surplus"}, {"-naive", "127.0.0.1:0"}, {"-cert", "cert.pem"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, nil, &stdout, &stderr); code != exitUsage || stderr.Len() == 0 || stdout.Len() > 0 {
			t.Errorf("%v: exit code %d, %q", args, code, &stderr)
		}
	}
	for _, args := range [][]string{{"-sallyport", "/nonexistent"}, {"-role", "unknown"}} {
		if code := run(t.Context(), args, strings.NewReader(""), io.Discard, io.Discard); code != exitRuntime {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}

func TestQuickKeepsWhatWasGiven(t *testing.T) {
	p, err := parsePlan([]string{"-quick", "-setups", "7"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if p.Setups != 7 || p.Rounds != 2 || p.Bulk != 32<<20 {
		t.Errorf("the plan is %+v", p)
	}
}
