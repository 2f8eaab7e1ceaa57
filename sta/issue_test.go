package sta_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func TestIssuedTicketIsGoodAtTheGateway(t *testing.T) {
	w := newWorld(t)
	refreshable := false
	issued, err := w.Issue(t.Context(), desk.From("10.0.0.7:41022"), sta.IssueRequest{
		User: "jürgen.groß", Device: "d€1", App: "Secure Mail", Platform: "iOS",
		Groups: []string{"sales"}, Policy: "field", Services: []string{"mail.example.com:443", "*.example.com:80"},
		Data:     []ticket.Value{{Name: "ICAAddress", Value: "mail.example.com:1494"}},
		Lifetime: time.Hour + 300*time.Millisecond, Refreshable: &refreshable,
	})
	if err != nil {
		t.Fatal(err)
	}
	statement, err := w.Redeem(t.Context(), issued.Handle.Hash())
	if err != nil || statement != issued.Statement {
		t.Fatalf("Redeem gives another statement, or %v", err)
	}
	claims, err := w.verifier.Verify(statement, issued.Handle.Hash())
	if err != nil {
		t.Fatal(err)
	}
	issuedAt := w.clock().Truncate(time.Second)
	if claims.User != "jürgen.groß" || claims.Device != "d€1" || claims.Policy != "field" || claims.Refreshable ||
		len(claims.Services) != 2 || len(claims.Data) != 1 || claims.ID != issued.ID ||
		!claims.NotBefore.Equal(issuedAt) || !claims.Expires.Equal(issuedAt.Add(time.Hour)) || !claims.AuthTime.Equal(issuedAt) {
		t.Errorf("claims are %+v", claims)
	}
	if !issued.Expires.Equal(claims.Expires) || issued.Expires.Location() != time.UTC {
		t.Errorf("Expires is %v", issued.Expires)
	}
	event := w.audit.last(t)
	if event.Text != `STA ticket generated successfully for user "jürgen.groß" for app "Secure Mail"` ||
		event.Ticket != issued.ID || event.Client != "desk" || event.Source != "10.0.0.7:41022" || event.Result != sta.ResultOK {
		t.Errorf("audited as %+v", event)
	}
}

func TestTicketsAreUnlikeEachOther(t *testing.T) {
	w := newWorld(t)
	a, b := w.issue(t), w.issue(t)
	first, _ := w.Show(t.Context(), desk, a.ID)
	second, _ := w.Show(t.Context(), desk, b.ID)
	if a.Handle == b.Handle || a.ID == b.ID || first.Family == second.Family || first.Family == first.ID {
		t.Error("two tickets share a handle, an id or a family")
	}
}

func TestIssueRefuses(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", ticket.MaxText+1)
	groups := make([]string, 30)
	for i := range groups {
		groups[i] = strings.Repeat("g", 100)
	}
	for name, test := range map[string]struct {
		change func(*sta.IssueRequest)
		want   ticket.Reason
	}{
		"no user":             {func(r *sta.IssueRequest) { r.User = "" }, ticket.Invalid},
		"no device":           {func(r *sta.IssueRequest) { r.Device = "" }, ticket.Invalid},
		"long user":           {func(r *sta.IssueRequest) { r.User = long }, ticket.TooLarge},
		"line break":          {func(r *sta.IssueRequest) { r.App = "a\nb" }, ticket.Invalid},
		"escape":              {func(r *sta.IssueRequest) { r.User = "a\x1b[2Jb" }, ticket.Invalid},
		"C1 control":          {func(r *sta.IssueRequest) { r.User = "a\u0085b" }, ticket.Invalid},
		"line separator":      {func(r *sta.IssueRequest) { r.User = "a\u2028b" }, ticket.Invalid},
		"bidi override":       {func(r *sta.IssueRequest) { r.Device = "a\u202eb" }, ticket.Invalid},
		"bidi isolate":        {func(r *sta.IssueRequest) { r.Device = "a\u2066b" }, ticket.Invalid},
		"broken UTF-8":        {func(r *sta.IssueRequest) { r.User = "j\xfcrgen" }, ticket.Invalid},
		"replaced UTF-8":      {func(r *sta.IssueRequest) { r.User = "j\ufffdrgen" }, ticket.Invalid},
		"control in policy":   {func(r *sta.IssueRequest) { r.Policy = "\x00" }, ticket.Invalid},
		"empty group":         {func(r *sta.IssueRequest) { r.Groups = []string{""} }, ticket.Invalid},
		"many groups":         {func(r *sta.IssueRequest) { r.Groups = make([]string, ticket.MaxList+1) }, ticket.TooLarge},
		"no services at all":  {func(r *sta.IssueRequest) { r.Services = []string{} }, ticket.Invalid},
		"service, no port":    {func(r *sta.IssueRequest) { r.Services = []string{"mail.example.com"} }, ticket.Invalid},
		"service, port 0":     {func(r *sta.IssueRequest) { r.Services = []string{"mail.example.com:0"} }, ticket.Invalid},
		"service, port 0443":  {func(r *sta.IssueRequest) { r.Services = []string{"mail.example.com:0443"} }, ticket.Invalid},
		"service, port +443":  {func(r *sta.IssueRequest) { r.Services = []string{"mail.example.com:+443"} }, ticket.Invalid},
		"service, port 65536": {func(r *sta.IssueRequest) { r.Services = []string{"mail.example.com:65536"} }, ticket.Invalid},
		"service, blank":      {func(r *sta.IssueRequest) { r.Services = []string{" mail.example.com:443"} }, ticket.Invalid},
		"service, two":        {func(r *sta.IssueRequest) { r.Services = []string{"a:1,b:2"} }, ticket.Invalid},
		"service, IPv6":       {func(r *sta.IssueRequest) { r.Services = []string{"[::1]:443"} }, ticket.Invalid},
		"service, no label":   {func(r *sta.IssueRequest) { r.Services = []string{"a..b:443"} }, ticket.Invalid},
		"service, all":        {func(r *sta.IssueRequest) { r.Services = []string{"*:443"} }, ticket.Invalid},
		"much data":           {func(r *sta.IssueRequest) { r.Data = make([]ticket.Value, ticket.MaxData+1) }, ticket.TooLarge},
		"nameless data":       {func(r *sta.IssueRequest) { r.Data = []ticket.Value{{Value: "x"}} }, ticket.Invalid},
		"big data": {func(r *sta.IssueRequest) {
			r.Data = []ticket.Value{{Name: "n", Value: strings.Repeat("x", ticket.MaxDataBytes)}}
		}, ticket.TooLarge},
		"token over 4 KiB": {func(r *sta.IssueRequest) { r.Groups = groups }, ticket.TooLarge},
		"short life":       {func(r *sta.IssueRequest) { r.Lifetime = time.Millisecond }, ticket.Invalid},
		"negative life":    {func(r *sta.IssueRequest) { r.Lifetime = -time.Hour }, ticket.Invalid},
		"long life":        {func(r *sta.IssueRequest) { r.Lifetime = 169 * time.Hour }, ticket.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			request := sta.IssueRequest{User: "user2", Device: "d1", App: "Secure Mail"}
			test.change(&request)
			_, err := w.Issue(t.Context(), desk, request)
			wantReason(t, err, test.want)
			event := w.audit.last(t)
			if event.Result != sta.ResultRefused || event.Reason != test.want || event.Client != "desk" {
				t.Errorf("audited as %+v", event)
			}
			for _, text := range []string{event.User, event.Device, event.App, event.Text} {
				if !utf8.ValidString(text) || strings.ContainsAny(text, "\n\x1b\u0085\u2028\u202e\u2066") || len(text) > 2*ticket.MaxText {
					t.Errorf("audited verbatim: %q", text)
				}
			}
		})
	}
	if page, err := w.List(t.Context(), desk, sta.Filter{}); err != nil || len(page.Tickets) != 0 {
		t.Errorf("%d tickets were stored all the same (%v)", len(page.Tickets), err)
	}
}

func TestAnonymousTickets(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Issue(t.Context(), desk, sta.IssueRequest{Anonymous: true}); err != nil {
		t.Error(err)
	}
	if got := w.audit.last(t).Text; got != "STA ticket generated successfully" {
		t.Errorf("audited as %q", got)
	}
}

func TestRightsAndLimitsOfClients(t *testing.T) {
	w := newWorld(t)
	request := sta.IssueRequest{User: "u", Device: "d"}
	_, err := w.Issue(t.Context(), nil, request)
	wantReason(t, err, ticket.Unauthenticated)
	_, err = w.Issue(t.Context(), &sta.Client{Name: "gw", May: sta.MayRedeem}, request)
	wantReason(t, err, ticket.Forbidden)
	if e := w.audit.last(t); e.Reason != ticket.Forbidden || e.Client != "gw" {
		t.Errorf("audited as %+v", e)
	}

	narrow := &sta.Client{Name: "narrow", May: sta.DefaultRights, Policies: []string{"sales"}, MaxLifetime: time.Hour}
	request.Policy = "board"
	_, err = w.Issue(t.Context(), narrow, request)
	wantReason(t, err, ticket.Forbidden)
	request.Policy = "sales"
	issued, err := w.Issue(t.Context(), narrow, request)
	if err != nil {
		t.Fatal(err)
	}
	if life := issued.Expires.Sub(w.clock().Truncate(time.Second)); life != time.Hour {
		t.Errorf("default life is %v, want the client's hour", life)
	}
	request.Lifetime = time.Hour + time.Second
	_, err = w.Issue(t.Context(), narrow, request)
	wantReason(t, err, ticket.Invalid)

	for _, c := range []*sta.Client{nil, narrow} {
		want := ticket.Forbidden
		if c == nil {
			want = ticket.Unauthenticated
		}
		_, err = w.Revoke(t.Context(), c, sta.RevokeRequest{Ticket: issued.ID})
		wantReason(t, err, want)
		_, err = w.Show(t.Context(), c, issued.ID)
		wantReason(t, err, want)
		_, err = w.List(t.Context(), c, sta.Filter{})
		wantReason(t, err, want)
	}
	if _, err := w.Redeem(t.Context(), issued.Handle.Hash()); err != nil {
		t.Errorf("the ticket suffered: %v", err)
	}
}

// Whoever may issue for some policies only issues tickets that name one of them:
// groups, platform and app, which he chooses too, choose none.
func TestTicketsNameAPolicyOfTheirClient(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		policies []string // of the client; nil is any
		asked    string
		named    string
		reason   ticket.Reason
	}{
		{nil, "", "", ""},
		{nil, "sales", "sales", ""},
		{[]string{"sales", "lab"}, "", "sales", ""},
		{[]string{"sales", "lab"}, "lab", "lab", ""},
		{[]string{"sales", "default"}, "", "default", ""},
		{[]string{"sales", "default"}, "default", "default", ""},
		{[]string{"sales", "default"}, "sales", "sales", ""},
		{[]string{"sales"}, "default", "", ticket.Forbidden},
		{[]string{"default"}, "sales", "", ticket.Forbidden},
		{[]string{}, "", "", ticket.Forbidden},
		{[]string{}, "sales", "", ticket.Forbidden},
	} {
		client := &sta.Client{Name: "c", May: sta.DefaultRights, Policies: c.policies}
		issued, err := w.Issue(t.Context(), client, sta.IssueRequest{User: "u", Device: "d", Groups: []string{"directors"}, Policy: c.asked})
		if ticket.ReasonOf(err) != c.reason {
			t.Errorf("%q of %q: %v", c.asked, c.policies, err)
		}
		if err != nil {
			continue
		}
		if shown, err := w.Show(t.Context(), desk, issued.ID); err != nil || shown.Policy != c.named {
			t.Errorf("%q of %q: the record names %q, %v", c.asked, c.policies, shown.Policy, err)
		}
		if claims, err := w.verifier.Verify(issued.Statement, issued.Handle.Hash()); err != nil || claims.Policy != c.named {
			t.Errorf("%q of %q: the ticket names %+v, %v", c.asked, c.policies, claims, err)
		}
	}
}

func TestNoTicketLeavesUnaudited(t *testing.T) {
	var failed error
	w := newWorld(t, func(c *sta.Config) { c.Hooks.AuditFailed = func(err error) { failed = err } })
	w.audit.full = true
	issued, err := w.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
	wantReason(t, err, ticket.Unavailable)
	if !issued.Handle.IsZero() || issued.Statement != "" {
		t.Error("a ticket came with the error")
	}
	if page, _ := w.List(t.Context(), desk, sta.Filter{}); len(page.Tickets) != 0 {
		t.Error("the record was left in the store")
	}
	if !errors.Is(failed, errDiskFull) {
		t.Errorf("the hook was told %v", failed)
	}
}

// brokenStore fails to write.
type brokenStore struct{ sta.Store }

func (brokenStore) Put(context.Context, *sta.Record) error { return errDiskFull }

func TestNoTicketLeavesUnstored(t *testing.T) {
	w := newWorld(t, func(c *sta.Config) { c.Store = brokenStore{c.Store} })
	_, err := w.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: "d"})
	wantReason(t, err, ticket.Unavailable)
	if e := w.audit.last(t); e.Result != sta.ResultFailed || strings.Contains(e.Text, "successfully") {
		t.Errorf("audited as %+v", e)
	}
}

// A client hangs up when its ticket is stored and not yet audited.
type hangUp struct {
	sta.Store
	hangUp func()
}

func (s hangUp) Put(ctx context.Context, r *sta.Record) error {
	defer s.hangUp()
	return s.Store.Put(ctx, r)
}

func TestClientThatHangsUpIsNoFailureOfTheAuditLog(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var failed error
	w := newWorld(t, func(c *sta.Config) {
		c.Store = hangUp{c.Store, cancel}
		c.Hooks.AuditFailed = func(err error) { failed = err }
	})
	issued, err := w.Issue(ctx, desk, sta.IssueRequest{User: "u", Device: "d"})
	if err != nil || failed != nil || ctx.Err() == nil {
		t.Errorf("issued with %v, hook told %v, client %v", err, failed, ctx.Err())
	}
	// What the log says was done must be so: the ticket can be found and revoked.
	if e := w.audit.last(t); e.Result != sta.ResultOK || e.Ticket != issued.ID {
		t.Errorf("audited as %+v", e)
	}
	if _, err := w.Show(t.Context(), desk, issued.ID); err != nil {
		t.Error(err)
	}
}

func TestHandlesInTheWrongPlaceAreNotAudited(t *testing.T) {
	w := newWorld(t)
	handle := ticket.NewHandle().Reveal()
	long := strings.Repeat("x", ticket.MaxText/10-10) + handle + strings.Repeat("x", ticket.MaxText)
	for name, request := range map[string]sta.IssueRequest{
		"user":             {User: handle},
		"device":           {Device: ";40;STA01;" + handle},
		"app":              {App: "a.b.c~" + handle},
		"longer":           {User: "A" + handle + "9"},
		"cut in the midst": {User: long},
		"with a control":   {User: handle + "\n"},
		"two":              {User: handle + " " + handle},
	} {
		_, err := w.Issue(t.Context(), desk, request)
		e := w.audit.last(t)
		if err == nil || e.Result != sta.ResultRefused {
			t.Fatalf("%s: %v, %+v; want a refusal", name, err, e)
		}
		if text := fmt.Sprintf("%+v %v", e, err); strings.Contains(text, handle[:10]) || !strings.Contains(text, "[secret]") {
			t.Errorf("%s: audited as %s", name, text)
		}
	}
	_, err := w.Revoke(t.Context(), desk, sta.RevokeRequest{Ticket: handle})
	if e := w.audit.last(t); e.Reason != ticket.NotFound || e.Ticket != "[secret]" || strings.Contains(err.Error(), handle) {
		t.Errorf("revoking by the handle: %v, audited as %+v", err, e)
	}

	// What was accepted stays: devices are called so.
	device := strings.Repeat("0123456789ABCDEF", 4)
	issued, err := w.Issue(t.Context(), desk, sta.IssueRequest{User: "u", Device: device})
	if err != nil || w.audit.last(t).Device != device {
		t.Errorf("%v, audited as %+v", err, w.audit.last(t))
	}
	w.revoke(t, issued.ID)
	if e := w.audit.last(t); e.Device != device {
		t.Errorf("audited as %+v", e)
	}
}

func TestRedact(t *testing.T) {
	const h = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	for text, want := range map[string]string{
		"": "", "Jürgen €": "Jürgen €", h[1:]: h[1:], h: "[secret]", h + h: "[secret]",
		"é" + h + "é": "é[secret]é", h[:16] + "a" + h[16:]: h[:16] + "a" + h[16:], h + "_" + h: "[secret]_[secret]",
		strings.ToLower(h): strings.ToLower(h), "\xff" + h: "\xff[secret]", "A-" + h + "a": "A-[secret]a",
	} {
		if got := sta.Redact(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	for _, seed := range []string{"", "a", "0123456789ABCDEFGHIJKLMNOPQRSTUV", "x0123456789ABCDEFGHIJKLMNOPQRSTUVWX y", "\xffA"} {
		f.Add(seed)
	}
	run := regexp.MustCompile(`[0-9A-Z]{32,}`)
	f.Fuzz(func(t *testing.T, text string) {
		if got, want := sta.Redact(text), run.ReplaceAllLiteralString(text, "[secret]"); got != want && utf8.ValidString(text) {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
		if run.MatchString(sta.Redact(text)) {
			t.Errorf("%q left a run", text)
		}
	})
}
