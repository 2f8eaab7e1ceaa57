// Package redisstore keeps what the nodes of an authority share in Redis, 7.0 or
// later: one server, one behind Sentinels, or a Cluster.
//
// All keys of an authority begin alike. What is in braces is what a Cluster
// chooses the node by, so that all are on one node, and MULTI/EXEC and WAIT hold
// for all of them; an authority does not spread over a Cluster, several do. STA01
// has, each behind sallyport:{STA01}:
//
//	t:HASH     string      the record, as JSON; HASH as its text form is
//	i:ID       string      the ticket's card: number, ID, hash, family, user, device, expiry
//	tickets    sorted set  references, by age
//	u:USER     sorted set  references, by age
//	d:DEVICE   sorted set  references, by age
//	expiry     sorted set  cards, by Unix seconds of expiry
//	sequence   string      the last number that was given to a ticket
//
//	e:WRITER   sorted set  a log of revocations: signed entries, by position
//	writers    set         whose logs there are
//
//	keyset     string      the key set, as JSON
//	n:NAME     string      a notice, which goes at the end of its life
//	notices    sorted set  names, by when their notices go, in Unix milliseconds
//	changed    channel     told of each entry, notice and key set
//
// A reference is a ticket's number in 16 hexadecimal digits, its hash and its ID:
// references sort by age, and lead to the record at once. What hangs together is
// written by one MULTI/EXEC, so that a ticket is there with all that leads to it,
// or not at all. Tickets go when they are swept; if nobody sweeps, they and the
// indexes that name them go by themselves two days after they expire, or after
// [Config].Keep.
//
// The server runs no scripts, and its user needs no more than this, in one line
// of the ACL file. SELECT comes to it for a database other than 0:
//
//	user sallyport on >PASSWORD ~sallyport:{STA01}:* &sallyport:{STA01}:*
//	    +ping +time +watch +unwatch +multi +exec +wait
//	    +get +mget +set +del +exists +expireat +incr +sadd +srem +smembers
//	    +zadd +zrem +zrange +zcount +zremrangebyscore
//	    +publish +subscribe +cluster|slots
//
// Where nobody logs in as the default user, it is switched off and keeps its
// rights: user default off +@all ~* &*. With them Redis reads its append-only
// file back in at a start; without, it drops every transaction and starts empty.
//
// Redis holds no handle and no key, and nothing that opens a tunnel: what is
// signed is judged by whoever takes it out. It does hold names of users and
// devices. Set maxmemory-policy noeviction: a server that throws away the index of
// a user hides his tickets from whoever revokes them.
//
// A master that fails takes along what its replicas do not have yet. So tickets
// and revocations wait for [Config].Replicas; all else, and what was lost
// nevertheless, the nodes write back. While a Cluster moves our slot to another
// node, calls fail; afterwards they follow it.
package redisstore
