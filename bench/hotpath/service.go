package main

import (
	"encoding/json"
	"net"
	"sync"
)

// service is what tunnels lead to: it answers exchanges.
func service(in *json.Decoder, out *json.Encoder) error {
	var nothing struct{}
	if err := in.Decode(&nothing); err != nil {
		return err
	}
	l, err := listenLoopback(false)
	if err != nil {
		return err
	}
	var accepting sync.WaitGroup
	accepting.Go(func() { serveExchanges(l) })
	if err := out.Encode(ready{Addr: l.Addr().String()}); err != nil {
		return err
	}
	err = untilEOF(in)
	_ = l.Close()
	accepting.Wait() // the connections end with the process
	return err
}

func serveExchanges(l net.Listener) {
	buffers := newChunks()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_ = buffers.answer(conn) // what went wrong, the client sees too
		}()
	}
}
