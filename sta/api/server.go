package api

import (
	"crypto/tls"
	"net/http"
	"time"
)

const (
	// idleTimeout ends connections on which nothing is asked. It is all that
	// bounds one over HTTP/2 whose client never asks anything, and so never
	// shows who he is.
	idleTimeout = 15 * time.Second
	// idleClient is how long a Client keeps one. It is the shorter one, so that
	// no request is sent into a connection that is just being closed.
	idleClient = idleTimeout * 2 / 3
	// answerTime is how long an answer may take to be written. Of one that waits
	// for news it counts from the news.
	answerTime = 30 * time.Second
)

// NewServer gives a server for the handler with every bound set, so that a
// stranger costs little and not for long: 5 s for the TLS handshake, 5 s for a
// request's header, 10 s for an HTTP/2 preface, and 15 s in silence. The caller
// sets ErrorLog and the rest, and gives it a listener that speaks TLS, with a
// configuration that [AskForCertificates] has seen.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    MaxHeader,
		HTTP2: &http.HTTP2Config{
			// Enrolment servers that ask for more at a time open further
			// connections, or wait their turn.
			MaxConcurrentStreams:          32,
			MaxReadFrameSize:              16 << 10, // the least that there is
			MaxReceiveBufferPerStream:     MaxBody,
			MaxReceiveBufferPerConnection: 4 * MaxBody,
			// WriteTimeout ends a stream, this the connection under it, when a
			// client does not read.
			WriteByteTimeout: idleTimeout,
		},
	}
}

// AskForCertificates gives a copy of the configuration of the door's listener that
// asks each client for a certificate, and takes any or none: the handshake proves
// that the client has its key, and whose key it is [sta.Clients] knows. It does
// not reach configurations that GetConfigForClient gives; those need the same
// ClientAuth.
func AskForCertificates(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.ClientAuth = tls.RequestClientCert
	return c
}
