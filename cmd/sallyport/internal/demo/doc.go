// Package demo shows everything at work in one process on loopback: an
// authority and a gateway run by a configuration file of their own, a stand-in
// mail server, an enrolment server that requests a ticket, and a device that
// uses it. Nothing is simulated but the mail server: each step goes over the
// sockets, with the checks, that it goes over in service.
//
//	place.go   the folder: configuration, keys, log; and which ports are free
//	stage.go   what runs
//	steps.go   what is shown, each step failing the demo if it does not hold
//
// What it writes stays usable while it runs, so the commands that it prints can
// be pasted into another shell.
package demo
