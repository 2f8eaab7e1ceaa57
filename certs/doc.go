// Package certs gives the gateway and the authority their TLS identity.
//
// A Source holds certificates and hands them to crypto/tls. It comes from one
// of two modes:
//
//	files   OpenFiles   certificates and keys that somebody else looks after
//	dev     OpenDev     a certification authority of our own in one folder, for
//	                    development and the demo, on loopback only
//
// The development authority is built to be harmless if it is trusted by more
// than it should be. Its certificate permits a handful of DNS names and the
// loopback addresses, marked critical (RFC 5280 §4.2.1.10), it may sign TLS
// servers only, and no further authority. Whoever copies its key can pretend to
// be those names and nothing else.
//
//	dir/ca.pem       the authority's certificate, for clients to trust
//	dir/ca-key.pem   its key, 0600
//	dir/leaf.pem     the server's key and certificate in one file, 0600
//	dir/.lock        held while any of them is written
//
// Server key and certificate share a file, so that no crash and no second
// process can leave one without the other.
package certs
