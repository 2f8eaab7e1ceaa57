// Package auditlog keeps the authority's audit log in a file of JSON lines:
//
//	{"time":"2026-03-01T09:15:04.120Z","action":"issue","result":"ok","ticket":"k3…","client":"enrolment",
//	 "user":"user2","device":"d1","app":"Secure Mail","source":"10.0.0.7:41022",
//	 "text":"STA ticket generated successfully for user \"user2\" for app \"Secure Mail\""}
//
// A ticket leaves the authority only when its line is on the disk, so a storm of
// enrolments waits on fsync. Whoever appends while the disk is busy joins a
// group; the group's first member writes for all of it, once the disk is free,
// and one fsync serves them together. That needs no goroutine of its own.
//
//	A ──► group 1 ──► write, fsync ─────────► A returns
//	B ──────► group 2 (waits) ──► write, fsync ──► B, C, D return
//	C ────────► group 2
//	D ──────────► group 2
//
// A group that cannot be written whole — a full disk — is cut off again, and
// each of its members gets the error; until it is cut off, nothing else is
// written. Nor is anything written to a file that was removed. What a crash left half-written is closed
// off with a line break at the next start: it stands as one line that [Parse]
// refuses, and spoils no other.
package auditlog
