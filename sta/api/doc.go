// Package api is the authority's door for JSON over HTTPS, and the client for it.
//
//	POST   /v1/tickets        issue    {"user","device",…}   → 201 {"id","ticket","token","expires"}
//	GET    /v1/tickets        list     ?user=&device=&app=&status=&limit=&after=
//	                                                         → 200 {"tickets":[…],"next":cursor}
//	GET    /v1/tickets/{id}   list                           → 200 a ticket
//	DELETE /v1/tickets/{id}   revoke   ?operator=            → 200 what came of it
//	POST   /v1/revocations    revoke   {"user",…}            → 200 what came of it
//	GET    /v1/revocations    redeem   ?gateway=&after=&wait= → 200 {"logs","head"}
//	GET    /v1/heads          redeem                         → 200 {"heads":{node: signed}}
//	POST   /v1/cuts           redeem   {"applied","cuts","logs"} → 204
//	GET    /v1/keys           redeem                         → 200 {"keys": signed}
//	POST   /v1/redeem         redeem   {"hash"}              → 200 {"statement"}
//	GET    /v1/openapi.json   –                              → 200 all of this for programs
//
// The second column is the right that it takes. A client shows its key as
// "Authorization: Bearer <the line of its key file>", or a TLS certificate whose
// key the authority knows, or both. Whoever shows none, or a wrong one, or asks
// from a network that is not his, gets the same 401 whatever else he asked: he
// does not learn which addresses there are, and costs one hash. Only the OpenAPI
// document is for everybody.
//
// Errors are problem details (RFC 9457) with a reason out of [ticket.Reason]'s
// closed list:
//
//	{"type":"about:blank","title":"Gone","status":410,"detail":"the ticket was revoked","reason":"revoked"}
//
// JSON is read strictly: a member that is not known, or stands twice, or is null,
// a value of another type, anything behind the end — all are refused, and so are
// parameters of a query, because what two readers could understand in two ways is
// no request to an authority. A detail names the member and never repeats a value.
//
// A list's page may hold fewer tickets than its limit, even none; only the
// absence of "next" means the end.
//
// # Following
//
// A gateway asks GET /v1/revocations for what comes after the places that it has
// put in force. The answer waits for news up to 5 s, which is half of the time for
// which a gateway counts as following; asking past an entry is to say that it is in
// force, and POST /v1/cuts says the same at once, with the number of tunnels that
// ended. What is in the answers is signed, and is for the gateway to verify; this
// package only carries it. Answers may be large: they are written piece by piece
// from what is in memory already, and a [Client] waits for each piece, not for a
// whole that may take a slow line its time.
//
// openapi.json is written by hand. The tests hold it against the routes, and every
// request and answer of theirs against it.
package api
