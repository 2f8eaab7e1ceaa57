// Package lint finds in a policy what its grammar allows and an administrator
// cannot have meant, and says how to mend it before devices notice.
//
// The core of the gateway decides by a list and nothing else. What devices do
// with that list depends on settings that stand elsewhere in the console: where
// mailboxes live, whether everything is sent to the gateway, which region
// pushes. This package knows how these hang together:
//
//	Facts       names, addresses and dates of the outside world, each with its source
//	Check       a policy as written  → findings, each with a fix
//	CheckNames  what its names resolved to, inside and outside → findings
//	Expand      where mailboxes are, on which platform → the list that belongs there
//	Diff        two sets of policies → which devices gain and lose what
//
// It is as pure as the core: facts are bytes, the clock and the answers of DNS
// servers are arguments. Nothing here decides on a tunnel, and nothing that is
// found here keeps a gateway from serving.
//
// # Who is right
//
// Whether a service is allowed is never worked out here: lint and diff compile
// the policy and ask it, so that they cannot disagree with the gateway. A policy
// that does not compile has no findings; what is wrong with it is the error of
// policy.Compile.
//
// # Facts age
//
// The list of registration hosts, the names of Exchange Online and the dates on
// which Microsoft takes Exchange Web Services away are data, in facts.json, with
// source and date beside each. An operator who knows better prints them, changes
// them and names the file in the configuration; it takes the place of the whole.
package lint
