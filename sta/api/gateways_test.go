package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// A Client is what a gateway follows.
var _ interface {
	Redeem(ctx context.Context, handle ticket.Hash) (statement string, err error)
	Updates(ctx context.Context, gateway string, after ticket.Positions, wait time.Duration) (ticket.Updates, error)
	ReportCuts(ctx context.Context, gateway string, r ticket.CutReport) error
	SignedKeys(ctx context.Context) (string, error)
} = (*api.Client)(nil)

// A gateway follows through the door: it waits for news, puts them in force, and
// says so; who revoked is told.
func TestFollowingThroughTheDoor(t *testing.T) {
	d := openDoor(t)
	gw, desk := d.client(t, "gw"), d.client(t, "desk")
	issued, err := desk.Issue(t.Context(), sta.IssueRequest{User: "u", Device: "d"})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := gw.SignedKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set, err := ticket.VerifyKeySet(signed, "STA01", d.pin)
	if err != nil {
		t.Fatal(err)
	}
	nothing, err := gw.Updates(t.Context(), "edge-1", nil, 0)
	if err != nil || len(nothing.Logs) > 0 {
		t.Fatalf("%v, %v", nothing, err)
	}
	if _, err := set.VerifyHead(nothing.Head); err != nil {
		t.Error(err)
	}
	log, err := revlog.Open("", "")
	if err != nil {
		t.Fatal(err)
	}
	followed := make(chan error, 1)
	go func() {
		followed <- func() error {
			news, err := gw.Updates(t.Context(), "edge-1", log.Positions(), 5*time.Second)
			if err != nil {
				return err
			}
			entries, err := log.Take(set, news.Logs)
			if err != nil || len(entries) != 1 {
				return fmt.Errorf("took %v: %w", entries, err)
			}
			report := ticket.CutReport{Applied: log.Positions(), Cuts: map[ticket.Ref]int{entries[0].Ref(): 3}}
			return gw.ReportCuts(t.Context(), "edge-1", report)
		}()
	}()
	result, err := desk.Revoke(t.Context(), sta.RevokeRequest{User: "u", Operator: "jürgen"})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
	if len(result.Gateways) != 1 || result.Gateways[0].Name != "gw/edge-1" || !result.Gateways[0].Answered || result.Cut() != 3 ||
		result.Scope != "user" || result.Matched != 1 || !result.SingleCopy || result.Entry.Position != 1 {
		t.Errorf("revoked: %+v", result)
	}
	d.audit.mu.Lock()
	if e := d.audit.events[len(d.audit.events)-1]; e.Operator != "jürgen" || e.Client != "desk" {
		t.Errorf("audited as %+v", e)
	}
	d.audit.mu.Unlock()
	if log.Find(&ticket.Subject{ID: issued.ID, User: "u", Device: "d", Issued: issued.Expires.Add(-168 * time.Hour)}, time.Now()) == nil {
		t.Error("the ticket is good at the gateway")
	}
	// What the authority has it takes back; what it never signed it does not.
	if err := gw.ReportCuts(t.Context(), "gw", ticket.CutReport{Applied: log.Positions(), Logs: log.After(nil, 10)}); err != nil {
		t.Error(err)
	}
	heads, err := gw.Heads(t.Context())
	if err != nil || len(heads) != 1 {
		t.Fatalf("%v, %v", heads, err)
	}
	for node, signed := range heads {
		if head, err := set.VerifyHead(signed); err != nil || head.Node != node {
			t.Errorf("%s: %+v, %v", node, head, err)
		}
	}
}

// A node has wait and 3 s more to begin its answer, then 3 s for each bit of it,
// and 30 s for all.
func TestPatienceOfAClient(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(ctx context.Context) (io.Reader, error)
		want   time.Duration
	}{
		"nothing": {func(ctx context.Context) (io.Reader, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, 8 * time.Second},
		"a beginning": {func(ctx context.Context) (io.Reader, error) {
			time.Sleep(7 * time.Second)
			return &dribble{ctx: ctx, every: time.Hour}, nil
		}, 10 * time.Second},
		"bit by bit": {func(ctx context.Context) (io.Reader, error) {
			return &dribble{ctx: ctx, every: 2 * time.Second}, nil
		}, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport := roundTrip(func(r *http.Request) (*http.Response, error) {
					body, err := test.answer(r.Context())
					if err != nil {
						return nil, err
					}
					return &http.Response{StatusCode: 200, Body: io.NopCloser(body)}, nil
				})
				c, err := api.NewClient(api.ClientConfig{URL: "https://sta", Key: newKey(t), HTTP: &http.Client{Transport: transport}})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_, err = c.Updates(t.Context(), "", nil, time.Hour) // which is 5 s
				wantReason(t, err, ticket.Unavailable)
				if took := time.Since(start); took != test.want || !strings.Contains(err.Error(), "in time") {
					t.Errorf("gave up after %v with %v, want %v", took, err, test.want)
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if _, err := c.Updates(ctx, "", nil, 0); !errors.Is(err, context.Canceled) {
					t.Errorf("when the caller has gone: %v", err)
				}
			})
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// dribble gives a blank every so often.
type dribble struct {
	ctx   context.Context
	every time.Duration
}

func (d *dribble) Read(p []byte) (int, error) {
	select {
	case <-time.After(d.every):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

// What a gateway brings back goes in requests that the door takes.
func TestReportsFit(t *testing.T) {
	logs := make(map[string][]string)
	for i := range 3 {
		writer := fmt.Sprintf("%s.%d", strings.Repeat("w", 60), i)
		for range 300 {
			logs[writer] = append(logs[writer], strings.Repeat("e", 1000+i))
		}
	}
	cuts, applied := make(map[ticket.Ref]int), make(ticket.Positions)
	for i := range uint64(4096) {
		cuts[ticket.Ref{Writer: strings.Repeat("w", 64), Position: ticket.MaxPosition - i}] = 1 << 30
	}
	for i := range ticket.MaxWriters {
		applied[fmt.Sprintf("%060d", i)] = ticket.MaxPosition
	}
	got := make(map[string][]string)
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		var report ticket.CutReport
		if err := errors.Join(err, json.Unmarshal(body, &report)); err != nil || len(body) > 1<<20 || !maps.Equal(report.Cuts, cuts) {
			t.Errorf("%d bytes, %d cuts, %v", len(body), len(report.Cuts), err)
		}
		for writer, entries := range report.Logs {
			got[writer] = append(got[writer], entries...)
		}
		return &http.Response{StatusCode: 204, Body: http.NoBody}, nil
	})
	c, err := api.NewClient(api.ClientConfig{URL: "https://sta", Key: newKey(t), HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ReportCuts(t.Context(), "", ticket.CutReport{Applied: applied, Cuts: cuts, Logs: logs}); err != nil {
		t.Fatal(err)
	}
	for writer, entries := range logs {
		if strings.Join(got[writer], ",") != strings.Join(entries, ",") {
			t.Errorf("of %s %d entries came", writer, len(got[writer]))
		}
	}
}

// The server's bounds leave room for the longest wait, and none for a gateway that
// asks and does not read.
func TestServerWaitsAndDoesNotWait(t *testing.T) {
	for name, reads := range map[string]bool{"a gateway that reads": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				authority, _, err := newAuthority(t.Context(), t.TempDir(), &audit{})
				if err != nil {
					t.Fatal(err)
				}
				key := newKey(t)
				clients, err := sta.NewClients([]sta.ClientConfig{{Name: "gw", Keys: []sta.Key{key}, May: sta.MayRedeem}})
				if err != nil {
					t.Fatal(err)
				}
				conn, roots, closeServer := connect(t, api.NewHandler(authority, clients, api.Options{}))
				defer closeServer()
				secured := secure(t, conn, roots, "http/1.1")
				start := time.Now()
				_, err = io.WriteString(secured, "GET /v1/revocations?wait=5 HTTP/1.1\r\nHost: door\r\n"+
					"Connection: close\r\nAuthorization: Bearer "+key.Reveal()+"\r\n\r\n")
				if err != nil {
					t.Fatal(err)
				}
				if !reads {
					time.Sleep(time.Minute)
				}
				answer, err := io.ReadAll(secured)
				took := time.Since(start)
				if reads && (err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || took != api.MaxWait) {
					t.Errorf("after %v: %s, %v", took, answer, err)
				}
				if !reads && strings.Contains(string(answer), "head") {
					t.Errorf("after %v there still was an answer: %s", took, answer)
				}
			})
		})
	}
}
