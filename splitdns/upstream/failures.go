package upstream

import (
	"errors"
	"net"
	"os"
	"strings"
)

// Cause puts what Ask returned into a few words: each server that was asked, and
// what came of it. "" is for an error that names no server.
//
//	10.0.0.53: connection refused; 10.0.0.54: no answer in 1.5s
func Cause(err error) string {
	var asked *askError
	if !errors.As(err, &asked) {
		return ""
	}
	var parts []string
	for _, f := range asked.failures {
		parts = append(parts, f.of.String()+": "+reason(f.err).Error())
	}
	return strings.Join(parts, "; ")
}

// reason leaves out of an error which socket it was on, and what was done to it.
func reason(err error) error {
	var network *net.OpError
	if errors.As(err, &network) {
		err = network.Err
	}
	var system *os.SyscallError
	if errors.As(err, &system) {
		err = system.Err
	}
	return err
}
