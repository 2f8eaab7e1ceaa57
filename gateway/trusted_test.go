package gateway_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// An authority that may give some policies gives no other by what it writes into
// its tickets: neither by name, nor by a group that another policy matches.
func TestPoliciesOfAnAuthority(t *testing.T) {
	snapshot := judgedWorld(t)
	snapshot.Trusted = map[string][]string{"STA02": {policy.DefaultName}, "STA03": {}}
	vip := policy.Host{Name: "vip.example.com"}
	vips := policy.Holder{Groups: []string{"vip"}}
	for name, c := range map[string]struct {
		ask    gateway.Ask
		reason string
	}{
		"its own":         {gateway.Ask{Authority: "STA02"}, "listed"},
		"by group":        {gateway.Ask{Authority: "STA02", Holder: vips, Host: vip, Port: 443}, "policy_not_trusted"},
		"by group, mail":  {gateway.Ask{Authority: "STA02", Holder: vips}, "policy_not_trusted"},
		"by name":         {gateway.Ask{Authority: "STA02", Holder: policy.Holder{Policy: "vips"}, Host: vip, Port: 443}, "policy_not_trusted"},
		"none at all":     {gateway.Ask{Authority: "STA03"}, "policy_not_trusted"},
		"who is not held": {gateway.Ask{Authority: "STA01", Holder: policy.Holder{Policy: "vips"}, Host: vip, Port: 443}, "name_not_found"},
	} {
		j := gateway.Judge(t.Context(), snapshot, c.ask)
		if j.Reason != c.reason {
			t.Errorf("%s: %s, want %s", name, j.Reason, c.reason)
		}
		if c.reason == "policy_not_trusted" && (!strings.Contains(j.Why, j.Policy) || !strings.Contains(j.Why, c.ask.Authority) || !strings.Contains(j.Fix, j.Policy)) {
			t.Errorf("%s: %s; %s", name, j.Why, j.Fix)
		}
	}
}

// The same over a tunnel: the authority in question is the ticket's.
func TestPoliciesOfATicketsAuthority(t *testing.T) {
	w := newWorld(t, options{})
	snapshot := w.snapshot("mail.example.com:"+w.service, netip.AddrPort{})
	var err error
	snapshot.Policies, err = policy.CompileSet(
		policy.Spec{Services: "mail.example.com:" + w.service},
		[]policy.Named{{Name: "vips", Match: policy.Match{Groups: []string{"vip"}}, Spec: policy.Spec{Services: "mail.example.com:" + w.service}}},
	)
	must(t, err)
	snapshot.Trusted = map[string][]string{authority: {policy.DefaultName}}
	w.gateway.Use(snapshot)
	echo(t, w.mustOpen(w.issue(nil).Handle.Reveal(), "mail.example.com", w.port), "hello")
	vip := w.issue(func(r *sta.IssueRequest) { r.Groups = []string{"VIP"} })
	_, err = w.open(vip.Handle.Reveal(), "mail.example.com", w.port)
	var reply *socks.ReplyError
	if !errors.As(err, &reply) || reply.Reply != socks.NotAllowed {
		t.Errorf("%v", err)
	}
	if why := next(t, w.refused, "refusal").why; why.Label != "policy_not_trusted" {
		t.Error(why.Label)
	}
}
