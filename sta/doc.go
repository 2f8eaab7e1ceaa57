// Package sta is the authority: it issues tickets, says whether one is good,
// revokes, and lists what it has given out.
//
//	client ──Issue──►  sign ─► store (durable) ─► audit (durable) ─► ticket leaves
//	gateway ─Redeem─►  hash ─► record ─► fits its key? revoked? expired? ─► statement
//	client ──Revoke─►  own log (signed, durable, in force) ─► store ─► audit
//	                       │                                    │ other nodes look, take it,
//	                       │                                    ▼ and sign that they have it
//	gateway ─Updates─► waits for entries; gets them, and a head ─► cuts
//	gateway ─ReportCuts──► "applied up to there, cut so many" ─► Revoke's answer
//
// Nothing here ever keeps a handle: a [Record] holds the statement, the hash it
// is found by, and what operators ask for. Whoever steals the store can open
// nothing with it; whoever can write to it can neither mint a ticket, because
// gateways check the authority's signature and the authority checks its own key
// set against a pin that is not in the store, nor pass one ticket off as another,
// because a statement names its id and its handle's hash.
//
// An [Authority] stands on two interfaces that are declared here and filled
// elsewhere: [Store], with [NewMemoryStore] as the reference, and [AuditLog].
// The doors — JSON over HTTPS, and XML — live in packages of their own. They
// find out who is asking, by [Clients], and hand on a [Client]; what that client
// may do is decided here, and refusals of it are audited here, so that no door
// can forget. A gateway in the same process calls Redeem, Updates and
// ReportCuts directly.
//
// Revocations are kept by [revlog.Log], on this node's own disk; the store only
// carries them to the other nodes. [Authority.Run] looks into it all the time: it
// takes what others revoked, writes back what the store has lost, and signs heads,
// from which gateways count their grace.
//
// [Init], [Rotate] and [OpenKeys] look after the authority's own keys.
package sta
