// Package api is the authority's door for JSON over HTTPS, and the client for it.
//
//	POST   /v1/tickets        issue    {"user","device",…}   → 201 {"id","ticket","token","expires"}
//	GET    /v1/tickets        list     ?user=&device=&app=&status=&limit=&after=
//	                                                         → 200 {"tickets":[…],"next":cursor}
//	GET    /v1/tickets/{id}   list                           → 200 a ticket
//	DELETE /v1/tickets/{id}   revoke                         → 200 what came of it
//	POST   /v1/redeem         redeem   {"hash"}              → 200 {"statement"}
//
// The second column is the right that it takes. A client shows its key as
// "Authorization: Bearer <the line of its key file>". Whoever shows none, or a
// wrong one, gets the same 401 whatever else he asked: he does not learn which
// addresses there are, and costs one hash.
//
// Errors are problem details (RFC 9457) with a reason out of [ticket.Reason]'s
// closed list:
//
//	{"type":"about:blank","title":"Gone","status":410,"detail":"the ticket was revoked","reason":"revoked"}
//
// JSON is read strictly: a member that is not known, or stands twice, or is null,
// a value of another type, anything behind the end — all are refused, because
// what two readers could understand in two ways is no request to an authority.
// A detail names the member and never repeats a value.
//
// A list's page may hold fewer tickets than its limit, even none; only the
// absence of "next" means the end.
package api
