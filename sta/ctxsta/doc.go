// Package ctxsta is the authority's other door: the XML protocol that existing
// enrolment servers and gateways speak, and the client for an authority of that
// kind that is not ours.
//
//	POST /Scripts/CtxSTA.dll          in any case
//	X-Citrix-XmlServiceKey: <the line of the client's key file>
//	Content-Type: text/xml
//
//	<?xml version="1.0"?>
//	<!DOCTYPE CtxSTAProtocol SYSTEM "CtxSTA.dtd">
//	<CtxSTAProtocol version="4.0">
//	  <RequestTicket> … </RequestTicket>    issue     → ResponseTicket
//	  <RequestData> … </RequestData>        redeem    → ResponseData
//	  <RequestSTAInfo/> and its like        any       → ResponseSTAInfo …
//	</CtxSTAProtocol>
//
// The middle column is the right that it takes. An answer has the same envelope,
// and the authority's ID in it whatever else it says; one that says no has an
// ErrorId out of [ticket.Reason]'s closed list. Whoever may redeem learns of a
// ticket that is no good nothing but that: malformed, unknown, expired, revoked
// and forged are one answer, byte for byte. The log has the reason.
//
// A stranger gets as far as his key, which is looked at before a byte of what he
// sends. Health checks have none and ask with GET: 406 tells them that the door
// is there, and the ID whose it is.
//
// XML is read by one small parser (xml.go), used for requests, for the document
// that hides escaped inside of a request (XData), and for the answers of foreign
// authorities. It has bounds on everything, resolves nothing, and refuses
// whatever two readers could understand in two ways: a document type with
// anything in it, entities of one's own, processing instructions, elements and
// attributes that stand twice, comments in the middle of a text.
//
// No published schema describes the protocol. What was seen in public and what
// is inferred is told apart in docs/ctxsta.md.
package ctxsta
