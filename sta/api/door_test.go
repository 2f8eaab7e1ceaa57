package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
	"github.com/sallyport/sallyport/sta/ticket"
)

func wantReason(t *testing.T, err error, want ticket.Reason) {
	t.Helper()
	if got := ticket.ReasonOf(err); got != want {
		t.Errorf("reason is %q (%v), want %q", got, err, want)
	}
}

func TestLifeOfATicketThroughTheDoor(t *testing.T) {
	d := openDoor(t)
	desk, gw := d.client(t, "desk"), d.client(t, "gw")
	refreshable := false
	issued, err := d.client(t, "enrolment").Issue(t.Context(), sta.IssueRequest{
		User: "jürgen", Device: "d€1", App: "Secure Mail", Groups: []string{"sales"}, Services: []string{"mail.example.com:443"},
		Data: []ticket.Value{{Name: "n", Value: "v"}}, Lifetime: time.Hour, Refreshable: &refreshable,
	})
	if err != nil {
		t.Fatal(err)
	}
	statement, err := gw.Redeem(t.Context(), issued.Handle.Hash())
	if err != nil {
		t.Fatal(err)
	}
	claims, err := d.verifier.Verify(statement, issued.Handle.Hash())
	if err != nil || claims.User != "jürgen" || claims.Refreshable || len(claims.Data) != 1 || !claims.Expires.Equal(issued.Expires) {
		t.Errorf("claims are %+v, %v", claims, err)
	}
	shown, err := desk.Show(t.Context(), issued.ID)
	if err != nil || shown.Status != sta.Valid || shown.Client != "enrolment" || shown.Device != "d€1" {
		t.Errorf("shown as %+v, %v", shown, err)
	}
	result, err := desk.Revoke(t.Context(), sta.RevokeRequest{Ticket: issued.ID})
	if err != nil || result.Already || result.Family != shown.Family || result.Entry.Position != 1 || result.Matched != 1 {
		t.Errorf("revoked: %+v, %v", result, err)
	}
	if again, err := desk.Revoke(t.Context(), sta.RevokeRequest{Ticket: issued.ID}); err != nil || !again.Already {
		t.Errorf("revoked again: %+v, %v", again, err)
	}
	_, err = gw.Redeem(t.Context(), issued.Handle.Hash())
	wantReason(t, err, ticket.Revoked)
	_, err = gw.Redeem(t.Context(), ticket.NewHandle().Hash())
	wantReason(t, err, ticket.Unknown)
	_, err = desk.Show(t.Context(), "aaaa")
	wantReason(t, err, ticket.NotFound)
}

func TestPagesThroughTheDoor(t *testing.T) {
	d := openDoor(t)
	desk := d.client(t, "desk")
	for range 5 {
		if _, err := desk.Issue(t.Context(), sta.IssueRequest{User: "a&b=c", Device: "d"}); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[string]bool)
	filter := sta.Filter{User: "a&b=c", Status: sta.Valid, Limit: 2}
	for pages := 1; ; pages++ {
		page, err := desk.List(t.Context(), filter)
		if err != nil || pages > 3 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, shown := range page.Tickets {
			seen[shown.ID] = true
		}
		if filter.After = page.Next; page.Next == "" {
			break
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d tickets, want 5", len(seen))
	}
	if none := d.send(t, "GET", "/v1/tickets?user=nobody", "", d.as("desk")); string(none.body) != `{"tickets":[]}`+"\n" {
		t.Errorf("an empty list is %s", none.body)
	}
}

func TestAnswerToIssue(t *testing.T) {
	d := openDoor(t)
	a := d.send(t, "POST", "/v1/tickets", `{"user":"u","device":"d"}`, d.as("enrolment"))
	if a.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	var members map[string]string
	if err := json.Unmarshal(a.body, &members); err != nil {
		t.Fatal(err)
	}
	if len(members) != 4 || !regexp.MustCompile(`^[0-9A-Z]{32}$`).MatchString(members["ticket"]) ||
		!strings.HasSuffix(members["token"], "~"+members["ticket"]) || members["id"] == "" ||
		!regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(members["expires"]) {
		t.Errorf("answer is %s", a.body)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Content-Type": "application/json", "Server": ""} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestStrangersLearnNothing(t *testing.T) {
	d := openDoor(t)
	issued, err := d.client(t, "desk").Issue(t.Context(), sta.IssueRequest{User: "u", Device: "d"})
	if err != nil {
		t.Fatal(err)
	}
	good := d.keys["desk"].Reveal()
	var first *answer
	for _, request := range []struct{ method, path string }{
		{"GET", "/v1/tickets"}, {"POST", "/v1/tickets"}, {"PUT", "/v1/tickets"}, {"GET", "/v1/tickets/" + issued.ID},
		{"DELETE", "/v1/tickets/" + issued.ID}, {"GET", "/"}, {"GET", "/nothing"}, {"POST", "/v1/redeem"}, {"GET", "//v1//x/.."},
	} {
		for _, authorization := range [][]string{
			nil, {"Bearer"}, {"Bearer "}, {"Bearer x"}, {"Basic " + good}, {good}, {"Bearer " + good[:40]},
			{"Bearer " + good, "Bearer " + good}, {"Bearer  " + good},
		} {
			header := http.Header{"Authorization": authorization, "Content-Type": {"text/plain"}}
			a := d.send(t, request.method, request.path, "{", header)
			if a.StatusCode != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Fatalf("%v with %q: %d", request, authorization, a.StatusCode)
			}
			if p := a.problem(t); p.Reason != ticket.Unauthenticated || p.Status != 401 || p.Title != "Unauthorized" {
				t.Errorf("problem is %s", a.body)
			}
			a.Header.Del("Date")
			if first == nil {
				first = a
			}
			if string(a.body) != string(first.body) || len(a.Header) != len(first.Header) {
				t.Errorf("%v with %q is answered otherwise: %v %s", request, authorization, a.Header, a.body)
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.access[1:] {
		if a.Client != "" || a.Route != "" || a.Status != 401 {
			t.Fatalf("logged as %+v", a)
		}
	}
}

func TestRefusals(t *testing.T) {
	d := openDoor(t)
	hash := `{"hash":"` + ticket.NewHandle().Hash().String() + `"}`
	good := `{"user":"u","device":"d"}`
	for name, test := range map[string]struct {
		client, method, path, body string
		status                     int
		reason                     ticket.Reason
	}{
		"may not list":       {"enrolment", "GET", "/v1/tickets", "", 403, ticket.Forbidden},
		"may not show":       {"enrolment", "GET", "/v1/tickets/aaaa", "", 403, ticket.Forbidden},
		"may not revoke":     {"enrolment", "DELETE", "/v1/tickets/aaaa", "", 403, ticket.Forbidden},
		"may not redeem":     {"enrolment", "POST", "/v1/redeem", hash, 403, ticket.Forbidden},
		"may not issue":      {"gw", "POST", "/v1/tickets", good, 403, ticket.Forbidden},
		"nowhere":            {"desk", "GET", "/v1/nothing", "", 404, ticket.NotFound},
		"with a slash":       {"desk", "GET", "/v1/tickets/", "", 404, ticket.NotFound},
		"no such id":         {"desk", "GET", "/v1/tickets/aaaa", "", 404, ticket.NotFound},
		"no id":              {"desk", "GET", "/v1/tickets/A%0Ab", "", 404, ticket.NotFound},
		"unknown ticket":     {"gw", "POST", "/v1/redeem", hash, 404, ticket.Unknown},
		"bad hash":           {"gw", "POST", "/v1/redeem", `{"hash":"abc"}`, 400, ticket.Malformed},
		"no hash":            {"gw", "POST", "/v1/redeem", `{}`, 400, ticket.Malformed},
		"no user":            {"desk", "POST", "/v1/tickets", `{"device":"d"}`, 422, ticket.Invalid},
		"empty services":     {"desk", "POST", "/v1/tickets", `{"user":"u","device":"d","services":[]}`, 422, ticket.Invalid},
		"no life":            {"desk", "POST", "/v1/tickets", `{"user":"u","device":"d","lifetime":0}`, 422, ticket.Invalid},
		"endless life":       {"desk", "POST", "/v1/tickets", `{"user":"u","device":"d","lifetime":9223372036854775807}`, 422, ticket.Invalid},
		"unknown member":     {"desk", "POST", "/v1/tickets", `{"user":"u","device":"d","x":1}`, 400, ticket.Invalid},
		"empty body":         {"desk", "POST", "/v1/tickets", "", 400, ticket.Invalid},
		"body too large":     {"desk", "POST", "/v1/tickets", `{"user":"` + strings.Repeat("u", api.MaxBody) + `"}`, 413, ticket.TooLarge},
		"unknown parameter":  {"desk", "GET", "/v1/tickets?usr=a", "", 400, ticket.Invalid},
		"parameter twice":    {"desk", "GET", "/v1/tickets?user=a&user=b", "", 400, ticket.Invalid},
		"limit 0":            {"desk", "GET", "/v1/tickets?limit=0", "", 400, ticket.Invalid},
		"limit 1001":         {"desk", "GET", "/v1/tickets?limit=1001", "", 422, ticket.Invalid},
		"status":             {"desk", "GET", "/v1/tickets?status=good", "", 422, ticket.Invalid},
		"cursor":             {"desk", "GET", "/v1/tickets?after=!", "", 422, ticket.Invalid},
		"semicolon in query": {"desk", "GET", "/v1/tickets?user=a;device=b", "", 400, ticket.Invalid},
		"query of a body":    {"desk", "POST", "/v1/tickets?user=u", good, 400, ticket.Invalid},

		"may not revoke any":   {"enrolment", "POST", "/v1/revocations", `{"all":true}`, 403, ticket.Forbidden},
		"revoke nothing":       {"desk", "POST", "/v1/revocations", `{}`, 422, ticket.Invalid},
		"revoke two things":    {"desk", "POST", "/v1/revocations", `{"all":true,"user":"u"}`, 422, ticket.Invalid},
		"empty user":           {"desk", "POST", "/v1/revocations", `{"user":"","device":"d"}`, 422, ticket.Invalid},
		"not all":              {"desk", "POST", "/v1/revocations", `{"all":false}`, 422, ticket.Invalid},
		"stage 0":              {"desk", "POST", "/v1/revocations", `{"all":true,"stage":0}`, 422, ticket.Invalid},
		"stage of a user":      {"desk", "POST", "/v1/revocations", `{"user":"u","stage":60}`, 422, ticket.Invalid},
		"stage of a year":      {"desk", "POST", "/v1/revocations", `{"all":true,"stage":31536000}`, 422, ticket.Invalid},
		"before when":          {"desk", "POST", "/v1/revocations", `{"all":true,"before":"2026-03-01"}`, 422, ticket.Invalid},
		"before a ticket":      {"desk", "POST", "/v1/revocations", `{"ticket":"aaaa","before":"2026-03-01T00:00:00Z"}`, 422, ticket.Invalid},
		"before the future":    {"desk", "POST", "/v1/revocations", `{"all":true,"before":"2999-03-01T00:00:00Z"}`, 422, ticket.Invalid},
		"no such ticket":       {"desk", "POST", "/v1/revocations", `{"ticket":"aaaa"}`, 404, ticket.NotFound},
		"no such family":       {"desk", "POST", "/v1/revocations", `{"family":"A"}`, 404, ticket.NotFound},
		"no such user":         {"desk", "POST", "/v1/revocations", `{"user":"nobody"}`, 404, ticket.NotFound},
		"unknown scope":        {"desk", "POST", "/v1/revocations", `{"group":"sales"}`, 400, ticket.Invalid},
		"operator in the dark": {"desk", "DELETE", "/v1/tickets/aaaa?operator=%1b", "", 422, ticket.Invalid},
		"operator twice":       {"desk", "DELETE", "/v1/tickets/aaaa?operator=a&operator=b", "", 400, ticket.Invalid},
		"may not follow":       {"ender", "GET", "/v1/revocations", "", 403, ticket.Forbidden},
		"may not see heads":    {"ender", "GET", "/v1/heads", "", 403, ticket.Forbidden},
		"may not see keys":     {"enrolment", "GET", "/v1/keys", "", 403, ticket.Forbidden},
		"may not report":       {"enrolment", "POST", "/v1/cuts", `{"applied":""}`, 403, ticket.Forbidden},
		"bad positions":        {"gw", "GET", "/v1/revocations?after=b:1,a:1", "", 400, ticket.Invalid},
		"too long a wait":      {"gw", "GET", "/v1/revocations?wait=5.1", "", 400, ticket.Invalid},
		"wait for ever":        {"gw", "GET", "/v1/revocations?wait=Inf", "", 400, ticket.Invalid},
		"bad gateway":          {"gw", "GET", "/v1/revocations?gateway=a/b", "", 400, ticket.Invalid},
		"long gateway":         {"gw", "POST", "/v1/cuts?gateway=" + strings.Repeat("a", 65), `{"applied":""}`, 400, ticket.Invalid},
		"nothing applied":      {"gw", "POST", "/v1/cuts", `{}`, 422, ticket.Invalid},
		"negative cuts":        {"gw", "POST", "/v1/cuts", `{"applied":"a:1","cuts":{"a:1":-1}}`, 422, ticket.Invalid},
		"cuts of nowhere":      {"gw", "POST", "/v1/cuts", `{"applied":"","cuts":{"a:0":1}}`, 400, ticket.Invalid},
		"forged entries":       {"gw", "POST", "/v1/cuts", `{"applied":"","logs":{"a":["x.y.z"]}}`, 422, ticket.Invalid},
		"report too large":     {"gw", "POST", "/v1/cuts", `{"applied":"","logs":{"a":["` + strings.Repeat("a", 1<<20) + `"]}}`, 413, ticket.TooLarge},
		"document with query":  {"gw", "GET", "/v1/openapi.json?x=1", "", 400, ticket.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.send(t, test.method, test.path, test.body, d.as(test.client))
			p := a.problem(t)
			if a.StatusCode != test.status || p.Status != test.status || p.Reason != test.reason || p.Type != "about:blank" ||
				p.Title != http.StatusText(test.status) || p.Detail == "" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %s; want %d %s", a.StatusCode, a.body, test.status, test.reason)
			}
		})
	}
}

func TestMethodsAndTypes(t *testing.T) {
	d := openDoor(t)
	for path, allow := range map[string]string{
		"/v1/tickets": "GET, POST", "/v1/tickets/aaaa": "GET, DELETE", "/v1/redeem": "POST", "/v1/revocations": "GET, POST",
		"/v1/heads": "GET", "/v1/cuts": "POST", "/v1/keys": "GET", "/v1/openapi.json": "GET",
	} {
		for _, method := range []string{"PUT", "PATCH", "OPTIONS", "BREW"} {
			a := d.send(t, method, path, "", d.as("desk"))
			if a.StatusCode != 405 || a.Header.Get("Allow") != allow || a.problem(t).Reason != ticket.MethodNotAllowed {
				t.Errorf("%s %s: %d, Allow %q", method, path, a.StatusCode, a.Header.Get("Allow"))
			}
		}
	}
	for contentType, want := range map[string]int{
		"application/json": 201, "application/json; charset=UTF-8": 201, "Application/JSON": 201,
		"": 415, "text/plain": 415, "application/json; charset=latin1": 415, "application/x-www-form-urlencoded": 415,
		"application/json; x=y": 415,
	} {
		header := d.as("desk")
		header.Set("Content-Type", contentType)
		if a := d.send(t, "POST", "/v1/tickets", `{"user":"u","device":"d"}`, header); a.StatusCode != want {
			t.Errorf("%q: %d, want %d", contentType, a.StatusCode, want)
		}
	}
}

func TestUnavailableSaysWhenToComeBackAndNoMore(t *testing.T) {
	d := openDoor(t)
	d.audit.fail(errors.New("/secret/path: no space left on device"))
	a := d.send(t, "POST", "/v1/tickets", `{"user":"u","device":"d"}`, d.as("desk"))
	if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || strings.Contains(string(a.body), "secret") {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	_, err := d.client(t, "desk").Issue(t.Context(), sta.IssueRequest{User: "u", Device: "d"})
	wantReason(t, err, ticket.Unavailable)
	d.mu.Lock()
	defer d.mu.Unlock()
	if logged := d.access[0]; logged.Err == nil || !strings.Contains(logged.Err.Error(), "no space left") {
		t.Errorf("the log was told %v", logged.Err)
	}
}

func TestAccessLogSaysWhoDidWhat(t *testing.T) {
	d := openDoor(t)
	issued, err := d.client(t, "desk").Issue(t.Context(), sta.IssueRequest{User: "u", Device: "d"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.client(t, "desk").Show(t.Context(), issued.ID); err != nil {
		t.Fatal(err)
	}
	d.send(t, "BREW", "/v1/tickets/"+issued.ID, "", d.as("gw"))
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, want := range []api.Access{
		{Client: "desk", Method: "POST", Route: "/v1/tickets", Ticket: issued.ID, Status: 201},
		{Client: "desk", Method: "GET", Route: "/v1/tickets/{id}", Ticket: issued.ID, Status: 200},
		{Client: "gw", Method: "other", Route: "/v1/tickets/{id}", Ticket: issued.ID, Status: 405, Reason: ticket.MethodNotAllowed},
	} {
		got := d.access[i]
		if got.Source == "" || got.Took < 0 {
			t.Errorf("logged as %+v", got)
		}
		got.Source, got.Took, got.Err = "", 0, nil
		if got != want {
			t.Errorf("logged as %+v, want %+v", got, want)
		}
	}
}

// A handle that stands where a name belongs is repeated in no answer and no log.
func TestHandlesInTheWrongPlaceAreNotRepeated(t *testing.T) {
	d := openDoor(t)
	handle := ticket.NewHandle().Reveal()
	half := strings.Repeat("x", 50) + handle // which a cut at 64 would split
	for _, request := range []struct{ method, path, body string }{
		{"GET", "/v1/tickets?" + handle + "=1", ""},
		{"GET", "/v1/tickets?" + half + "=1", ""},
		{"GET", "/v1/tickets?" + handle + "=1&" + handle + "=2", ""},
		{"GET", "/v1/tickets?status=" + handle, ""},
		{"GET", "/v1/tickets?after=" + handle, ""},
		{"GET", "/v1/tickets?limit=" + handle, ""},
		{"POST", "/v1/tickets", `{"` + handle + `":1}`},
		{"POST", "/v1/tickets", `{"` + half + `":1}`},
		{"POST", "/v1/tickets", `{"user":"` + handle + `","device":null}`},
		{"POST", "/v1/tickets", `{"user":"` + handle + `"}`},
		{"POST", "/v1/redeem", `{"hash":"` + handle + `"}`},
		{"DELETE", "/v1/tickets/" + handle, ""},
		{"DELETE", "/v1/tickets/aaaa?operator=" + handle, ""},
		{"POST", "/v1/revocations", `{"ticket":"` + handle + `"}`},
		{"POST", "/v1/revocations", `{"family":"` + handle + `"}`},
		{"POST", "/v1/revocations", `{"user":"` + handle + `"}`},
		{"POST", "/v1/revocations", `{"user":"u","operator":"` + handle + `"}`},
		{"POST", "/v1/revocations", `{"user":"u","before":"` + handle + `"}`},
		{"GET", "/v1/revocations?gateway=" + handle + "!", ""},
		{"GET", "/v1/revocations?after=" + handle, ""},
		{"POST", "/v1/cuts", `{"applied":"` + handle + `"}`},
		{"POST", "/v1/cuts", `{"applied":"","cuts":{"` + handle + `":1}}`},
		{"POST", "/v1/cuts", `{"applied":"","logs":{"` + handle + `":["x"]}}`},
		{handle, "/v1/tickets", ""},
	} {
		a := d.send(t, request.method, request.path, request.body, d.as("desk"))
		if a.StatusCode < 400 {
			t.Errorf("%v: %d", request, a.StatusCode)
		}
		if strings.Contains(fmt.Sprint(a.Header)+string(a.body), handle[:8]) {
			t.Errorf("%s %s: answered %s", request.method, request.path, a.body)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.access {
		if strings.Contains(fmt.Sprintf("%+v", a), handle[:8]) {
			t.Errorf("logged as %+v", a)
		}
	}
	d.audit.mu.Lock()
	defer d.audit.mu.Unlock()
	for _, e := range d.audit.events {
		if strings.Contains(fmt.Sprintf("%+v", e), handle[:8]) {
			t.Errorf("audited as %+v", e)
		}
	}
}
