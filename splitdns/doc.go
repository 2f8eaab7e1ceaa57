// Package splitdns turns the names that a policy allows into addresses, and
// answers the questions of devices inside their tunnels.
//
// # Who is asked
//
// Three places know names, and the first that is responsible answers:
//
//	hosts         addresses that the administrator pinned to the name
//	zone SUFFIX   the servers of the zone with the longest suffix, by whole labels
//	public        the servers for the names in no zone
//
// A pinned name is never asked of a server, for any type, so nobody outside can
// add an address to it; pins take the place of /etc/hosts, which is not read.
// Names are absolute: search domains never apply, and "mail" cannot become
// "mail.corp.example.com". What is under localhost, invalid and onion is asked
// of nobody unless it lies in a zone, and stub.DeviceDNS of nobody at all.
// Servers, their transports and their health are the matter of package upstream;
// one group of them is an Asker here.
//
// # Who is believed
//
// A server is believed about names of its own zone, and the public ones about
// names in no zone: about nothing else, whatever comes along with an answer. An
// alias (CNAME, or a DNAME above the name) that leads into another zone is asked
// there:
//
//	mail.example.com ─▶ mx.example.com ─▶ tenant.cloud.example.net ─▶ 192.0.2.1
//	└──── zone example.com answers ────┘ └──────── public answers ────────────┘
//
// What one question to one zone brings to light is a segment, and segments are
// what the cache holds: each depends on one zone's word alone, so zones cannot
// poison each other. A chain is put together from its segments each time. It has
// at most eight aliases, is refused where it runs in a circle, lives as long as
// its shortest-lived part, and ends at once at a pinned name. Records that do not
// follow, link by link, from the question are as if they were not there.
//
// # Addresses
//
// A and AAAA are asked together. The family that has some waits 50 ms for AAAA,
// or 250 ms for A; what comes later lands in the cache and serves the next
// caller. A family that has none waits for the other as long as the look-up may
// take. Addresses come back unmapped (RFC 4291 §2.5.5.2), each once, and at most
// 32 of them. Whether one of them may be dialled is not judged here.
//
// # What is remembered
//
// An answer lives for its TTL, at most 24 h; "no such name" and "no such record"
// as long as the SOA says (RFC 2308), at most 5 min, and not at all without one; a
// TTL of 0 is not kept. A failure is remembered for 2 s, so that servers in
// trouble are not hammered.
//
// When the servers fail, or have not answered after 1.8 s, an answer that
// expired less than an hour ago is served in their place, marked stale, with a
// TTL of 30 s (RFC 8767), and asking goes on behind it. In the 30 s after a
// failure nobody waits at all. A denial is no failure: after "no such name"
// nothing older is served, and a denial itself is never served stale.
//
// # Sharing
//
// Callers that want the same question answered at the same time share one
// look-up. It belongs to all of them: one that gives up leaves the others
// waiting, and the last that gives up ends it. Only a look-up whose callers went
// because they had enough flies on, to its answer or its timeout, at most 256 of
// them. Close ends all.
//
// # Devices
//
// Service answers DNS over TCP in a tunnel to stub.DeviceDNS. View tells it what
// the one device may know.
package splitdns
