package demo

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The demo holds what it shows, and leaves nothing: no goroutine, no file.
func TestOnce(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out bytes.Buffer
	if err := Run(t.Context(), Options{Once: true, Out: &out, Command: "sallyport"}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, line := range []string{
		"Getting STA Ticket.", `STA ticket generated successfully for user "user2@example.com" for app "Secure Mail"`,
		"AG policy Intercepting ews.example.com:", "New TCP proxy connection to (null):",
		"EWS answers through the tunnel", "ActiveSync answers through the tunnel: versions 2.5,",
		"a Ping was held", "refused, reply 0x02", "its live tunnel was cut", "ticket refused by the gateway",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not in:\n%s", line, &out)
		}
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Two demos of one user get out of each other's way, and both end when told.
func TestTwoAtOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	var outs [2]waitFor
	done := make(chan error, len(outs))
	for i := range outs {
		outs[i].text, outs[i].seen = "Ctrl-C stops it.", make(chan struct{})
		go func() { done <- Run(ctx, Options{Out: &outs[i], Command: "sallyport"}) }()
		select {
		case <-outs[i].seen:
		case err := <-done:
			t.Fatalf("demo %d ended: %v\n%s", i+1, err, &outs[i].got)
		}
	}
	stop()
	for range outs {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if a, b := outs[0].got.String(), outs[1].got.String(); !strings.Contains(a, "left on the disk: ") || !strings.Contains(b, "removed ") {
		t.Errorf("the first keeps its folder and the second does not:\n%s\n%s", a, b)
	}
}

// waitFor is a writer that tells when a text has been written.
type waitFor struct {
	got  bytes.Buffer
	text string
	seen chan struct{}
	done bool
}

func (w *waitFor) Write(p []byte) (int, error) {
	n, err := w.got.Write(p)
	if !w.done && strings.Contains(w.got.String(), w.text) {
		w.done = true
		close(w.seen)
	}
	return n, err
}
