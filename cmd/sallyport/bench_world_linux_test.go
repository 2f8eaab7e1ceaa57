package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	benchreport "github.com/sallyport/sallyport/bench/report"
)

// Addresses of the two ends of a benchmark's link.
const (
	nearAddr = "10.91.0.1"
	farAddr  = "10.91.0.2"
)

// benchWorld is where a run of the load tool takes place: a generator here, and there,
// which may be another network namespace, a gateway and a sink.
type benchWorld struct {
	t       *testing.T
	dir     string
	program string   // sallyport, as a child process, off the PATH
	there   string   // the address of the other side
	inside  []string // what runs a command on the other side
}

// benchHere has all of it on loopback, in a network namespace of its own.
func benchHere(t *testing.T) *benchWorld {
	t.Helper()
	addresses(t)
	return &benchWorld{t: t, dir: t.TempDir(), program: "sallyport", there: "127.0.0.1"}
}

// benchApart has the other side in a second network namespace, behind a veth pair:
// near here, far there. A child that sleeps keeps the namespace.
func benchApart(t *testing.T) *benchWorld {
	t.Helper()
	addresses(t)
	keeper := exec.Command("sleep", "300")
	keeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keeper.Process.Kill(); _ = keeper.Wait() })
	pid := strconv.Itoa(keeper.Process.Pid)
	w := &benchWorld{t: t, dir: t.TempDir(), program: "sallyport", there: farAddr}
	w.inside = []string{"nsenter", "--net=/proc/" + pid + "/ns/net", "--"}
	w.must(nil, "ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", pid)
	w.must(nil, "ip", "addr", "add", nearAddr+"/24", "dev", "near")
	w.must(nil, "ip", "link", "set", "near", "up")
	w.must(w.inside, "ip", "link", "set", "lo", "up")
	w.must(w.inside, "ip", "addr", "add", farAddr+"/24", "dev", "far")
	w.must(w.inside, "ip", "link", "set", "far", "up")
	return w
}

// fast has children without the race detector. The test must have asked for them
// before it was alone.
func (w *benchWorld) fast() { w.program = builtSallyport.name }

func (w *benchWorld) must(where []string, name string, args ...string) string {
	w.t.Helper()
	line := append(slices.Clone(where), append([]string{program(name)}, args...)...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = w.dir
	out, err := cmd.Output()
	if err != nil {
		said := ""
		if exit, is := err.(*exec.ExitError); is {
			said = string(exit.Stderr)
		}
		w.t.Fatalf("%s: %v: %s", strings.Join(line, " "), err, said)
	}
	return string(out)
}

// start starts a program here or, with w.inside, there. It is killed at the end if
// it still runs.
func (w *benchWorld) start(where []string, name string, line ...string) *process {
	w.t.Helper()
	line = append(slices.Clone(where), line...)
	p, err := startProcess(w.dir, name, append(os.Environ(), "GORACE=atexit_sleep_ms=0"), line[0], line[1:]...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		p.kill()
		if err := checkRaces(name, p.stderr.String()); err != nil {
			w.t.Error(err)
		}
	})
	return p
}

func (w *benchWorld) await(t *transcript, p *process, pattern string) string {
	w.t.Helper()
	found, err := t.await(regexp.MustCompile(pattern), 1, p.ended)
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", p.name, err, tail(p.stderr.String(), 20))
	}
	return found[len(found)-1]
}

// sink starts an agent with a service on the other side.
func (w *benchWorld) sink() *process {
	w.t.Helper()
	p := w.start(w.inside, "sink", w.program, "bench", "sink", "--listen", net.JoinHostPort(w.there, "7400"),
		"--service-listen", net.JoinHostPort(w.there, "7401"), "--key-file", "bench.key")
	w.await(p.stdout, p, `service  (\S+)`)
	return p
}

const benchConfig = `
node: gw-1
sta:
  id: STA01
  listen: 127.0.0.1:8442
  clients: [{name: enrolment, key_file: enrolment.key, may: [issue]}]
gateway:
  fqdn: %s
  listen: %s
  authorities: [local]
  policy: {network_access: tunneled, background_services: "sink.example.com:7401"}
splitdns:
  hosts: {sink.example.com: [%s]}
certs: {mode: files, files: [{cert: cert.pem, key: key.pem}]}
`

// gateway starts one on the other side that lets a ticket reach the sink, and returns
// its endpoint.
func (w *benchWorld) gateway() (p *process, endpoint string) {
	w.t.Helper()
	at := net.JoinHostPort(w.there, "8443")
	w.identity()
	w.write("enrolment.key", newKey()+"\n")
	w.write("sallyport.yaml", fmt.Sprintf(benchConfig, fqdn, at, w.there))
	p = w.start(w.inside, "gateway", w.program, "serve", "--config", "sallyport.yaml")
	w.await(p.stderr, p, `"event":"gateway_ready"`)
	var tickets strings.Builder
	for _, user := range []string{"u1", "u2"} {
		var issued struct{ Ticket string }
		text := w.must(w.inside, w.program, "ticket", "issue", "--config", "sallyport.yaml", "--user", user, "--device", user, "--json")
		if err := json.Unmarshal([]byte(text), &issued); err != nil || issued.Ticket == "" {
			w.t.Fatalf("no ticket: %v", err)
		}
		tickets.WriteString(issued.Ticket + "\n")
	}
	w.write("tickets", tickets.String())
	return p, fmt.Sprintf("socks5+tls://%s?server_name=%s&ca=%s&tickets=%s&name=ours", at, fqdn,
		filepath.Join(w.dir, "cert.pem"), filepath.Join(w.dir, "tickets"))
}

// identity writes the certificate that gateways show, cert.pem and key.pem.
func (w *benchWorld) identity() {
	w.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{fqdn}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	w.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}

func (w *benchWorld) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// run starts bench run with a short calibration and one round, its report in the
// folder out.
func (w *benchWorld) run(kind, to string, args ...string) *process {
	w.t.Helper()
	if err := os.RemoveAll(filepath.Join(w.dir, "out")); err != nil { // of the run before
		w.t.Fatal(err)
	}
	line := []string{w.program, "bench", "run", kind, "--to", to, "--sink", net.JoinHostPort(w.there, "7400"), "--key-file", "bench.key",
		"--service", "sink.example.com:7401", "--rounds", "1", "--settle", "10ms", "--calibrate", "200ms", "--down", "0s", "--out", "out"}
	if w.inside == nil {
		line = append(line, "--allow-loopback")
	}
	if strings.HasPrefix(to, "tcp:") {
		line = append(line, "--service", net.JoinHostPort(w.there, "7401"))
	}
	return w.start(nil, "run", append(line, args...)...)
}

// direct is the endpoint of the service itself.
func (w *benchWorld) direct() string {
	return "tcp://" + net.JoinHostPort(w.there, "7401") + "?name=direct"
}

// endedEither waits for the end of a run that may be void, for a test's machine is
// not always quiet: then it must say so by its exit code, and why.
func (w *benchWorld) endedEither(p *process) *benchreport.Report {
	w.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(10 * patience):
		w.t.Fatal("the run does not end")
	}
	code := p.cmd.ProcessState.ExitCode()
	r := w.ended(p, code)
	if len(r.Void) > 0 != (code == exitNo) || code != exitGood && code != exitNo {
		w.t.Errorf("it ended with %d, void because of %+v", code, r.Void)
	}
	for _, c := range r.Void {
		w.t.Logf("void by the %s: %s %s", c.What, c.Says, strings.Join(c.Evidence, "; "))
	}
	return r
}

// disturbed wants a run to be void since the machine had something else to do, as is
// outside of a test's control, and to say which and why: in the report, for each round
// that does not count, and on the terminal.
func (w *benchWorld) disturbed(p *process, r *benchreport.Report) {
	w.t.Helper()
	if len(r.Void) == 0 {
		w.t.Fatal("the run shows nothing, and it is not void")
	}
	causes := slices.Clone(r.Void)
	for _, round := range r.Rounds {
		causes = append(causes, round.Void...)
	}
	for _, c := range causes {
		if !slices.Contains([]string{"generator", "sink", "nic"}, c.What) || strings.HasPrefix(c.Says, "The generator ran out of") {
			w.t.Errorf("void for what nobody else did: %+v", c)
		}
		if c.Says == "" || len(c.Evidence) == 0 {
			w.t.Errorf("void, and it does not say why: %+v", c)
		}
	}
	shown := strings.Join(strings.Fields(p.stdout.String()), " ")
	first := r.Void[0]
	if want := first.What + " " + strings.TrimSuffix(first.Says, "."); !strings.Contains(shown, "VOID: these figures do not count") || !strings.Contains(shown, want) {
		w.t.Errorf("the terminal does not say %q:\n%s", want, p.stdout.String())
	}
}

// ended waits for a run's end, wants this exit code, and reads its report.
func (w *benchWorld) ended(p *process, code int) *benchreport.Report {
	w.t.Helper()
	if err := p.end(code); err != nil {
		w.t.Fatalf("%v\n%s\n%s", err, p.stdout.String(), tail(p.stderr.String(), 20))
	}
	r, err := readReport(filepath.Join(w.dir, "out", recordName))
	if err != nil {
		w.t.Fatal(err)
	}
	if page, err := os.ReadFile(filepath.Join(w.dir, "out", pageName)); err != nil || !strings.Contains(string(page), "<html") {
		w.t.Errorf("the page has %d bytes, %v", len(page), err)
	}
	return r
}

// figure is an endpoint's median.
func (w *benchWorld) figure(r *benchreport.Report, endpoint, name string) float64 {
	w.t.Helper()
	for _, f := range r.Figures {
		if f.Endpoint == endpoint && f.Name == name {
			return f.Median
		}
	}
	w.t.Fatalf("%s has no figure %q", endpoint, name)
	return 0
}

// voidBy is whether a report is void because of something, and what it says of it.
func voidBy(r *benchreport.Report, what string) (string, bool) {
	for _, c := range r.Void {
		if c.What == what {
			return c.Says + " " + strings.Join(c.Evidence, "; "), true
		}
	}
	return "", false
}
