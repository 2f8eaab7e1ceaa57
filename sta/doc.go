// Package sta is the authority: it issues tickets, says whether one is good,
// revokes, and lists what it has given out.
//
//	client ──Issue──►  sign ─► store (durable) ─► audit (durable) ─► ticket leaves
//	gateway ─Redeem─►  hash ─► record ─► fits its key? revoked? expired? ─► statement
//	client ──Revoke─►  store (durable, numbered) ─► followers wake ─► audit
//	                                                    │
//	gateway ─Revocations─► blocks until there is one ◄──┘
//	gateway ─ReportCuts──► "applied up to N, cut so many" ─► Revoke's answer
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
// can forget. A gateway in the same process calls Redeem, Revocations and
// ReportCuts directly.
//
// [Init] and [OpenKeys] look after the authority's own keys.
package sta
