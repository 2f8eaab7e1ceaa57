package main

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"log"

	socks5 "github.com/armon/go-socks5"
)

// naiveSetup is what the naive gateway is told.
type naiveSetup struct {
	Cert     string `json:"cert"` // file
	Key      string `json:"key"`  // file
	User     string `json:"user"`
	Password string `json:"password"`
}

// naive is the gateway that everything is compared with. Nothing in it is tuned,
// neither to look good nor to look bad: the library's own accept loop, its own
// password check, its two io.Copy, and crypto/tls with nothing but the minimum
// version set.
func naive(in *json.Decoder, out *json.Encoder) error {
	var setup naiveSetup
	if err := in.Decode(&setup); err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(setup.Cert, setup.Key)
	if err != nil {
		return err
	}
	proxy, err := socks5.New(&socks5.Config{
		Credentials: socks5.StaticCredentials{setup.User: setup.Password},
		Logger:      log.New(io.Discard, "", 0),
	})
	if err != nil {
		return err
	}
	l, err := listenLoopback(true)
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}
	served := make(chan error, 1)
	go func() { served <- proxy.Serve(tls.NewListener(l, config)) }()
	if err := out.Encode(ready{Addr: l.Addr().String()}); err != nil {
		return err
	}
	err = untilEOF(in)
	_ = l.Close()
	<-served // its error says that the listener is closed
	return err
}
