package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
	"github.com/sallyport/sallyport/sta/ctxsta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/quic"
)

// This file turns what the packages tell through their hooks into log lines.
// Every line has an event out of a small list, and each refused or ended stream
// has exactly one.

func (n *Node) tunnelHooks() gateway.Hooks {
	return gateway.Hooks{
		Refused: n.refused,
		Opened: func(a *gateway.Attempt) {
			e := n.attempt(n.log.Info(), "tunnel_opened", a)
			if a.Peer.TLSVersion != 0 { // the inside door has none
				e.Str("tls", tls.VersionName(a.Peer.TLSVersion))
			}
			if overTLS(a.Peer) {
				e.Str("layer", layer(a.Peer.Direct))
			}
			ends(e.Str("policy", a.Policy).Str("snapshot", a.Snapshot).Str("rule", a.Decision.Rule), a)
			e.Msg("new TCP proxy connection established")
		},
		Closed: func(a *gateway.Attempt, account *gateway.Account) {
			e := n.attempt(n.log.Info(), "tunnel_closed", a)
			ends(e.Str("reason", account.Reason), a).
				Int64("up", account.Up).Int64("down", account.Down).
				Dur("lasted_ms", account.Lasted)
			if account.Err != nil {
				e.Str("error", tunnel.SafeText(account.Err.Error(), 200))
			}
			e.Msg("tunnel closed")
		},
		Panicked: n.panicked,
	}
}

// overTLS tells whether there is a record layer: QUIC has packets in its place.
func overTLS(p tunnel.Peer) bool {
	return p.TLSVersion != 0 && p.Carrier != quic.Carrier && p.Carrier != quic.CarrierH3
}

// layer says whose record layer carries a stream, in the file's words.
func layer(direct bool) string {
	if direct {
		return "direct"
	}
	return "std"
}

// panicked tells of a defect behind a tunnel.
func (n *Node) panicked(_ any, stack []byte) {
	n.log.Error().Str("event", "panic").Bytes("stack", stack).
		Msg("a defect ended a tunnel, a look-up, a dial or a device's DNS; please report it")
}

// portsLow tells of a source that has few ports left towards a service.
func (n *Node) portsLow(use gateway.PortUse) {
	n.log.Warn().Str("event", "upstream_ports_low").Stringer("from", use.From).Stringer("service", use.To).
		Int("in_use", use.Live).Int("ports", use.Ports).
		Msg("no further tunnel leads from there to that service when the rest is used up; add to gateway.upstream.sources")
}

// ends writes the addresses of the connection to the service. The gateway's own DNS
// has none.
func ends(e *zerolog.Event, a *gateway.Attempt) *zerolog.Event {
	if !a.To.IsValid() {
		return e
	}
	return e.Stringer("from", a.From).Stringer("service", a.To)
}

// attempt writes what is known of a stream.
func (n *Node) attempt(e *zerolog.Event, event string, a *gateway.Attempt) *zerolog.Event {
	e.Str("event", event).Stringer("client", a.Peer.Remote).Str("carrier", a.Peer.Carrier)
	if to := a.Destination(); to.Host != "" {
		e.Str("to", to.Host).Uint16("port", to.Port)
	}
	if a.Matched != "" {
		e.Str("matched", a.Matched)
	}
	if c := a.Claims; c != nil {
		e.Str("ticket", c.ID).Str("user", c.User).Str("device", c.Device).Str("app", c.App)
	} else {
		if c := a.Refused; c != nil {
			e.Str("ticket", c.ID).Str("user", c.User).Str("device", c.Device).Str("app", c.App)
		}
		if a.Claimed != "" {
			e.Str("claimed_user", a.Claimed)
		}
	}
	return e.Dur("set_up_ms", a.SetUp)
}

// aboutStranger tells whether another line about a client without a good ticket
// may be written, and says so when some could not be.
func (n *Node) aboutStranger() bool {
	ok, held := n.strangers.pass(time.Now())
	if held > 0 {
		n.log.Warn().Str("event", "lines_held_back").Int("lines", held).
			Msg("more refused connections than lines about them may be written")
	}
	return ok
}

// carrierHooks tell of streams that end before the gateway sees them.
func (n *Node) carrierHooks() tunnel.Hooks {
	return tunnel.Hooks{
		Refused: func(p tunnel.Peer, r *tunnel.Refusal) {
			if !n.aboutStranger() {
				return
			}
			n.log.Info().Str("event", "connection_refused").Stringer("client", p.Remote).
				Str("reason", r.Label).Msg(r.Text)
		},
		AcceptError: func(err error, wait time.Duration) {
			n.log.Error().Str("event", "accept_failed").Err(err).Dur("wait_ms", wait).Msg("cannot accept; waiting")
		},
		Full: func() {
			if !n.full.due(time.Now()) {
				return
			}
			n.log.Warn().Str("event", "tunnels_full").Msg("gateway.max_tunnels are taken; further clients are refused")
		},
		NotTaken: func(p tunnel.Peer, err error) {
			if !n.aboutStranger() {
				return
			}
			n.log.Error().Str("event", "record_layer_not_taken").Stringer("client", p.Remote).Err(err).
				Msg("our own record layer could not take over; crypto/tls carries this tunnel; please report it")
		},
		Panicked: func(p tunnel.Peer, value any, stack []byte) {
			n.log.Error().Str("event", "panic").Stringer("client", p.Remote).Bytes("stack", stack).
				Msg("a defect ended one tunnel; please report it")
		},
	}
}

// relaysHooks tell what goes wrong between tunnels.
func (n *Node) relaysHooks() tunnel.RelaysHooks {
	return tunnel.RelaysHooks{
		Panicked: n.panicked,
		Unwatched: func(err error) {
			if n.full.due(time.Now()) {
				n.log.Error().Str("event", "tunnel_unwatched").Err(err).
					Msg("the kernel watches no more tunnels: see fs.epoll.max_user_watches")
			}
		},
		Failed: func(err error) {
			select {
			case n.failed <- fmt.Errorf("tunnels cannot be woken any more: %w", err):
			default:
			}
		},
	}
}

func (n *Node) authorityHooks() sta.Hooks {
	return sta.Hooks{
		AuditFailed: func(err error) {
			n.log.Error().Str("event", "audit_failed").Err(err).Msg("no ticket is issued while the audit file cannot be written")
		},
		SweepFailed: func(err error) {
			n.log.Error().Str("event", "sweep_failed").Err(err).Msg("expired tickets stay until the next sweep")
		},
		LookFailed: func(err error) {
			if err == nil {
				n.log.Info().Str("event", "store_back").Msg("the store can be looked into again")
				return
			}
			if errors.Is(err, sta.ErrKeyDropped) {
				n.log.Error().Str("event", "signing_key_dropped").Err(err).
					Msg("nothing is issued, and gateways do not believe this node")
				return
			}
			n.log.Error().Str("event", "store_away").Err(err).
				Msg("the store cannot be looked into: nothing is issued, and the gateways' grace runs")
		},
		WroteBack: func(entries int) {
			n.log.Warn().Str("event", "revocations_written_back").Int("entries", entries).
				Msg("the store had lost revocations; they are in it again")
		},
		ClocksApart: func(node string, by time.Duration) {
			if by == 0 {
				n.log.Info().Str("event", "clocks_agree").Msg("the nodes' clocks agree again")
				return
			}
			n.log.Error().Str("event", "clocks_apart").Str("node", node).Dur("by_ms", by).
				Msg("the nodes' clocks differ too much: nothing is issued")
		},
		Alarm: func(err error) {
			n.log.Error().Str("event", "alarm").Err(err).Msg("somebody should look at this")
		},
		KeysChanged: func(set *ticket.KeySet) {
			n.log.Info().Str("event", "keys_in_force").Uint64("version", set.Version).Strs("keys", set.KeyIDs()).
				Msg("this key set is in force")
		},
	}
}

// logRequest writes a line for each request at the authority's door.
func (n *Node) logRequest(a api.Access) {
	e := n.log.Info()
	switch {
	case errors.Is(a.Err, context.Canceled), a.Err == nil && isFollowing(a):
		e = n.log.Debug() // a gateway that asks all the time, or has gone
	case a.Status >= 500:
		e = n.log.Error()
	}
	e.Str("event", "authority_request").Str("client", a.Client).Str("source", a.Source).
		Str("method", a.Method).Str("route", a.Route).Int("status", a.Status).Dur("took_ms", a.Took)
	if a.Ticket != "" {
		e.Str("ticket", a.Ticket)
	}
	if a.Reason != "" {
		e.Str("reason", string(a.Reason)).AnErr("error", a.Err)
	}
	e.Msg("request to the authority")
}

// isFollowing tells a gateway's questions from what people and servers ask for.
func isFollowing(a api.Access) bool {
	switch a.Route {
	case "/v1/keys", "/v1/heads", "/v1/cuts":
		return true
	}
	return a.Route == "/v1/revocations" && a.Method == http.MethodGet
}

// logXMLRequest writes a line for each request at the authority's XML door.
func (n *Node) logXMLRequest(a ctxsta.Access) {
	n.logRequest(api.Access{
		Client: a.Client, Method: a.Method, Route: strings.TrimSpace(a.Route + " " + a.Message), Ticket: a.Ticket,
		Status: a.Status, Reason: a.Reason, Err: a.Err, Source: a.Source, Took: a.Took,
	})
}

// followHooks tell how an authority is followed.
func (n *Node) followHooks(authority string) follow.Hooks {
	return follow.Hooks{
		Node: func(name string, up bool, why error) {
			if up {
				n.log.Info().Str("event", "authority_up").Str("authority", authority).Str("node", name).Msg("the authority's node answers")
				return
			}
			n.log.Error().Str("event", "authority_down").Str("authority", authority).Str("node", name).
				Str("reason", string(ticket.ReasonOf(why))).Err(why).Msg("the authority's node is not asked for a while")
		},
		Lost: func(err error) {
			if err == nil {
				n.log.Info().Str("event", "revocations_followed").Str("authority", authority).Msg("revocations are followed again")
				return
			}
			n.log.Error().Str("event", "revocations_lost").Str("authority", authority).
				Str("reason", string(ticket.ReasonOf(err))).Err(err).
				Msg("revocations cannot be followed: no new tunnel is admitted when the grace is over, or before it has begun")
		},
		Keys: func(set *ticket.KeySet) {
			n.log.Info().Str("event", "keys_in_force").Str("authority", authority).Uint64("version", set.Version).
				Strs("keys", set.KeyIDs()).Msg("this key set is in force")
		},
		Alarm: func(node string, what error) {
			n.log.Error().Str("event", "alarm").Str("authority", authority).Str("node", node).Err(what).
				Msg("somebody should look at this")
		},
	}
}

// serverLog gives net/http's complaints, most of them about strangers, a place.
func (n *Node) serverLog(part string) *log.Logger {
	return log.New(writerFunc(func(line string) {
		n.log.Debug().Str("event", "http").Str("part", part).Msg(tunnel.SafeText(line, 300))
	}), "", 0)
}

type writerFunc func(line string)

func (f writerFunc) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, errors.New("an empty line")
	}
	f(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
