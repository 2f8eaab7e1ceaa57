// Package standin is the mail server that the demo, the tests and the bench
// put behind the gateway: one TLS listener that answers as the hosts on a
// device's list would. It is a real HTTP server (HTTP/1.1 and HTTP/2), so that
// a tunnel to it carries real handshakes, long polls and bodies.
//
// The Host header picks the part:
//
//	mail.*         ActiveSync, EWS and bulk transfer
//	ews.*          EWS and bulk transfer
//	*.pushreg.*    device registration for push notifications
//
// Any other host gets 421 Misdirected Request (RFC 9110 §15.5.20).
//
// # What is the protocol, to the letter
//
//   - The ActiveSync OPTIONS answer and its header names (MS-ASHTTP §2.2.4), at
//     /Microsoft-Server-ActiveSync and at Traveler's
//     /traveler/Microsoft-Server-ActiveSync.
//   - WBXML 1.3 as ActiveSync uses it: switch of code page, inline strings,
//     opaque data, no attributes and no string table (MS-ASWBXML §2.1).
//   - Ping: heartbeat and folders, the range 60 s to 3540 s, the reuse of what
//     a device sent last when it leaves something out, and the statuses 1 to 6
//     (MS-ASCMD, Ping). FolderSync: the first sync and the sync without changes.
//   - EWS over SOAP 1.1: GetFolder, FindItem, Subscribe for streaming,
//     GetStreamingEvents, Unsubscribe, in the namespaces of schema 2006.
//
// # What is not
//
//   - Nobody is asked for a password, and every device sees the same mailbox.
//   - A message is no more than a count: [Server.Notify] adds one to a folder.
//     The answer to a Ping settles what it tells, where a real server waits for
//     the Sync that follows; a Ping that its client gave up settles nothing, so
//     the next one tells it.
//   - MS-ASProtocolCommands names only what is answered here. Other commands get
//     501; the base64 form of the query line is not read.
//   - The registration service of the real push hosts is not public: POST
//     /register is our own. So is /bulk, which has no model at all.
package standin
