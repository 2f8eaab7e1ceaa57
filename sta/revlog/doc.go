// Package revlog keeps revocations: every writer's log, as far as it is known
// here, on disk, and in memory the set that tells whether a ticket is ended.
//
//	writer gw-1.k3f9x2ab   1 ◄─ 2 ◄─ 3 ◄─ 4        each names the hash of the one before
//	writer gw-2.q7m2c4de   1 ◄─ 2
//	                       └ From ┘      └ Position: the tip
//
// Each node of an authority has such a log and writes one of the writers, its
// own. A node gets the other writers' entries from the store, a gateway gets all
// of them from an authority; both go through [Log.Take], which accepts nothing
// that was not signed, that leaves a gap, or that differs from what is here
// already. What was taken once stays in force, whatever the store says later.
//
// A writer's name is drawn anew in each life of a process. So nobody continues a
// log whose end he has forgotten, after a backup was put back or a disk was lost,
// and no two entries ever claim one place.
//
// An entry is dropped when every ticket that it ended has expired, and then only
// from the beginning of a log: From says up to where. Of a log that was dropped to
// its end it is known for three more days where it stood, for its writer may go
// on with it; of the own one always. Whoever comes later jumps over what is
// dropped, where a signed head says that it is.
//
// A page of entries is taken as a whole, and only if its last one is vouched for:
// by its signature, or by a head when the key is no longer in the set. A page of
// such entries that ends before the head's position is refused.
//
// What is taken or appended is in force before it is on the disk. A disk that is
// full, or that cannot be read, delays no revocation: [UnsavedError] says that one
// would not outlive the process, and [Log.Save] tries again.
//
// Nothing is lost in silence. Entries name one another; a sum over all records,
// kept in the same transaction, guards the last ones, the notes, and how far logs
// are forgotten; and the pages of the file are looked at before bbolt goes by
// them. What does not fit is a [DamagedError] when the file is opened. A file that
// is gone altogether is a new one.
package revlog
