package follow_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/ticket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	authorityID = "STA01"
	fqdn        = "gateway3.example.com"
)

// source is the real authority, with a count of what is asked and a plug.
type source struct {
	*sta.Authority
	redeems atomic.Int64
	out     atomic.Bool
	hold    chan struct{} // when set, a redeem waits for it
	reports sync.Map      // serial → cut
}

var errOut = errors.New("the plug is pulled")

func (s *source) Redeem(ctx context.Context, h ticket.Hash) (string, error) {
	s.redeems.Add(1)
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if s.out.Load() {
		return "", errOut
	}
	return s.Authority.Redeem(ctx, h)
}

func (s *source) Revocations(ctx context.Context, gateway string, after uint64, wait time.Duration) ([]ticket.Revocation, error) {
	if s.out.Load() {
		return nil, errOut
	}
	return s.Authority.Revocations(ctx, gateway, after, wait)
}

func (s *source) ReportCuts(ctx context.Context, gateway string, serial uint64, cut int) error {
	s.reports.Store(serial, cut)
	return s.Authority.ReportCuts(ctx, gateway, serial, cut)
}

type noAudit struct{}

func (noAudit) Append(context.Context, sta.Event) error { return nil }

// world is an authority and a follower. It runs inside or outside a synctest
// bubble, and stops with the test.
type world struct {
	*follow.Follower
	t      testing.TB
	source *source
	client *sta.Client
	cut    func(*ticket.Revocation) int
	lost   chan error
}

func newWorld(t testing.TB, change func(*world, *follow.Config)) *world {
	t.Helper()
	_, root, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signed, err := ticket.SignKeySet(root, authorityID, 1, time.Now(), []ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
	must(t, err)
	keys, err := ticket.VerifyKeySet(signed, authorityID, ticket.Pin(root.Public().(ed25519.PublicKey)))
	must(t, err)
	signer, err := ticket.NewSigner(authorityID, key)
	must(t, err)
	authority, err := sta.New(sta.Config{
		ID: authorityID, Audience: []string{fqdn}, Signer: signer, Keys: keys,
		Store: sta.NewMemoryStore(), Audit: noAudit{},
	})
	must(t, err)
	w := &world{
		t: t, source: &source{Authority: authority}, lost: make(chan error, 16),
		client: &sta.Client{Name: "enrolment", May: sta.MayIssue | sta.MayRevoke},
		cut:    func(*ticket.Revocation) int { return 0 },
	}
	config := follow.Config{
		Gateway: "gw-1", Audience: fqdn, Source: w.source, Keys: keys,
		Cut:  func(r *ticket.Revocation) int { return w.cut(r) },
		Lost: func(err error) { w.lost <- err },
	}
	if change != nil {
		change(w, &config)
	}
	w.Follower, err = follow.New(config)
	must(t, err)
	return w
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
}

func (w *world) issue(lifetime time.Duration) (sta.Issued, *ticket.Presentation) {
	w.t.Helper()
	issued, err := w.source.Issue(context.Background(), w.client, sta.IssueRequest{User: "u", Device: "d", Lifetime: lifetime})
	must(w.t, err)
	return issued, &ticket.Presentation{Form: ticket.FormHandle, Handle: issued.Handle}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantReason(t *testing.T, err error, want ticket.Reason) {
	t.Helper()
	if ticket.ReasonOf(err) != want {
		t.Errorf("got %v (%s), want %s", err, ticket.ReasonOf(err), want)
	}
}

func TestRedeemedOnceThenKnown(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	issued, p := w.issue(0)
	if _, known, _ := w.Known(p); known {
		t.Error("known before it was redeemed")
	}
	claims, err := w.Redeem(t.Context(), p)
	must(t, err)
	again, known, err := w.Known(p)
	if !known || err != nil || again != claims || claims.ID != issued.ID {
		t.Errorf("known %v, %v", known, err)
	}
	if n := w.source.redeems.Load(); n != 1 {
		t.Errorf("%d redeems", n)
	}
	named := &ticket.Presentation{Form: ticket.FormSTA, Authority: "STA02", Handle: issued.Handle}
	if _, _, err := w.Known(named); ticket.ReasonOf(err) != ticket.WrongAuthority {
		t.Errorf("known, but named for another authority: %v", err)
	}
	_, err = w.Redeem(t.Context(), named)
	wantReason(t, err, ticket.WrongAuthority)
}

// A statement beside a known handle is still judged: only the one that was
// verified is known, and another's is refused, first time or not.
func TestStatementBesideKnownHandle(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	issued, p := w.issue(0)
	other, _ := w.issue(0)
	_, err := w.Redeem(t.Context(), p)
	must(t, err)
	its := &ticket.Presentation{Form: ticket.FormToken, Handle: issued.Handle, Statement: issued.Statement}
	if _, known, err := w.Known(its); !known || err != nil {
		t.Errorf("with its own statement: known %v, %v", known, err)
	}
	swapped := &ticket.Presentation{Form: ticket.FormToken, Handle: issued.Handle, Statement: other.Statement}
	for range 2 {
		if _, known, _ := w.Known(swapped); known {
			t.Error("known by another's statement")
		}
		_, err = w.Redeem(t.Context(), swapped)
		wantReason(t, err, ticket.Mismatch)
	}
}

// A storm of the same unknown ticket is one question to the authority, and
// a caller that gives up does not spoil it for the others.
func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.source.hold = make(chan struct{})
		w.run()
		_, p := w.issue(0)
		gone, leave := context.WithCancel(context.Background())
		first := make(chan error, 1)
		go func() { _, err := w.Redeem(gone, p); first <- err }()
		synctest.Wait()
		results := make(chan error, 10)
		for range 10 {
			go func() { _, err := w.Redeem(context.Background(), p); results <- err }()
		}
		synctest.Wait()
		leave()
		wantReason(t, <-first, ticket.Unavailable)
		close(w.source.hold)
		for range 10 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := w.source.redeems.Load(); n != 1 {
			t.Errorf("%d redeems", n)
		}
	})
}

func TestColdRedeemsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, asked = 4, 12
		w := newWorld(t, func(_ *world, c *follow.Config) { c.MaxCold = most })
		w.source.hold = make(chan struct{})
		w.run()
		results := make(chan error, asked)
		for range asked {
			_, p := w.issue(0)
			go func() { _, err := w.Redeem(context.Background(), p); results <- err }()
		}
		synctest.Wait()
		if n := w.source.redeems.Load(); n != most {
			t.Errorf("%d in flight, want %d", n, most)
		}
		close(w.source.hold)
		for range asked {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

// Whoever waits for a turn longer than a redeem may take is told that nothing is
// known of the ticket.
func TestNoTurnInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(_ *world, c *follow.Config) { c.MaxCold = 1 })
		w.source.hold = make(chan struct{})
		w.run()
		_, a := w.issue(0)
		_, b := w.issue(0)
		results := make(chan error, 2)
		go func() { _, err := w.Redeem(context.Background(), a); results <- err }()
		go func() { _, err := w.Redeem(context.Background(), b); results <- err }()
		reasons := map[ticket.Reason]int{}
		for range 2 {
			reasons[ticket.ReasonOf(<-results)]++
		}
		if reasons[ticket.Busy] != 1 || reasons[ticket.Unavailable] != 1 {
			t.Errorf("reasons %v", reasons)
		}
	})
}

func TestRefusalsAreRememberedBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.run()
		p := &ticket.Presentation{Form: ticket.FormHandle, Handle: ticket.NewHandle()}
		for range 5 {
			_, err := w.Redeem(context.Background(), p)
			wantReason(t, err, ticket.Unknown)
		}
		if n := w.source.redeems.Load(); n != 1 {
			t.Errorf("%d redeems", n)
		}
		time.Sleep(6 * time.Second)
		_, err := w.Redeem(context.Background(), p)
		wantReason(t, err, ticket.Unknown)
		if n := w.source.redeems.Load(); n != 2 {
			t.Errorf("%d redeems after the refusal was forgotten", n)
		}
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.run()
		_, p := w.issue(time.Minute)
		_, err := w.Redeem(context.Background(), p)
		must(t, err)
		time.Sleep(59 * time.Second)
		if _, known, err := w.Known(p); !known || err != nil {
			t.Errorf("before expiry: %v %v", known, err)
		}
		time.Sleep(time.Second)
		_, known, err := w.Known(p)
		if !known {
			t.Error("forgotten")
		}
		wantReason(t, err, ticket.Expired)
	})
}

// The cut is called with the revocation already in force, and reported.
func TestRevocation(t *testing.T) {
	w := newWorld(t, nil)
	issued, p := w.issue(0)
	var claims *ticket.Claims
	w.cut = func(r *ticket.Revocation) int {
		if !r.Covers(claims) || !w.Revoked(claims) {
			t.Error("cut before the revocation was in force")
		}
		return 7
	}
	w.run()
	var err error
	claims, err = w.Redeem(t.Context(), p)
	must(t, err)
	if w.Revoked(claims) {
		t.Error("revoked too early")
	}
	result, err := w.source.Revoke(t.Context(), w.client, issued.ID)
	must(t, err)
	if len(result.Gateways) != 1 || result.Gateways[0].Cut != 7 || !result.Gateways[0].Answered {
		t.Errorf("%+v", result)
	}
	_, _, err = w.Known(p)
	wantReason(t, err, ticket.Revoked)
	_, err = w.Redeem(t.Context(), p)
	wantReason(t, err, ticket.Revoked)
	if cut, ok := w.source.reports.Load(result.Serial); !ok || cut != 7 {
		t.Errorf("reported %v", cut)
	}
}

// A gateway admits nobody before it knows what was revoked.
func TestNobodyBeforeRevocationsAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.source.out.Store(true)
		w.run()
		_, p := w.issue(0)
		token := &ticket.Presentation{Form: ticket.FormToken, Handle: p.Handle}
		for _, p := range []*ticket.Presentation{p, token} {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := w.Redeem(ctx, p)
			cancel()
			wantReason(t, err, ticket.Unavailable)
		}
		if err := <-w.lost; !errors.Is(err, errOut) {
			t.Errorf("lost by %v", err)
		}
		w.source.out.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := w.Redeem(ctx, p)
		must(t, err)
		if err := <-w.lost; err != nil {
			t.Errorf("found again by %v", err)
		}
	})
}

// When revocations cannot be followed, tickets are good for the grace and no
// longer, and good again when they can.
func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.run()
		_, p := w.issue(0)
		_, err := w.Redeem(context.Background(), p)
		must(t, err)
		w.source.out.Store(true)
		time.Sleep(14 * time.Minute)
		if _, known, err := w.Known(p); !known || err != nil {
			t.Errorf("within the grace: %v, %v", known, err)
		}
		time.Sleep(2 * time.Minute)
		_, _, err = w.Known(p)
		wantReason(t, err, ticket.Unavailable)
		issued, _ := w.issue(0)
		_, err = w.Redeem(context.Background(), &ticket.Presentation{
			Form: ticket.FormToken, Statement: issued.Statement, Handle: issued.Handle,
		})
		wantReason(t, err, ticket.Unavailable)
		w.source.out.Store(false)
		time.Sleep(10 * time.Second)
		if _, known, err := w.Known(p); !known || err != nil {
			t.Errorf("after it: %v, %v", known, err)
		}
	})
}

// Everything revoked before the gateway began is known once it admits anyone,
// however many pages that takes.
func TestManyOldRevocations(t *testing.T) {
	w := newWorld(t, nil)
	const many = 2500
	var last sta.Issued
	for range many {
		last, _ = w.issue(0)
		_, err := w.source.Revoke(t.Context(), w.client, last.ID)
		must(t, err)
	}
	w.run()
	_, err := w.Redeem(t.Context(), &ticket.Presentation{Form: ticket.FormToken, Statement: last.Statement, Handle: last.Handle})
	wantReason(t, err, ticket.Revoked)
}

// A carried statement is judged without the authority, and a forged one neither
// opens nor poisons what is known of the handle.
func TestTokens(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	issued, bare := w.issue(0)
	other, _ := w.issue(0)
	forged := &ticket.Presentation{Form: ticket.FormToken, Statement: other.Statement, Handle: issued.Handle}
	_, err := w.Redeem(t.Context(), forged)
	wantReason(t, err, ticket.Mismatch)
	if _, known, _ := w.Known(bare); known {
		t.Error("a forgery made the handle known")
	}
	good := &ticket.Presentation{Form: ticket.FormToken, Statement: issued.Statement, Handle: issued.Handle}
	if _, err := w.Redeem(t.Context(), good); err != nil {
		t.Error(err)
	}
	if n := w.source.redeems.Load(); n != 0 {
		t.Errorf("%d redeems for tokens", n)
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t, nil)
	for name, c := range map[string]follow.Config{
		"nothing":     {},
		"no audience": {Source: w.source, Keys: &ticket.KeySet{}, Cut: w.cut},
		"no cut":      {Source: w.source, Keys: &ticket.KeySet{}, Audience: fqdn},
	} {
		if _, err := follow.New(c); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

// What a warm ticket costs: hash, look-up, expiry and revocation. Pinned at no
// allocation, because every tunnel pays it.
func TestKnownAllocatesNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.run()
	_, p := w.issue(0)
	_, err := w.Redeem(t.Context(), p)
	must(t, err)
	if n := testing.AllocsPerRun(1000, func() { _, _, _ = w.Known(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
