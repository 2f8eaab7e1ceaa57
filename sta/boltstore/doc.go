// Package boltstore keeps an authority's tickets in one local file, with bbolt:
// a copy-on-write B+tree, one writer at a time, readers that never wait for it.
// Writers who come together share an fsync.
//
// A ticket has a reference: 8 bytes of a number that grows with each ticket, and
// its id. References sort by age, and every index leads to one:
//
//	tickets      reference                      → checksum, JSON record
//	ids          id                             → reference
//	hashes       SHA-256 of the handle          → reference
//	users        length, user,   reference      → –
//	devices      length, device, reference      → –
//	expiry       Unix seconds,   reference      → –
//	members      length, family, reference      → Unix seconds of expiry
//	revocations  serial                         → checksum, JSON revocation
//	families     family                         → serial     (the revoked ones)
//	forget       Unix seconds,   serial         → –
//	meta         "schema", "keyset"
//
// What makes a revocation count stands there twice, once in its record and once
// in families and forget: when a record cannot be read, these do in its place. So
// do ids and members for a ticket that must be revoked; but nobody gets in by a
// ticket whose record cannot be read.
//
// All numbers are big-endian. There is no handle in the file, and nothing that
// leads to one: what it holds opens no tunnel.
package boltstore
