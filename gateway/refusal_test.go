package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

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
		{refuseDial(dial(syscall.EMFILE)), socks.GeneralFailure, "service_failed"},
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
