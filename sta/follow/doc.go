// Package follow is the gateway's side of an authority: it redeems tickets,
// remembers the answers, and follows what is revoked, so that nobody ended is let
// in, and nobody at all when that is not known.
//
//	presentation ─► hash ─► known? ───────────────► claims       no I/O, no allocation
//	                          │ no
//	                          └► redeem at a node ─► verify ─► remember
//
//	node ─► Updates ─► entries ─► revlog (in force, on disk) ─► Config.Cut ─► ReportCuts
//	                └► head ────► good? ─► the grace begins anew
//
// An authority has one node or several. One is followed: asked again and again
// for what is new, with a request that stays open until there is something. The
// others are looked at now and then, so that a node that is down is known to be
// before it is needed. Whatever a node says is judged here: entries and heads are
// signed, entries of one log follow one another, and a statement must be signed by
// a key of the authority's set, name this gateway and speak of the presented
// handle. A node that answers something else is treated as one that does not
// answer.
//
// What a node cannot be made to prove is that it told everything. That is what
// heads are for. A head says, signed and dated, how far each log goes. Only one
// that names nothing that is missing here, and misses nothing that is here, is a
// good one, and the newest good one carries the grace: for so long after its
// date tickets are admitted, and not a moment longer. It is counted on a clock
// that runs while the machine sleeps and that nobody sets. A restart renews
// nothing: when the last good head was is kept beside the logs.
//
// The order of two writes carries the guarantee that a revocation misses no
// tunnel. A gateway enters a tunnel in its registry and then asks
// [Follower.Revoked] and [Follower.KeyGone]; the follower puts an entry, or a key
// set, in force and then calls Config.Cut, or Config.CutKeys, which walks that
// registry. Whichever comes second sees the first.
package follow
