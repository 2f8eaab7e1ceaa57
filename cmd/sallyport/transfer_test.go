package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/bench/standin"
)

const mib = 1 << 20

// TestTransfers sends bytes through the real processes: a device's proxy and a
// gateway, each with the race detector if the test has it, to a mail server in
// this one. Nothing may be lost, doubled or swapped, within a tunnel or between
// fifty, and the gateway must have accounted for all of it.
func TestTransfers(t *testing.T) {
	l := openLine(t)
	l.curlDown(100 * mib)
	l.curlUp(100 * mib)
	l.atOnce(50, 4*mib, 4*patience)
	l.close()
}

// line is a device's way to its mail server.
type line struct {
	t              *testing.T
	dir            string
	env            []string
	mail           *mailServer
	serve, connect *process
	proxy          *url.URL
	secrets        []string      // that nobody may write down
	sent           []transferred // what the gateway's accounts must show
}

// transferred is the payload of one tunnel.
type transferred struct{ up, down int64 }

// openLine starts everything and issues the device its ticket.
func openLine(t *testing.T) *line {
	l := &line{t: t, dir: t.TempDir(), env: os.Environ()}
	if os.Getenv("GORACE") == "" {
		l.env = append(l.env, "GORACE=atexit_sleep_ms=0")
	}
	var err error
	if l.mail, err = startMailServer(filepath.Join(l.dir, "mail")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.mail.stop(); err != nil {
			t.Error(err)
		}
	})
	l.configure()
	l.serve = l.start("serve", "sallyport", "serve", "--config", "sallyport.yaml")
	l.await(l.serve, l.serve.stderr, `"event":"gateway_ready"`, 1)
	l.enrol()
	l.connect = l.start("connect", "sallyport", "connect", "--config", "sallyport.yaml",
		"--ticket-file", "ticket", "--listen", "127.0.0.1:0", "--json")
	found := l.await(l.connect, l.connect.stdout, `"listen":"(.*)","user":"(.*)","password":"(.*)"`, 1)
	l.proxy = &url.URL{Scheme: "socks5h", User: url.UserPassword(found[2], found[3]), Host: found[1]}
	return l
}

// configure takes the shipped example, with a log for programs.
func (l *line) configure() {
	free := newPorts()
	authority, err := free.free()
	gateway, err2 := free.free()
	path := filepath.Join(l.dir, "sallyport.yaml")
	if err := errors.Join(err, err2, writeExample(path, authority, gateway, l.mail.port)); err != nil {
		l.t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("format: console"), []byte("format: json"), 1)
	key := newKey()
	l.secrets = append(l.secrets, key)
	if err := errors.Join(os.WriteFile(path, text, 0o644), l.write("enrolment.key", key)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) write(name, secret string) error {
	return os.WriteFile(filepath.Join(l.dir, name), []byte(secret+"\n"), 0o600)
}

func (l *line) enrol() {
	l.t.Helper()
	command := exec.Command("sallyport", "ticket", "issue", "--config", "sallyport.yaml", "--user", "user2", "--device", "phone", "--json")
	command.Dir, command.Env = l.dir, l.env
	answer, err := command.Output()
	var issued struct{ Ticket string }
	if err := errors.Join(err, json.Unmarshal(answer, &issued), l.write("ticket", issued.Ticket)); err != nil {
		l.t.Fatal(err)
	}
	l.secrets = append(l.secrets, issued.Ticket)
}

func (l *line) start(name, program string, args ...string) *process {
	l.t.Helper()
	p, err := startProcess(l.dir, name, l.env, program, args...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if !p.hasEnded() {
			p.kill()
		}
		if l.t.Failed() {
			l.t.Logf("%s:\n%s%s", name, p.stdout, p.stderr)
		}
	})
	return p
}

func (l *line) await(p *process, log *transcript, pattern string, n int) []string {
	l.t.Helper()
	found, err := log.await(regexp.MustCompile(pattern), n, p.ended)
	if err != nil {
		l.t.Fatalf("%s: %v", p.name, err)
	}
	return found
}

func (l *line) bulk(query string) string {
	return fmt.Sprintf("https://%s:%d/bulk%s", mailHost, l.mail.port, query)
}

// curl runs the client that is not ours.
func (l *line) curl(stdin io.Reader, stdout io.Writer, args ...string) {
	l.t.Helper()
	var said bytes.Buffer
	began := time.Now()
	command := exec.Command("curl", append([]string{"--silent", "--show-error", "--fail", "--max-time", "120",
		"--proxy", l.proxy.String(), "--cacert", filepath.Join(l.dir, "mail", "ca.pem")}, args...)...)
	command.Dir, command.Stdin, command.Stdout, command.Stderr = l.dir, stdin, stdout, &said
	if err := command.Run(); err != nil {
		l.t.Fatalf("curl: %v: %s", err, &said)
	}
	l.t.Logf("curl %s: %.1f s", args[len(args)-1], time.Since(began).Seconds())
}

// curlDown downloads n bytes.
func (l *line) curlDown(n int64) {
	l.t.Helper()
	const seed = 1
	got := sha256.New()
	l.curl(nil, got, l.bulk(fmt.Sprintf("?bytes=%d&seed=%d", n, seed)))
	if sum := hex.EncodeToString(got.Sum(nil)); sum != checksum(l.t, seed, n) {
		l.t.Errorf("download by curl: checksum %s", sum)
	}
	l.sent = append(l.sent, transferred{down: n})
}

// curlUp uploads n bytes.
func (l *line) curlUp(n int64) {
	l.t.Helper()
	const seed = 2
	var answer bytes.Buffer
	l.curl(standin.NewBulk(seed, n), &answer, "--upload-file", "-", l.bulk(""))
	if err := checkReceipt(&answer, n, checksum(l.t, seed, n)); err != nil {
		l.t.Errorf("upload by curl: %v", err)
	}
	l.sent = append(l.sent, transferred{up: n})
}

// checksum is what must arrive.
func checksum(t *testing.T, seed uint64, n int64) string {
	t.Helper()
	sum := sha256.New()
	if _, err := io.Copy(sum, standin.NewBulk(seed, n)); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// checkReceipt compares the mail server's answer to an upload.
func checkReceipt(answer io.Reader, n int64, sum string) error {
	var receipt struct {
		Bytes  int64
		SHA256 string
	}
	if err := json.NewDecoder(answer).Decode(&receipt); err != nil {
		return err
	}
	if receipt.Bytes != n || receipt.SHA256 != sum {
		return fmt.Errorf("%d bytes arrived, checksum %s", receipt.Bytes, receipt.SHA256)
	}
	return nil
}

// atOnce transfers n bytes in each of so many tunnels, half of them down and half
// up. None goes far beyond its first block before all of them have come so far.
func (l *line) atOnce(tunnels int, n int64, limit time.Duration) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), limit)
	defer cancel()
	before := len(l.sent)
	began := time.Now()
	var running, arrived sync.WaitGroup
	goOn := make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	defer running.Wait()
	defer release()
	arrived.Add(tunnels)
	opening := make(chan struct{}, 8) // each has 10 s for its set-up, on whatever machine this is
	for i := range tunnels {
		down, seed := i%2 == 0, uint64(100+i)
		running.Go(func() {
			opening <- struct{}{}
			arrive := sync.OnceFunc(func() { <-opening; arrived.Done() })
			defer arrive() // whoever failed keeps nobody waiting
			pause := func() { arrive(); <-goOn }
			transfer := l.up
			if down {
				transfer = l.down
			}
			if err := transfer(ctx, seed, n, pause); err != nil {
				l.t.Errorf("tunnel %d: %v", i, err)
			}
		})
		l.sent = append(l.sent, transferred{up: n})
		if down {
			l.sent[len(l.sent)-1] = transferred{down: n}
		}
	}
	arrived.Wait()
	l.await(l.serve, l.serve.stderr, `"event":"tunnel_opened"`, before+tunnels)
	if closed := strings.Count(l.serve.stderr.String(), `"event":"tunnel_closed"`); closed != before {
		l.t.Errorf("%d tunnels had ended before all stood, not %d", closed, before)
	}
	release()
	running.Wait()
	took := time.Since(began)
	l.t.Logf("%d × %d MiB at once: %.1f s, %.0f MiB/s", tunnels, n/mib, took.Seconds(), float64(int64(tunnels)*n/mib)/took.Seconds())
}

// client is an app with a tunnel for each request.
func (l *line) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyURL(l.proxy),
		TLSClientConfig:   &tls.Config{RootCAs: l.mail.roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}
}

// down downloads n bytes, with a pause behind the first ones.
func (l *line) down(ctx context.Context, seed uint64, n int64, pause func()) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.bulk(fmt.Sprintf("?bytes=%d&seed=%d", n, seed)), nil)
	if err != nil {
		return err
	}
	response, err := l.client().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, want := sha256.New(), sha256.New()
	if _, err := io.CopyN(got, response.Body, block); err != nil {
		return err
	}
	pause()
	if _, err := io.Copy(got, response.Body); err != nil {
		return err
	}
	if _, err := io.Copy(want, standin.NewBulk(seed, n)); err != nil {
		return err
	}
	sum := hex.EncodeToString(got.Sum(nil))
	if sum != hex.EncodeToString(want.Sum(nil)) || sum != response.Trailer.Get(standin.ChecksumTrailer) {
		return fmt.Errorf("the download has checksum %s", sum)
	}
	return nil
}

// up uploads n bytes, with a pause behind the first ones.
func (l *line) up(ctx context.Context, seed uint64, n int64, pause func()) error {
	sum := sha256.New()
	body := io.TeeReader(standin.NewBulk(seed, n), sum)
	paused := io.MultiReader(io.LimitReader(body, block), &hurdle{cross: pause}, body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, l.bulk(""), paused)
	if err != nil {
		return err
	}
	request.ContentLength = n
	response, err := l.client().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return checkReceipt(response.Body, n, hex.EncodeToString(sum.Sum(nil)))
}

// block is what goes through each tunnel before the pause.
const block = 64 << 10

// hurdle is a reader without bytes, whose end takes a while.
type hurdle struct{ cross func() }

func (h *hurdle) Read([]byte) (int, error) {
	h.cross()
	return 0, io.EOF
}

// close ends both programs, and then looks at what they leave.
func (l *line) close() {
	l.t.Helper()
	l.await(l.serve, l.serve.stderr, `"event":"tunnel_closed"`, len(l.sent))
	for _, p := range []*process{l.connect, l.serve} {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			l.t.Error(err)
		}
		if err := p.end(0); err != nil {
			l.t.Error(err)
		}
	}
	l.checkAccounts()
	l.checkSecrets()
}

// account is a line of the gateway's log.
type account struct {
	Event, User, Device, To, Reason string
	Up, Down                        int64
}

// checkAccounts wants a line for each tunnel that ended, and in it the bytes
// that went through: the payload, and what HTTP and TLS put around it.
func (l *line) checkAccounts() {
	l.t.Helper()
	missing := l.sent
	opened := 0
	for text := range strings.Lines(l.serve.stderr.String()) {
		var a account
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			l.t.Errorf("no line for programs: %s", text)
		}
		switch a.Event {
		case "tunnel_opened":
			opened++
		case "tunnel_closed":
			i := slices.IndexFunc(missing, func(s transferred) bool { return s.fits(a) })
			if i < 0 {
				l.t.Errorf("no transfer fits %+v", a)
				continue
			}
			missing = slices.Delete(slices.Clone(missing), i, i+1)
			if a.User != "user2" || a.Device != "phone" || a.To != mailHost || !slices.Contains(ends, a.Reason) {
				l.t.Errorf("%+v", a)
			}
		}
	}
	if len(missing) > 0 || opened != len(l.sent) {
		l.t.Errorf("%d tunnels opened for %d transfers; no account of %+v", opened, len(l.sent), missing)
	}
}

// ends are how a tunnel ends whose two sides are done with one another. Whoever
// closes while the other's farewell is on its way resets, and that is passed on.
var ends = []string{"client_closed", "client_error", "service_closed", "service_error"}

// fits allows 2 % of the payload, in either direction, for HTTP and TLS.
func (s transferred) fits(a account) bool {
	around := (s.up+s.down)/50 + block
	return s.up <= a.Up && a.Up <= s.up+around && s.down <= a.Down && a.Down <= s.down+around
}

// checkSecrets looks for the ticket and the client's key in everything that was
// written, and, so that this would find them, for what must be there.
func (l *line) checkSecrets() {
	l.t.Helper()
	for _, name := range []string{"serve.out", "serve.err", "connect.out", "connect.err", "data/audit.log", "data/sta.db"} {
		data, err := os.ReadFile(filepath.Join(l.dir, name))
		if err != nil {
			l.t.Fatal(err)
		}
		for _, secret := range l.secrets {
			if holds(data, secret) {
				l.t.Errorf("%s holds a secret", name)
			}
		}
		if filepath.Dir(name) == "data" && !holds(data, "user2") {
			l.t.Errorf("%s should hold the user's name", name)
		}
	}
}
