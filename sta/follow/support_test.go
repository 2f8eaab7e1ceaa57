package follow_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	authorityID = "STA01"
	fqdn        = "gateway3.example.com"
)

var errOut = errors.New("the plug is pulled")

// plug is a node of the real authority, with a plug to pull and a hand in what it
// answers.
type plug struct {
	*sta.Authority
	log *revlog.Log

	redeems, asked, answered atomic.Int64
	out, hang                atomic.Bool
	hold                     chan struct{} // when set, a redeem waits for it

	mu      sync.Mutex
	tamper  func(*ticket.Updates)
	refuse  error // of Redeem
	keys    string
	reports []ticket.CutReport
}

// fault is what stands before every answer.
func (p *plug) fault(ctx context.Context) error {
	if p.hang.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if p.out.Load() {
		return errOut
	}
	return nil
}

func (p *plug) Redeem(ctx context.Context, h ticket.Hash) (string, error) {
	p.redeems.Add(1)
	if p.hold != nil {
		select {
		case <-p.hold:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if err := p.fault(ctx); err != nil {
		return "", err
	}
	p.mu.Lock()
	refuse := p.refuse
	p.mu.Unlock()
	if refuse != nil {
		return "", refuse
	}
	return p.Authority.Redeem(ctx, h)
}

func (p *plug) Updates(ctx context.Context, gateway string, after ticket.Positions, wait time.Duration) (ticket.Updates, error) {
	p.asked.Add(1)
	if err := p.fault(ctx); err != nil {
		return ticket.Updates{}, err
	}
	u, err := p.Authority.Updates(ctx, gateway, after, wait)
	if err == nil {
		err = p.fault(ctx) // pulled while the request was open
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tamper != nil && err == nil {
		p.tamper(&u)
	}
	p.answered.Add(1)
	return u, err
}

func (p *plug) ReportCuts(ctx context.Context, gateway string, r ticket.CutReport) error {
	if err := p.fault(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	p.reports = append(p.reports, r)
	p.mu.Unlock()
	return p.Authority.ReportCuts(ctx, gateway, r)
}

func (p *plug) SignedKeys(ctx context.Context) (string, error) {
	if err := p.fault(ctx); err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys != "" {
		return p.keys, nil
	}
	return p.Authority.SignedKeys(ctx)
}

// with changes what the node answers.
func (p *plug) with(change func(*plug)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *plug) reported() []ticket.CutReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]ticket.CutReport(nil), p.reports...)
}

type noAudit struct{}

func (noAudit) Append(context.Context, sta.Event) error { return nil }

// boot is a clock that can be made to jump, as if the machine had slept.
type boot struct {
	began time.Time
	slept atomic.Int64
	id    string
	broke atomic.Bool
}

func (b *boot) Boottime() time.Duration {
	if b.broke.Load() {
		return -1 << 63
	}
	return time.Hour + time.Since(b.began) + time.Duration(b.slept.Load())
}
func (b *boot) BootID() string { return b.id }

// world is an authority with its nodes, and a follower. It runs inside or outside
// a synctest bubble, and stops with the test.
type world struct {
	*follow.Follower
	t        testing.TB
	root     ed25519.PrivateKey
	key      ed25519.PrivateKey
	signer   *ticket.Signer
	pin      string
	store    sta.Store
	nodes    []*plug
	client   *sta.Client
	state    string // the path of the gateway's log
	log      *revlog.Log
	boot     *boot
	config   follow.Config
	setBack  atomic.Int64 // by how much the gateway's clock is behind
	mu       sync.Mutex
	cut      func(*ticket.Revocation) int
	lost     []error
	alarms   []error
	ups      []string
	cutBlind []*ticket.Revocation
	stopRun  func()
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// newWorld makes an authority with so many nodes. Nothing follows it yet.
func newWorld(t testing.TB, nodes int, change ...func(*follow.Config)) *world {
	t.Helper()
	w := &world{
		t: t, root: newKey(t), key: newKey(t), store: sta.NewMemoryStore(),
		client: &sta.Client{Name: "enrolment", May: sta.MayIssue | sta.MayRevoke | sta.MayList},
		cut:    func(*ticket.Revocation) int { return 0 },
		boot:   &boot{began: time.Now(), id: "this-start"},
		state:  filepath.Join(t.TempDir(), "revocations.db"),
	}
	w.pin = ticket.Pin(public(w.root))
	var err error
	w.signer, err = ticket.NewSigner(authorityID, w.key)
	must(t, err)
	keys := w.signKeys(1, w.key)
	must(t, w.store.PutKeySet(t.Context(), sta.SignedKeySet{Version: 1, Signed: keys.String()}))
	for i := range nodes {
		w.nodes = append(w.nodes, w.startNode(fmt.Sprintf("sta-%d", i+1), keys, w.store))
	}
	w.open(change...)
	return w
}

// signKeys signs a key set with the root.
func (w *world) signKeys(version uint64, keys ...ed25519.PrivateKey) *ticket.KeySet {
	w.t.Helper()
	var list []ed25519.PublicKey
	for _, k := range keys {
		list = append(list, public(k))
	}
	signed, err := ticket.SignKeySet(w.root, authorityID, version, time.Now(), list)
	must(w.t, err)
	set, err := ticket.VerifyKeySet(signed, authorityID, w.pin)
	must(w.t, err)
	return set
}

// startNode starts a node over a store.
func (w *world) startNode(name string, keys *ticket.KeySet, store sta.Store) *plug {
	w.t.Helper()
	log, err := revlog.Open("", revlog.WriterName(name))
	must(w.t, err)
	authority, err := sta.New(sta.Config{
		ID: authorityID, Node: name, Audience: []string{fqdn}, Signer: w.signer, Keys: keys, Pin: w.pin,
		Store: store, Log: log, Audit: noAudit{},
	})
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = authority.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done; _ = log.Close() })
	return &plug{Authority: authority, log: log}
}

// open makes the follower, on the state that is there.
func (w *world) open(change ...func(*follow.Config)) {
	w.t.Helper()
	var err error
	w.log, err = revlog.Open(w.state, "")
	must(w.t, err)
	w.t.Cleanup(func() { _ = w.log.Close() })
	w.config = follow.Config{
		Gateway: "gw-1", Audience: fqdn, Authority: authorityID, Pin: w.pin, Log: w.log, Boot: w.boot,
		Now: func() time.Time { return time.Now().Add(-time.Duration(w.setBack.Load())) },
		Cut: func(r *ticket.Revocation) int {
			if r.By == follow.BlindLimit {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.cutBlind = append(w.cutBlind, r)
			}
			return w.cut(r)
		},
		Hooks: follow.Hooks{
			Node: func(name string, up bool, _ error) {
				w.note(func() { w.ups = append(w.ups, fmt.Sprint(name, " ", up)) })
			},
			Lost:  func(err error) { w.note(func() { w.lost = append(w.lost, err) }) },
			Alarm: func(_ string, err error) { w.note(func() { w.alarms = append(w.alarms, err) }) },
		},
	}
	for i, n := range w.nodes {
		w.config.Nodes = append(w.config.Nodes, follow.Node{Name: fmt.Sprintf("sta-%d", i+1), Source: n})
	}
	for _, c := range change {
		c(&w.config)
	}
	w.Follower, err = follow.New(w.config)
	must(w.t, err)
}

func (w *world) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// run runs the follower until the test ends, or stop is called.
func (w *world) run() *world {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	follower := w.Follower
	go func() { done <- follower.Run(ctx) }()
	w.stopRun = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	w.t.Cleanup(w.stopRun)
	return w
}

// restart ends the gateway's process and starts another on the same state. It
// does not run yet.
func (w *world) restart(change ...func(*follow.Config)) {
	w.t.Helper()
	w.stopRun()
	must(w.t, w.log.Close())
	w.open(change...)
}

func (w *world) issue() (sta.Issued, *ticket.Presentation) {
	w.t.Helper()
	return w.issueFor(sta.IssueRequest{User: "u", Device: "d"})
}

func (w *world) issueFor(r sta.IssueRequest) (sta.Issued, *ticket.Presentation) {
	w.t.Helper()
	issued, err := w.nodes[0].Issue(context.Background(), w.client, r)
	must(w.t, err)
	return issued, &ticket.Presentation{Form: ticket.FormHandle, Handle: issued.Handle}
}

// token is the ticket as a device carries it that needs nobody's help.
func token(i sta.Issued) *ticket.Presentation {
	return &ticket.Presentation{Form: ticket.FormToken, Handle: i.Handle, Statement: i.Statement}
}

// admitted redeems within a device's patience.
func (w *world) redeem(p *ticket.Presentation) (*ticket.Claims, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return w.Redeem(ctx, p)
}

// pull pulls every plug.
func (w *world) pull(out bool) {
	for _, n := range w.nodes {
		n.out.Store(out)
	}
}

// told gives what somebody was told so far.
func (w *world) told(list *[]error) []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(*list)
}

// alarmed tells whether somebody was told of an error.
func (w *world) alarmed(want error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, err := range w.alarms {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

func (w *world) wantUp(want ...bool) {
	w.t.Helper()
	for i, s := range w.Status() {
		if s.Up != want[i] {
			w.t.Errorf("%s up: %v (%v), want %v", s.Name, s.Up, s.Why, want[i])
		}
	}
}

// known tells whether a ticket that was redeemed is admitted.
func (w *world) wantKnown(p *ticket.Presentation, want ticket.Reason) {
	w.t.Helper()
	if _, known, err := w.Known(p); !known || ticket.ReasonOf(err) != want {
		w.t.Errorf("known %v, %v; want %q", known, err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantReason(t testing.TB, err error, want ticket.Reason) {
	t.Helper()
	if ticket.ReasonOf(err) != want {
		t.Errorf("got %v (%q), want %q", err, ticket.ReasonOf(err), want)
	}
}
