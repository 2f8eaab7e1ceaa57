package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// This file says what a client is told for what. Labels are the reasons of
// package ticket, the reasons of package policy, host_… with the reasons of
// policy.HostError, address_… with the classes of policy.AddressError, and the
// ones below.
const (
	labelNoSuchPolicy  = "no_such_policy"     // the ticket names a policy that this gateway does not have
	labelNotTrusted    = "policy_not_trusted" // the ticket's authority may not give the policy that it would have
	labelNarrowing     = "bad_narrowing"      // the ticket's own list does not compile
	labelNoDestination = "no_destination"     // neither client, ticket nor policy names a host and port
	labelNotOwner      = "other_device"       // the connection has carried another user's or device's ticket
	labelNotInside     = "not_inside"         // a credential at the inside door, which takes none
	labelTooMany       = "too_many_tunnels"   // the ticket has all the live tunnels that it may have
	labelNameUnknown   = "name_not_found"     // the name does not exist, or has no address
	labelNameTimeout   = "name_timeout"       // the resolver did not answer in time
	labelNameFailed    = "name_failed"        // the resolver failed
	labelDialRefused   = "service_refused"    // the service refused the connection
	labelDialNetwork   = "service_network"    // no route to the service's network
	labelDialHost      = "service_host"       // the service's host cannot be reached
	labelDialTimeout   = "service_timeout"    // the service did not answer in time
	labelDialFailed    = "service_failed"     // any other failure to connect
	labelNoPorts       = "no_ports"           // no source address has a port left towards the service
	labelSourceGone    = "source_gone"        // the machine has lost the source addresses
	labelNoDescriptors = "no_descriptors"     // the process, or the machine, has no file descriptor left
	labelInternal      = "internal"           // an error without a refusal: a defect
)

// refuseTicket makes no difference between tickets: whoever tries handles must
// not learn which are wrong, unknown, expired or revoked. Nor which are held back:
// that one is good, and will be, is more than a thief is to be told.
func refuseTicket(err error) *tunnel.Refusal {
	return &tunnel.Refusal{
		Reply: socks.NotAllowed, Status: http.StatusProxyAuthRequired,
		Label: string(ticket.ReasonOf(err)), Text: "ticket: " + err.Error(), Err: err,
	}
}

// refuseOwner answers as refuseTicket does.
func refuseOwner() *tunnel.Refusal {
	return &tunnel.Refusal{
		Reply: socks.NotAllowed, Status: http.StatusProxyAuthRequired,
		Label: labelNotOwner, Text: "ticket: good, on a connection of another user or device",
	}
}

func refuseHost(err error) *tunnel.Refusal {
	label := "host_malformed"
	var host *policy.HostError
	if errors.As(err, &host) {
		label = hostLabel(host.Reason)
	}
	return notAllowed(label, "destination: "+err.Error(), err)
}

func hostLabel(reason policy.HostReason) string { return "host_" + string(reason) }

func addressLabel(class policy.Class) string { return "address_" + class.String() }

func refusePolicy(d policy.Decision) *tunnel.Refusal {
	if d.Reason == "" {
		d.Reason = policy.NotListed
	}
	text := "policy: not on the list of background network services"
	switch d.Reason {
	case policy.AddressNotListed:
		text = "policy: the address is not one of a listed name"
	case policy.Narrowed:
		text = "policy: listed, but not for this ticket"
	case policy.Unrestricted:
		text = "policy: network access is unrestricted, so that nothing should come here"
	}
	return notAllowed(string(d.Reason), text, nil)
}

func refuseNamedPolicy() *tunnel.Refusal {
	return notAllowed(labelNoSuchPolicy, "policy: the ticket names a policy that this gateway does not have", nil)
}

func refuseForeignPolicy() *tunnel.Refusal {
	return notAllowed(labelNotTrusted, "policy: the ticket's authority may not give the policy that the ticket would have", nil)
}

func refuseNoDestination() *tunnel.Refusal {
	return notAllowed(labelNoDestination, "destination: neither client, ticket nor policy names a host and port", nil)
}

func refuseTooMany() *tunnel.Refusal {
	return tooMany("policy: the ticket has as many live tunnels as a ticket may have")
}

func refuseTooMuchDNS() *tunnel.Refusal {
	return tooMany("policy: the ticket has as many live tunnels to the gateway's DNS as a ticket may have")
}

// tooMany is over when one of them ends: who speaks HTTP is told to come again.
func tooMany(text string) *tunnel.Refusal {
	r := notAllowed(labelTooMany, text, nil)
	r.Status = http.StatusServiceUnavailable
	return r
}

func refuseNarrowing(err error) *tunnel.Refusal {
	return notAllowed(labelNarrowing, "policy: the ticket's own list of services: "+err.Error(), err)
}

func refuseAddress(err error) *tunnel.Refusal {
	class := policy.Never
	var address *policy.AddressError
	if errors.As(err, &address) {
		class = address.Class
	}
	return notAllowed(addressLabel(class), "address: "+err.Error(), err)
}

func notAllowed(label, text string, err error) *tunnel.Refusal {
	return &tunnel.Refusal{Reply: socks.NotAllowed, Status: http.StatusForbidden, Label: label, Text: text, Err: err}
}

var errNoAddress = &net.DNSError{Err: "no address", IsNotFound: true}

func refuseLookUp(err error) *tunnel.Refusal {
	r := &tunnel.Refusal{Reply: socks.GeneralFailure, Status: http.StatusBadGateway, Label: labelNameFailed, Err: err}
	var dns *net.DNSError
	switch {
	case isNotFound(err):
		r.Reply, r.Label = socks.HostUnreachable, labelNameUnknown
	case errors.As(err, &dns) && dns.IsTimeout, timedOut(err):
		r.Reply, r.Status, r.Label = socks.TTLExpired, http.StatusGatewayTimeout, labelNameTimeout
	}
	r.Text = "name: " + lookUpFailures[r.Label]
	return r
}

// lookUpFailures are what can become of a look-up, in words.
var lookUpFailures = map[string]string{
	labelNameUnknown: "not found, or without address",
	labelNameTimeout: "the resolver did not answer in time",
	labelNameFailed:  "the resolver failed",
}

// isNotFound tells an answer, that there is none, from a look-up that failed.
func isNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

func refuseDial(err error) *tunnel.Refusal {
	r := &tunnel.Refusal{Status: http.StatusBadGateway, Err: err}
	switch {
	case errors.As(err, new(*policy.AddressError)):
		return refuseAddress(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		r.Reply, r.Label, r.Text = socks.ConnectionRefused, labelDialRefused, "service: connection refused"
	case errors.Is(err, syscall.ENETUNREACH):
		r.Reply, r.Label, r.Text = socks.NetworkUnreachable, labelDialNetwork, "service: network unreachable"
	case errors.Is(err, syscall.EHOSTUNREACH):
		r.Reply, r.Label, r.Text = socks.HostUnreachable, labelDialHost, "service: host unreachable"
	case timedOut(err):
		r.Reply, r.Label, r.Text = socks.TTLExpired, labelDialTimeout, "service: no answer in time"
		r.Status = http.StatusGatewayTimeout
	case errors.Is(err, syscall.EADDRNOTAVAIL) && failedAt(err, "bind"): // the gateway's own want, like the next two
		r.Reply, r.Label, r.Text = socks.GeneralFailure, labelSourceGone, "gateway: the source address is none of this machine's any more"
		r.Status = http.StatusServiceUnavailable
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		r.Reply, r.Label, r.Text = socks.GeneralFailure, labelNoPorts, "gateway: no source address with a free port to the service"
		r.Status = http.StatusServiceUnavailable
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		r.Reply, r.Label, r.Text = socks.GeneralFailure, labelNoDescriptors, "gateway: out of file descriptors"
		r.Status = http.StatusServiceUnavailable
	default:
		r.Reply, r.Label, r.Text = socks.GeneralFailure, labelDialFailed, "service: cannot connect"
	}
	return r
}

func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT)
}

// asRefusal lets an error without a refusal out as little as possible.
func asRefusal(err error) *tunnel.Refusal {
	var refusal *tunnel.Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	return &tunnel.Refusal{
		Reply: socks.GeneralFailure, Status: http.StatusInternalServerError,
		Label: labelInternal, Text: "internal: " + err.Error(), Err: err,
	}
}

// failedAt tells whether an error is of this system call.
func failedAt(err error, call string) bool {
	var failed *os.SyscallError
	return errors.As(err, &failed) && failed.Syscall == call
}
