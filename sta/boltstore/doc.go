// Package boltstore keeps what an authority stores in one local file, with bbolt:
// a copy-on-write B+tree, one writer at a time, readers that never wait for it.
// Writers who come together share an fsync.
//
// A ticket has a reference: 8 bytes of a number that grows with each ticket, and
// its id. References sort by age, and every index leads to one:
//
//	tickets   reference                   → checksum, JSON record
//	ids       id                          → reference
//	hashes    SHA-256 of the handle       → reference
//	users     length, user,   reference   → –
//	devices   length, device, reference   → –
//	expiry    Unix seconds,   reference   → –
//	members   length, family, reference   → Unix seconds of expiry
//	log       writer, NUL, position       → signed entry
//	meta      "schema", "keyset"
//
// Nobody gets in by a ticket whose record cannot be read; but what the indexes
// know of it is enough to list and revoke it. An entry of the log vouches for
// itself: it names its place, and whoever takes it out verifies its signature.
// One that cannot be read is left out until a node that has it puts it back.
//
// All numbers are big-endian. There is no handle in the file, and nothing that
// leads to one: what it holds opens no tunnel. The notices that nodes leave for
// one another are in memory only, for one process has the file to itself.
package boltstore
