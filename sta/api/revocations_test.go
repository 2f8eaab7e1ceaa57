package api_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func (d *door) issue(t *testing.T, user, device string) sta.Issued {
	t.Helper()
	issued, err := d.client(t, "enrolment").Issue(t.Context(), sta.IssueRequest{User: user, Device: device})
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func TestRevokingByEveryName(t *testing.T) {
	d := openDoor(t)
	desk := d.client(t, "desk")
	for _, test := range []struct {
		name    string // of user and device
		request func(issued sta.Issued, shown sta.Ticket) sta.RevokeRequest
		scope   string
	}{
		{"ticket", func(i sta.Issued, _ sta.Ticket) sta.RevokeRequest { return sta.RevokeRequest{Ticket: i.ID} }, "family"},
		{"family", func(_ sta.Issued, s sta.Ticket) sta.RevokeRequest { return sta.RevokeRequest{Family: s.Family} }, "family"},
		{"user", func(sta.Issued, sta.Ticket) sta.RevokeRequest { return sta.RevokeRequest{User: "user"} }, "user"},
		{"device", func(sta.Issued, sta.Ticket) sta.RevokeRequest { return sta.RevokeRequest{Device: "device"} }, "device"},
		{"both", func(sta.Issued, sta.Ticket) sta.RevokeRequest {
			return sta.RevokeRequest{User: "both", Device: "both"}
		}, "user_device"},
		{"all", func(sta.Issued, sta.Ticket) sta.RevokeRequest {
			return sta.RevokeRequest{All: true, Stage: time.Hour, Operator: "night shift"}
		}, "all"},
	} {
		issued := d.issue(t, test.name, test.name)
		shown, err := desk.Show(t.Context(), issued.ID)
		if err != nil {
			t.Fatal(err)
		}
		request := test.request(issued, shown)
		result, err := desk.Revoke(t.Context(), request)
		if err != nil || result.Scope != test.scope || result.Entry == (ticket.Ref{}) || result.Already || result.Took < 0 || result.Cut() != 0 {
			t.Errorf("%s: %+v, %v", test.name, result, err)
		}
		after, err := desk.Show(t.Context(), issued.ID)
		if err != nil || after.Status != sta.Revoked || after.Revoked == nil || after.Revoked.Scope != test.scope || after.Revoked.By != "desk" {
			t.Fatalf("%s: shown as %+v, %v", test.name, after, err)
		}
		if held := !after.Revoked.Until.IsZero(); held != (test.name == "all") {
			t.Errorf("%s: until %v", test.name, after.Revoked.Until)
		}
	}
	kept := d.issue(t, "kept", "kept")
	early, err := desk.Revoke(t.Context(), sta.RevokeRequest{User: "kept", Before: time.Now().Add(-time.Hour), AllMatching: true})
	if err != nil || early.Matched != 0 {
		t.Errorf("%+v, %v", early, err)
	}
	if shown, err := desk.Show(t.Context(), kept.ID); err != nil || shown.Revoked != nil && shown.Revoked.Scope == "user" {
		t.Errorf("what was issued later is %+v, %v", shown, err)
	}
}

func TestAnswerToRevoke(t *testing.T) {
	d := openDoor(t)
	issued := d.issue(t, "u", "d")
	first := d.send(t, "DELETE", "/v1/tickets/"+issued.ID+"?operator=J%C3%BCrgen", "", d.as("ender"))
	second := d.send(t, "DELETE", "/v1/tickets/"+issued.ID, "", d.as("ender"))
	for i, a := range []*answer{first, second} {
		var members map[string]any
		if err := json.Unmarshal(a.body, &members); err != nil || a.StatusCode != 200 {
			t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
		}
		if len(members) != 12 || members["id"] != issued.ID || members["already"] != (i == 1) || members["cut"] != 0.0 || members["single_copy"] != true {
			t.Errorf("answer is %s", a.body)
		}
	}
	d.audit.mu.Lock()
	defer d.audit.mu.Unlock()
	if e := d.audit.events[1]; e.Operator != "Jürgen" || e.Client != "ender" || e.Ticket != issued.ID {
		t.Errorf("audited as %+v", e)
	}
}

// Whoever may list is told what a name matches; nobody else is.
func TestNamesOfWhatMatches(t *testing.T) {
	d := openDoor(t)
	for _, user := range []string{"anna", "berta"} {
		d.issue(t, user, "iPad")
	}
	for _, test := range []struct {
		request sta.RevokeRequest
		body    string // the same
		status  int
		reason  ticket.Reason
		names   []string
	}{
		{sta.RevokeRequest{Device: "iPad"}, `{"device":"iPad"}`, 409, ticket.Ambiguous, []string{"anna", "berta"}},
		{sta.RevokeRequest{Device: "ipad"}, `{"device":"ipad"}`, 404, ticket.NotFound, []string{"iPad"}},
		{sta.RevokeRequest{User: "ana"}, `{"user":"ana"}`, 404, ticket.NotFound, []string{"anna"}},
	} {
		_, err := d.client(t, "desk").Revoke(t.Context(), test.request)
		wantReason(t, err, test.reason)
		unmatched, ok := errors.AsType[*sta.MatchError](err)
		if !ok || !slices.Equal(unmatched.Names, test.names) {
			t.Errorf("%+v: %v, want %v", test.request, err, test.names)
		}
		told := d.send(t, "POST", "/v1/revocations", test.body, d.as("desk"))
		if p := told.problem(t); told.StatusCode != test.status || !slices.Equal(p.Names, test.names) {
			t.Errorf("%s: %d %s", test.body, told.StatusCode, told.body)
		}
		untold := d.send(t, "POST", "/v1/revocations", test.body, d.as("ender"))
		if p := untold.problem(t); untold.StatusCode != test.status || p.Reason != test.reason || len(p.Names) > 0 {
			t.Errorf("%s: %d %s", test.body, untold.StatusCode, untold.body)
		}
	}
	result, err := d.client(t, "ender").Revoke(t.Context(), sta.RevokeRequest{Device: "iPad", AllMatching: true})
	if err != nil || result.Matched != 2 {
		t.Errorf("%+v, %v", result, err)
	}
}
