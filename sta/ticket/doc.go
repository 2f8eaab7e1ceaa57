// Package ticket is the heart of the pass: the secret a device holds, what the
// authority signed about it, and how the two are brought together. It is pure:
// no I/O, no clock but the one it is given.
//
//	handle      ABCD…  32 characters, the secret; only the device has it
//	   │ SHA-256
//	   ▼
//	h ─────────► statement   a JWT (RFC 7519), Ed25519 (RFC 8037), with h inside
//	                │
//	token = statement ~ handle      what a device may present to be checked offline
//
// A [Handle] opens a tunnel; a statement alone opens nothing, because every
// path that accepts one compares SHA-256(handle) with the statement's h. So
// stores, caches, lists, audit and logs hold statements and ids, and a thief of
// any of them holds nothing. Operators name a ticket by its jti.
//
// [Signer] makes statements, [Verifier] judges them, [ParsePresentation] reads
// every form in which a client may present a ticket. A [KeySet], signed by the
// authority's root key, says which signing keys are good; gateways pin the root.
// Each kind of signed object has a typ of its own and is refused in place of
// another (RFC 8725 §3.11).
//
// A [Revocation] ends tickets: by its id or family one that was named, by user,
// device or both, or all, what was issued up to a cut; one with a stage lets them
// in again, each at a time of its own. [RevokedSet] tells at once whether one
// covers a ticket. Revocations travel as entries of logs. Each writer has a log,
// in which every [Entry] names the hash of the one before:
//
//	1 ◄─ 2 ◄─ 3 ◄─ 4     the signature of the last vouches for all
//	               ▲
//	            [Head]   what one node knows of every log at a moment, signed: position
//	                     and hash of each last entry, and what has been forgotten
//
// [KeySet.VerifyRun] accepts entries that follow one another when the last one is
// signed by a key of the set or named by a head; so entries stay good when their
// key is taken out. [Positions] says how far somebody has read. A signed object
// has one spelling: hashes are over its text, and a store that could write the
// same entry in two ways could make nodes take each other's logs for forged.
//
// [Reason] is the closed list of refusals shared by wire, log, metric and audit.
package ticket
