package tunnel

import (
	"crypto/tls"

	"github.com/sallyport/sallyport/tunnel/record"
)

// Records is whose record layer carries the streams of TLS 1.3; those of TLS 1.2
// are always crypto/tls's. See package record for what it is worth, and what it
// asks you to trust.
type Records uint8

const (
	// StdRecords: crypto/tls carries everything.
	StdRecords Records = iota
	// DirectRecords: our own for every suite of TLS 1.3.
	DirectRecords
	// AutoRecords: our own where the suite is AES-GCM, which it is for clients
	// whose processors help with it, and crypto/tls for the rest.
	AutoRecords
)

// wants tells whether a connection is to be taken over.
func (r Records) wants(state *tls.ConnectionState) bool {
	if state.Version != tls.VersionTLS13 || !record.Supported(state.CipherSuite) {
		return false
	}
	switch r {
	case DirectRecords:
		return true
	case AutoRecords:
		return state.CipherSuite != tls.TLS_CHACHA20_POLY1305_SHA256
	}
	return false
}
