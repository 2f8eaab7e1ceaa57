package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// No ticket is refused in another way than any other: only the label tells.
func TestRefusedTicketsLookAlike(t *testing.T) {
	want := refuseTicket(ticket.Refuse(ticket.Unknown, "unknown"))
	for _, reason := range []ticket.Reason{ticket.Revoked, ticket.Held, ticket.Expired, ticket.BadSignature, ticket.Unavailable} {
		got := refuseTicket(ticket.Refuse(reason, "for a reason"))
		if got.Reply != want.Reply || got.Status != want.Status || got.Label != string(reason) {
			t.Errorf("%s: %+v", reason, got)
		}
	}
}

// A source is suspected for tickets that are bad, and not for those that merely
// cannot be judged, or have to wait.
func TestFailuresThatCount(t *testing.T) {
	const limit = 100
	source := netip.MustParsePrefix("192.0.2.1/32")
	now := time.Unix(1_800_000_000, 0)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for reason, counts := range map[ticket.Reason]bool{
		ticket.Held: false, ticket.Unavailable: false, ticket.Busy: false,
		ticket.Unknown: true, ticket.Revoked: true, ticket.BadSignature: true,
	} {
		f, err := newFailures(limit, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		for range limit {
			f.count(source, reason)
		}
		for range maxSuspects {
			f.suspects <- struct{}{} // no place for a suspect is free
		}
		if _, err := f.queue(ended, source); (err != nil) != counts {
			t.Errorf("after %d times %s: %v", limit, reason, err)
		}
	}
}

// What a client is told goes by the cause, however deep it is wrapped.
func TestRepliesByCause(t *testing.T) {
	dial := func(cause error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", cause)}
	}
	rules := policy.NewAddressRules(policy.AddressConfig{})
	for _, c := range []struct {
		refusal *tunnel.Refusal
		reply   socks.Reply
		label   string
	}{
		{refuseDial(dial(syscall.ECONNREFUSED)), socks.ConnectionRefused, "service_refused"},
		{refuseDial(dial(syscall.ENETUNREACH)), socks.NetworkUnreachable, "service_network"},
		{refuseDial(dial(syscall.EHOSTUNREACH)), socks.HostUnreachable, "service_host"},
		{refuseDial(dial(syscall.ETIMEDOUT)), socks.TTLExpired, "service_timeout"},
		{refuseDial(fmt.Errorf("dial: %w", context.DeadlineExceeded)), socks.TTLExpired, "service_timeout"},
		{refuseDial(&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}), socks.TTLExpired, "service_timeout"},
		{refuseDial(dial(syscall.EMFILE)), socks.GeneralFailure, "no_descriptors"},
		{refuseDial(dial(syscall.ENFILE)), socks.GeneralFailure, "no_descriptors"},
		{refuseDial(dial(syscall.EADDRNOTAVAIL)), socks.GeneralFailure, "no_ports"},
		{refuseDial(dial(syscall.EACCES)), socks.GeneralFailure, "service_failed"},
		{refuseDial(dial(rules.Check("mail.example.com", netip.MustParseAddrPort("127.0.0.1:443")))), socks.NotAllowed, "address_pinned_only"},
		{refuseLookUp(&net.DNSError{IsNotFound: true}), socks.HostUnreachable, "name_not_found"},
		{refuseLookUp(&net.DNSError{IsTimeout: true}), socks.TTLExpired, "name_timeout"},
		{refuseLookUp(context.DeadlineExceeded), socks.TTLExpired, "name_timeout"},
		{refuseLookUp(errors.New("SERVFAIL")), socks.GeneralFailure, "name_failed"},
		{asRefusal(errors.New("a defect")), socks.GeneralFailure, "internal"},
	} {
		if c.refusal.Reply != c.reply || c.refusal.Label != c.label || c.refusal.Status < 400 || c.refusal.Text == "" {
			t.Errorf("got %+v, want %v %s", c.refusal, c.reply, c.label)
		}
	}
}

// Other people's words are cut between two of them, if they have to be.
func TestBrief(t *testing.T) {
	word := "kilobyte "
	for text, want := range map[string]string{
		"": "", "short": "short", strings.Repeat("x", maxCause): strings.Repeat("x", maxCause),
		strings.Repeat(word, 100):             strings.TrimSpace(strings.Repeat(word, 44)) + "…",
		strings.Repeat("ü", maxCause):         strings.Repeat("ü", (maxCause-3)/2) + "…",
		"a; " + strings.Repeat("b", maxCause): "a…",
		"a\nb":                                `a\u{000a}b`,
	} {
		if got := brief(text); got != want || len(got) > maxCause {
			t.Errorf("%.20q… is %q, want %q", text, got, want)
		}
	}
}

// Whatever a ticket is refused for, something can be done.
func TestTicketFixes(t *testing.T) {
	code, err := os.ReadFile("../sta/ticket/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	reasons := regexp.MustCompile(`Reason = "([a-z_]+)"`).FindAllSubmatch(code, -1)
	if len(reasons) < 20 {
		t.Errorf("only %d reasons found", len(reasons))
	}
	for _, reason := range reasons {
		if ticketFixes[ticket.Reason(reason[1])] == "" {
			t.Errorf("nothing for %s", reason[1])
		}
	}
	if len(ticketFixes) != len(reasons) {
		t.Errorf("%d fixes for %d reasons", len(ticketFixes), len(reasons))
	}
}
