// Package follow is the gateway's side of an authority: it redeems tickets,
// remembers the answers, and follows revocations so that live tunnels end too.
//
//	presentation ─► hash ─► known? ───────────────► claims       no I/O, no allocation
//	                          │ no
//	                          └► redeem at the Source ─► verify ─► remember
//
//	Source.Revocations ─► revoked set ─► Config.Cut ─► Source.ReportCuts
//
// A gateway trusts nothing that a source says of a ticket: the statement must be
// signed by a key of the authority's set, name this gateway and speak of the
// presented handle. What the source is trusted with is that it tells of
// revocations.
//
// The order of two writes carries the guarantee that a revocation misses no
// tunnel. A gateway enters a tunnel in its registry and then asks [Follower.Revoked];
// the follower enters the revocation in its set and then calls Config.Cut, which
// walks that registry. Whichever comes second sees the first.
//
// The Source here is the authority in the same process. It is an interface so
// that an authority elsewhere can take its place.
package follow
