package sta_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	authorityID = "STA01"
	gateway     = "gateway3.example.com"
)

// desk may do everything.
var desk = &sta.Client{Name: "desk", May: sta.MayIssue | sta.MayRenew | sta.MayRedeem | sta.MayRevoke | sta.MayList}

// memoryAudit keeps events, or fails.
type memoryAudit struct {
	mu     sync.Mutex
	events []sta.Event
	full   bool
}

var errDiskFull = errors.New("no space left on device")

func (a *memoryAudit) Append(ctx context.Context, e sta.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.full {
		return errDiskFull
	}
	a.events = append(a.events, e)
	return nil
}

func (a *memoryAudit) last(t *testing.T) sta.Event {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.events) == 0 {
		t.Fatal("nothing was audited")
	}
	return a.events[len(a.events)-1]
}

// world is an authority with all that it stands on.
type world struct {
	*sta.Authority
	store    sta.Store
	audit    *memoryAudit
	keys     *ticket.KeySet
	signer   *ticket.Signer
	verifier *ticket.Verifier
	pin      string
	root     string // the file of the root key
	signing  string

	mu  sync.Mutex
	now time.Time
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func newWorld(t *testing.T, change ...func(*sta.Config)) *world {
	t.Helper()
	w := &world{store: sta.NewMemoryStore(), audit: &memoryAudit{}, now: time.Date(2026, 3, 1, 9, 0, 0, 250e6, time.UTC)}
	dir := t.TempDir()
	files := sta.KeyFiles{Root: filepath.Join(dir, "root.key"), Signing: filepath.Join(dir, "sta.key")}
	if _, err := sta.Init(t.Context(), w.store, authorityID, files, w.now); err != nil {
		t.Fatal(err)
	}
	keys, err := sta.OpenKeys(t.Context(), w.store, authorityID, files.Signing)
	if err != nil {
		t.Fatal(err)
	}
	w.root, w.signing = files.Root, files.Signing
	w.signer, w.keys, w.pin = keys.Signer, keys.Set, keys.Pin
	if w.verifier, err = ticket.NewVerifier(w.keys, gateway, w.clock); err != nil {
		t.Fatal(err)
	}
	config := sta.Config{
		ID: authorityID, Audience: []string{gateway}, Signer: w.signer, Keys: w.keys,
		Store: w.store, Audit: w.audit, Now: w.clock, Pin: keys.Pin,
	}
	for _, c := range change {
		c(&config)
	}
	if w.Authority, err = sta.New(config); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) issue(t *testing.T) sta.Issued {
	t.Helper()
	issued, err := w.Issue(t.Context(), desk, sta.IssueRequest{User: "user2", Device: "d1", App: "Secure Mail"})
	if err != nil {
		t.Fatalf("Issue: %v", err)
	}
	return issued
}

func (w *world) revoke(t *testing.T, id string) sta.RevokeResult {
	t.Helper()
	result, err := w.Revoke(t.Context(), desk, sta.RevokeRequest{Ticket: id})
	if err != nil {
		t.Fatalf("Revoke: %v", err)
	}
	return result
}

func wantReason(t *testing.T, err error, want ticket.Reason) {
	t.Helper()
	if got := ticket.ReasonOf(err); got != want {
		t.Errorf("reason is %q (%v), want %q", got, err, want)
	}
}

// strangeKey is one that no set names.
func strangeKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func randomKeyLine() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	return base64.StdEncoding.EncodeToString(raw)
}
