//go:build soak

package node_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// spkiOf is how Chromium is told of a certificate to trust.
func spkiOf(t *testing.T, addr string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: fqdn})
	must(t, err)
	defer conn.Close()
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// browser is Chromium behind its DevTools protocol.
type browser struct {
	out      *os.File
	messages chan message
	session  string
	user     string
	password string
	next     int
	asked    int // for the password
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result struct {
		TargetID  string `json:"targetId"`
		SessionID string `json:"sessionId"`
		ErrorText string `json:"errorText"`
		Result    struct {
			Value string `json:"value"`
		} `json:"result"`
	} `json:"result"`
}

// startBrowser has it ask a PAC file, and trust these certificates. Of names it knows
// those in known, "NAME ADDRESS", and looks no other up.
func startBrowser(t *testing.T, pacURL string, known []string, trusted ...string) *browser {
	t.Helper()
	rules := "EXCLUDE 127.0.0.1" // where connect has its PAC file
	for _, host := range known {
		rules += ",MAP " + host
	}
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe",
		"--host-resolver-rules="+rules+",MAP * ~NOTFOUND",
		"--ignore-certificate-errors-spki-list="+strings.Join(trusted, ","),
		"--proxy-pac-url="+pacURL)
	theirs, ours, err := os.Pipe()
	must(t, err)
	back, theirOut, err := os.Pipe()
	must(t, err)
	cmd.ExtraFiles = []*os.File{theirs, theirOut}
	must(t, cmd.Start())
	_, _ = theirs.Close(), theirOut.Close()
	b := &browser{out: ours, messages: make(chan message, 1000)}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		in := bufio.NewReader(back)
		for {
			text, err := in.ReadBytes(0)
			if err != nil {
				return
			}
			var m message
			if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) == nil {
				b.messages <- m
			}
		}
	}()
	t.Cleanup(func() {
		b.send("Browser.close", nil)
		late := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait()
		_, _ = ours.Close(), back.Close()
		<-reading
	})
	target := b.call(t, "Target.createTarget", map[string]any{"url": "about:blank"}).Result.TargetID
	b.session = b.call(t, "Target.attachToTarget", map[string]any{"targetId": target, "flatten": true}).Result.SessionID
	b.call(t, "Page.enable", nil)
	b.call(t, "Fetch.enable", map[string]any{"handleAuthRequests": true})
	return b
}

func (b *browser) send(method string, params map[string]any) int {
	b.next++
	m := map[string]any{"id": b.next, "method": method, "params": params}
	if params == nil {
		m["params"] = map[string]any{}
	}
	if b.session != "" && !strings.HasPrefix(method, "Browser.") {
		m["sessionId"] = b.session
	}
	text, _ := json.Marshal(m)
	_, _ = b.out.Write(append(text, 0))
	return b.next
}

// call waits for its answer, and answers meanwhile what the browser asks.
func (b *browser) call(t *testing.T, method string, params map[string]any) message {
	t.Helper()
	id := b.send(method, params)
	return b.await(t, method, func(m message) bool { return m.ID == id })
}

func (b *browser) await(t *testing.T, what string, is func(message) bool) message {
	t.Helper()
	timeout := time.After(60 * time.Second)
	for {
		select {
		case m := <-b.messages:
			var paused struct{ RequestID string }
			_ = json.Unmarshal(m.Params, &paused)
			switch m.Method {
			case "Fetch.requestPaused":
				b.send("Fetch.continueRequest", map[string]any{"requestId": paused.RequestID})
			case "Fetch.authRequired":
				b.asked++
				b.send("Fetch.continueWithAuth", map[string]any{"requestId": paused.RequestID, "authChallengeResponse": map[string]any{
					"response": "ProvideCredentials", "username": b.user, "password": b.password,
				}})
			}
			if is(m) {
				return m
			}
		case <-timeout:
			t.Fatalf("the browser does not answer: %s", what)
		}
	}
}

// visit gives a page's text, or why there is none.
func (b *browser) visit(t *testing.T, url string) (text, failure string) {
	t.Helper()
	failure = b.call(t, "Page.navigate", map[string]any{"url": url}).Result.ErrorText
	b.await(t, "load", func(m message) bool { return m.Method == "Page.loadEventFired" })
	return b.call(t, "Runtime.evaluate", map[string]any{"expression": "document.body.innerText"}).Result.Result.Value, failure
}
