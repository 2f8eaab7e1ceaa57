// Package splitdns turns the names that a policy allows into addresses.
//
// A name is looked for in two places, and the first that knows it answers:
//
//	hosts    static addresses that the administrator pinned to the name
//	system   the resolver of the machine, asked with an absolute name
//
// A pinned name is never asked of the system, so that nobody outside can add an
// address to it. The name goes to the system with a trailing dot: search
// domains never apply, and "mail" cannot become "mail.corp.example.com".
//
// Addresses come back unmapped (RFC 4291 §2.5.5.2), each once, and bounded in
// number. Whether one of them may be dialled is not judged here.
//
// Callers that want the same name at the same time share one look-up. It
// belongs to all of them: one that gives up leaves the others waiting, and the
// last that gives up ends it, so that no look-up outlives its callers.
package splitdns
