// Package node runs what a configuration file describes: an authority, a
// gateway, or both, in this process. It is the one place where the packages
// meet; none of them knows it.
//
//	certs ─► authority: store, keys, audit ─► JSON door     accepts first
//	   └───► gateway: policy, split DNS, follower ─► listener
//
// What the packages tell through their hooks becomes log lines in logs.go and
// refusals.go; names.go joins split DNS to the gateway.
//
// [Start] leaves nothing behind when it fails. [Node.Reload] changes what may
// change while it runs, each part whole or not at all, and names the rest.
// [Node.Drain] waits for live tunnels, with the authority still there to revoke
// them; [Node.Close] ends everything.
package node
