// Package bench measures what a gateway can hold, between hosts, over the network
// that is there. It says what was the limit, and declares a run void when the limit
// was the bench itself.
//
// # Who takes part
//
//	          ┌── control: TLS, a shared key ──┐
//	coordinator                              agents, one a host
//	                                           │
//	client ── socks, https, tls ──► endpoint ──► service at the sink      a turn
//	client ───────────────── tcp ──────────────► service at the sink      the direct run
//
// An Agent runs on the host of the sink, and on further hosts that make load or whose
// gateway is watched. The coordinator (Run) tells them what to do. Where no client is
// named, the coordinator's own process makes the load, through an agent of its own at
// the other end of a pipe, so that there is one way to do everything. The endpoint is a
// black box; whoever watches its process sees processor time and memory besides.
//
// # The control connection
//
// It is TLS 1.3, and both sides prove by HMAC over the TLS exporter (RFC 9266) that
// they hold the same key; until then an agent reads 16 KiB at most, for 5 s at most, of
// 64 connections at most, one of which gives way to one more (strangers.go). Then
// JSON messages follow, each in a frame (frame.go, calls.go): of 1 MiB at most, but for a
// plan with its tickets and a result. What a result or a sample may hold is bounded, and
// of a host's samples 256 MiB are kept; a report says if there were more. Either side takes 4 s of silence for the other's end. What an agent does
// for a coordinator ends with it; a coordinator whose agent is gone reports what there
// was until then, and says who went.
//
// # A run
//
//	reach     the agents, one program version, their clocks
//	refuse    what does not leave the host, unless it is allowed, and marked then: by
//	          whose the addresses are, however they are written
//	look      at the hosts, and sample them every second from now on
//	calibrate the generator alone; the way to the sink without an endpoint; the line
//	knee      if asked for: the highest load within the objectives
//	rounds    endpoints in turns, the order moving on by one each round
//	conclude  clocks again, figures, ratios, verdicts, limits, sizes
//
// Figures are medians of rounds, between the smallest and the largest; a ratio is made
// of two figures of one round. Latency counts from the moment that an operation was
// scheduled for, so a gateway that stands still for a second is seen by all who came in
// that second.
//
// # Void
//
// A round does not count when generator, sink, or the network devices of either were
// the limit (voids.go). Link and gateway are findings (limits.go). A run is void when
// half of the rounds of an endpoint are; fewer are named, and left out of the figures.
//
// # Clocks
//
// Hosts need not agree on the time. A clock is read by 25 exchanges of which the
// fastest counts, at the beginning and at the end, and moments are translated: a plan's
// beginning into each client's time, samples and seconds back into the coordinator's.
// Latency is measured on one host by one clock and knows nothing of this. An agent
// refuses a plan that, by its own clock, began more than a minute ago or begins in more
// than an hour: one of the two was set within the run.
package bench
