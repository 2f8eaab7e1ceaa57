// Package wire holds what is true of every DNS message and every name in one,
// whoever sends it: the questions of devices and those to servers are held to
// the same rules because the rules are here.
package wire
