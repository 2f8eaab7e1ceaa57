package load

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/bench/exchange"
)

// The bounds of a plan. They are there to catch mistakes, not to forbid large runs.
const (
	maxRate     = 1e6
	maxDevices  = 1_000_000
	maxStreams  = 10_000
	maxPhase    = 24 * time.Hour // a result has an entry for each second
	maxScale    = 100_000
	maxClients  = 1000
	maxPatience = time.Hour
	maxTickets  = 1_000_000
	maxSources  = 4096
	maxRun      = 1e10 // operations in all
)

// FieldError says what is wrong with a field of a plan: scenario.rate, endpoint.curve,
// patience.
type FieldError struct {
	Endpoint    string // whose plan it is; empty for what all have
	Field, Says string
}

func (e *FieldError) Error() string {
	if e.Endpoint != "" {
		return e.Endpoint + ": " + e.Field + ": " + e.Says
	}
	return e.Field + ": " + e.Says
}

// mistakes collects what is wrong, an error for each field.
type mistakes []error

func (m *mistakes) unless(good bool, field, format string, args ...any) {
	if !good {
		*m = append(*m, &FieldError{Field: field, Says: fmt.Sprintf(format, args...)})
	}
}

// Check says what is wrong with a plan: every bad field has a [*FieldError] of its own,
// joined (errors.Join). Tickets are not in them.
func (p Plan) Check() error {
	var m mistakes
	p.Scenario.check(&m)
	p.Endpoint.check(&m)
	if p.Service != "" || p.Endpoint.Way != "tls" {
		_, _, err := splitService(p.Service)
		m.unless(err == nil, "service", "%q is not host:port", p.Service)
	}
	m.unless(len(p.Sources) <= maxSources, "sources", "%d are more than %d", len(p.Sources), maxSources)
	for i, a := range p.Sources {
		if !a.IsValid() || a.IsMulticast() || a.IsUnspecified() {
			m.unless(false, fmt.Sprintf("sources[%d]", i), "%v is no address to dial from", a)
			break // of another host there may be very many
		}
	}
	m.unless(p.Of >= 1 && p.Of <= maxClients, "of", "%d is not 1 to %d", p.Of, maxClients)
	m.unless(p.Share >= 0 && p.Share < max(1, p.Of), "share", "%d is not 0 to of-1", p.Share)
	if u, _ := p.Scenario.uses(); u.rate && u.devices { // or a client would have no tunnel to use
		most := p.Scenario.Devices
		if p.Scenario.Kind == Day {
			most -= p.Scenario.polling()
		}
		m.unless(most >= p.Of, "scenario.devices", "%d are too few for %d clients", p.Scenario.Devices, p.Of)
	}
	m.unless(p.MaxInFlight >= 1 && p.MaxInFlight <= maxDevices, "max_in_flight", "%d is not 1 to %d", p.MaxInFlight, maxDevices)
	m.unless(p.Patience >= time.Millisecond && p.Patience <= maxPatience, "patience", "%v is not 1ms to %v", p.Patience, maxPatience)
	return errors.Join(m...)
}

func (e *Endpoint) check(m *mistakes) {
	m.unless(slices.Contains([]string{"socks", "https", "tls", "tcp"}, e.Way), "endpoint.way", "%q is not socks, https, tls or tcp", e.Way)
	if e.Address != "" || e.Way != "tcp" { // the direct run goes to the service
		_, _, err := splitService(e.Address)
		m.unless(err == nil, "endpoint.address", "%q is not host:port", e.Address)
	}
	m.unless(visible(e.ServerName), "endpoint.server_name", "%q is no name", e.ServerName)
	_, known := curve(e.Curve)
	m.unless(known, "endpoint.curve", "%q is not X25519, P-256, X25519MLKEM768 or empty", e.Curve)
	m.unless(!e.TLS12 || e.Curve != "X25519MLKEM768", "endpoint.curve", "X25519MLKEM768 needs TLS 1.3")
	m.unless(len(e.ALPN) <= 255, "endpoint.alpn", "longer than 255 bytes")
	m.unless(len(e.User) <= 255, "endpoint.user", "longer than 255 bytes")
	m.unless(len(e.Tickets) <= maxTickets, "endpoint.tickets", "%d are more than %d", len(e.Tickets), maxTickets)
	limit := 4096
	if e.Way == "socks" {
		limit = 255
	}
	for i, t := range e.Tickets {
		if len(t) == 0 || len(t) > limit || !visible(t) {
			m.unless(false, "endpoint.tickets", "number %d is no ticket: 1 to %d bytes of visible ASCII", i, limit)
			break
		}
	}
	if e.Way != "tcp" {
		if host, _, err := net.SplitHostPort(e.Address); err == nil {
			m.unless(host != "" || e.ServerName != "", "endpoint.server_name", "nothing to verify the certificate against")
		}
	}
}

func (s Scenario) check(m *mistakes) {
	u, known := s.uses()
	if !known {
		m.unless(false, "scenario.kind", "%q is not one of %s", s.Kind, strings.Join(Kinds(), ", "))
		return
	}
	amount(m, s.Kind, "scenario.rate", u.rate, s.Rate, 1e-3, maxRate)
	amount(m, s.Kind, "scenario.devices", u.devices, float64(s.Devices), 1, maxDevices)
	amount(m, s.Kind, "scenario.streams", u.streams, float64(s.Streams), 1, maxStreams)
	amount(m, s.Kind, "scenario.accounts", u.extender, float64(s.Accounts), 1, 1000)
	amount(m, s.Kind, "scenario.mailboxes", u.extender, float64(s.Mailboxes), 1, 100_000)
	amount(m, s.Kind, "scenario.warm", u.warm, s.Warm, 0, 1)
	m.unless(u.within || s.Within == 0, "scenario.within", "%s has none", s.Kind)
	m.unless(s.Within >= 0 && s.Within <= s.Sustain, "scenario.within", "%v is not 0 to sustain", s.Within)
	m.unless(s.Kind != Storm || s.Ramp+s.Within <= exchange.MaxHold, "scenario.within", "with the ramp it is longer than a poll can be held, %v", exchange.MaxHold)
	m.unless(s.Ramp >= 0 && s.Ramp <= maxPhase, "scenario.ramp", "%v is not 0 to %v", s.Ramp, maxPhase)
	m.unless(s.Ramp > 0 || !s.holds(), "scenario.ramp", "%s opens tunnels in the ramp, and needs one", s.Kind)
	m.unless(s.Sustain >= time.Millisecond && s.Sustain <= maxPhase, "scenario.sustain", "%v is not 1ms to %v", s.Sustain, maxPhase)
	m.unless(s.Down >= 0 && s.Down <= maxPhase, "scenario.down", "%v is not 0 to %v", s.Down, maxPhase)
	m.unless(s.Scale == 0 || s.Scale >= 1e-3 && s.Scale <= maxScale, "scenario.scale", "%v is not 0.001 to %d", s.Scale, maxScale)
	m.unless(!u.rate || s.shape().total() <= maxRun, "scenario.rate", "makes more than %g operations", float64(maxRun))
	s.checkHeartbeat(m, u)
	m.unless(s.Write >= 0 && s.Write <= exchange.MaxWrite, "scenario.write", "%d is not 0 to %d", s.Write, exchange.MaxWrite)
	m.unless(s.UpBytes >= 0 && s.UpBytes <= exchange.MaxBody, "scenario.up_bytes", "%d is not 0 to %d", s.UpBytes, int64(exchange.MaxBody))
	m.unless(s.DownBytes >= 0 && s.DownBytes <= exchange.MaxBody, "scenario.down_bytes", "%d is not 0 to %d", s.DownBytes, int64(exchange.MaxBody))
	m.unless(u.bodies || s.UpBytes == 0, "scenario.up_bytes", "%s has bodies of its own", s.Kind)
	m.unless(u.bodies || s.DownBytes == 0, "scenario.down_bytes", "%s has bodies of its own", s.Kind)
	m.unless(u.rate || u.within || !s.Poisson, "scenario.poisson", "%s has no arrivals", s.Kind)
	m.unless(u.trigger || len(s.Trigger) == 0, "scenario.trigger", "%s has none", s.Kind)
	if s.Kind == Bulk {
		m.unless(slices.Contains([]string{"up", "down", "both"}, s.Direction), "scenario.direction", "%q is not up, down or both", s.Direction)
		m.unless(s.UpBytes > 0 || s.Direction == "down", "scenario.up_bytes", "must not be 0 for bulk upwards")
		m.unless(s.DownBytes > 0 || s.Direction == "up", "scenario.down_bytes", "must not be 0 for bulk downwards")
	} else {
		m.unless(s.Direction == "", "scenario.direction", "%s has none", s.Kind)
	}
}

func (s Scenario) checkHeartbeat(m *mistakes, u uses) {
	shortest, longest := s.Heartbeat[0], s.Heartbeat[1]
	if !u.heartbeat {
		m.unless(shortest == 0 && longest == 0, "scenario.heartbeat", "%s has none", s.Kind)
		return
	}
	m.unless(shortest >= time.Millisecond && shortest <= longest, "scenario.heartbeat", "%v to %v is no range from 1ms up", shortest, longest)
	m.unless(s.scaled(longest) <= exchange.MaxHold, "scenario.heartbeat", "%v is longer than %v", longest, exchange.MaxHold)
}

// amount checks a number that a kind must have within bounds, or not have at all.
func amount(m *mistakes, kind, field string, used bool, v, low, high float64) {
	if !used {
		m.unless(v == 0, field, "%s has none", kind)
		return
	}
	m.unless(!math.IsNaN(v) && v >= low && v <= high, field, "%v is not %v to %v", v, low, high)
}

// scaled is a time of day in this run.
func (s Scenario) scaled(d time.Duration) time.Duration {
	if s.Scale == 0 {
		return d
	}
	return time.Duration(float64(d) / s.Scale)
}

// secret stands for what Redacted took out.
const secret = "[secret]"

// Redacted is the plan without its tickets: how many there were shows. The trigger's
// arguments are taken out too, for a command may carry a password.
func (p Plan) Redacted() Plan {
	p.Endpoint.Tickets = hidden(p.Endpoint.Tickets)
	if len(p.Scenario.Trigger) > 1 {
		p.Scenario.Trigger = append(slices.Clone(p.Scenario.Trigger[:1]), secret)
	}
	return p
}

// String is the endpoint without its tickets. So is every other verb of package fmt.
func (e Endpoint) String() string {
	return fmt.Sprintf("%s %s at %s, %d tickets", e.Name, e.Way, e.Address, len(e.Tickets))
}

// Format prints String whatever the verb.
func (e Endpoint) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.String()) }

func hidden(all []string) []string {
	if all == nil {
		return nil
	}
	return slices.Repeat([]string{secret}, len(all))
}
