package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
)

// A role is told what it needs in the first line of its input, and answers with
// a ready line. What it is told may hold secrets, so none of it is an argument,
// where everybody on the machine could read it.
type role func(in *json.Decoder, out *json.Encoder) error

// roles are what a child process can be.
func roles() map[string]role {
	return map[string]role{"naive": naive, "service": service, "client": client}
}

// ready is the first line of a role's output.
type ready struct {
	// Addr is where a role listens that does.
	Addr string `json:"addr,omitempty"`
}

func runRole(name string, stdin io.Reader, stdout io.Writer) error {
	play, known := roles()[name]
	if !known {
		return fmt.Errorf("no role is called %q", name)
	}
	return play(json.NewDecoder(stdin), json.NewEncoder(stdout))
}

// untilEOF waits for the end of the input, by which a role is told to end.
func untilEOF(in *json.Decoder) error {
	var nothing json.RawMessage
	if err := in.Decode(&nothing); !errors.Is(err, io.EOF) {
		return errors.Join(errors.New("no order was expected"), err)
	}
	return nil
}

// listenLoopback leaves keep-alives off if it is to, for those of clients and
// services are no part of what is measured. Of thousands of idle connections
// that were opened together, keep-alives come in bursts, and on loopback the
// kernel drops what of a burst is over net.core.netdev_max_backlog, again and
// again, until connections end that nothing is wrong with.
func listenLoopback(keepAlive bool) (net.Listener, error) {
	var config net.ListenConfig
	if !keepAlive {
		config.KeepAlive = -1
	}
	return config.Listen(context.Background(), "tcp", "127.0.0.1:0")
}
