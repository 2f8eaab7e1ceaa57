// Package redistest starts real Redis servers for tests: one server, replicas,
// three Sentinels, a Cluster of three. They listen on loopback, on ports below
// those that the system gives out, keep their files in the test's own folder, and
// end with the test, also when they have been stopped or killed meanwhile.
//
// Nothing here waits by sleeping: what a server says on its standard output tells
// how far it is.
package redistest
