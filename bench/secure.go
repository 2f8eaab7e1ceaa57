package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// A control connection is TLS 1.3 with a certificate that the agent makes at its
// start and nobody knows. What proves each side to the other is the key: an HMAC over
// what only the two ends of this one TLS connection have in common (tls-exporter,
// RFC 9266). Somebody in between has two TLS connections and so two exporters, and a
// proof for one is worth nothing on the other.
//
//	coordinator                                 agent
//	    ──────────── TLS 1.3 handshake ──────────►
//	    ── HMAC(key, "coordinator" ‖ exporter) ──►   or the connection is closed
//	    ◄──── HMAC(key, "agent" ‖ exporter) ─────    or the coordinator goes away
//	    ──────────────── hello ──────────────────►
//	    ◄─────────────── hello ───────────────────
const (
	exporterLabel    = "EXPORTER-Channel-Binding" // RFC 9266 §2
	exporterBytes    = 32
	proofCoordinator = "sallyport bench 1 coordinator\n"
	proofAgent       = "sallyport bench 1 agent\n"
	controlProtocol  = "sallyport-bench/1" // ALPN

	// proveTime bounds a connection's life before both sides are proved, and
	// proveBytes what is read of it.
	proveTime  = 5 * time.Second
	proveBytes = 16 << 10
)

// errKey is a side that does not hold the key.
var errKey = errors.New("the other side does not hold the same key")

// newIdentity makes the certificate of an agent. It says nothing and is never
// verified; TLS wants one.
func newIdentity() (tls.Certificate, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-24 * time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, err
}

// acceptSecure is the agent's side, which has until ctx ends. An error means that
// nothing was proved; the caller closes conn.
func acceptSecure(ctx context.Context, conn net.Conn, identity tls.Certificate, key Key) (*tls.Conn, error) {
	bounded := &boundedConn{Conn: conn, left: proveBytes}
	secure := tls.Server(bounded, &tls.Config{
		Certificates:           []tls.Certificate{identity},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{controlProtocol},
		SessionTicketsDisabled: true,
	})
	err := prove(ctx, secure, func(state *tls.ConnectionState) error {
		if err := takeProof(secure, key, proofCoordinator, state); err != nil {
			return err
		}
		return giveProof(secure, key, proofAgent, state)
	})
	if err != nil {
		return nil, err
	}
	bounded.left = unbounded // prove has returned, and nobody else reads yet
	return secure, nil
}

// openSecure is the coordinator's side.
func openSecure(ctx context.Context, conn net.Conn, key Key) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, proveTime)
	defer cancel()
	bounded := &boundedConn{Conn: conn, left: proveBytes}
	secure := tls.Client(bounded, &tls.Config{
		InsecureSkipVerify: true, // the proofs below take the place of names and authorities
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{controlProtocol},
	})
	err := prove(ctx, secure, func(state *tls.ConnectionState) error {
		if err := giveProof(secure, key, proofCoordinator, state); err != nil {
			return err
		}
		err := takeProof(secure, key, proofAgent, state)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: it closed the connection", errKey)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	bounded.left = unbounded
	return secure, nil
}

// prove does the handshake and then what the side has to do, all before ctx ends.
func prove(ctx context.Context, secure *tls.Conn, side func(*tls.ConnectionState) error) error {
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = secure.SetDeadline(time.Now()) })
	defer stop()
	state := secure.ConnectionState()
	if state.NegotiatedProtocol != controlProtocol {
		return errors.New("the other side speaks another protocol")
	}
	if err := side(&state); err != nil {
		return err
	}
	if !stop() {
		return context.Cause(ctx)
	}
	return secure.SetDeadline(time.Time{})
}

func proof(key Key, label string, state *tls.ConnectionState) ([]byte, error) {
	exporter, err := state.ExportKeyingMaterial(exporterLabel, nil, exporterBytes)
	if err != nil {
		return nil, err
	}
	if len(key.secret) < keyBytes {
		return nil, errors.New("there is no key") // a zero Key must open nothing
	}
	mac := hmac.New(sha256.New, key.secret)
	mac.Write([]byte(label))
	mac.Write(exporter)
	return mac.Sum(nil), nil
}

func giveProof(w io.Writer, key Key, label string, state *tls.ConnectionState) error {
	mine, err := proof(key, label, state)
	if err != nil {
		return err
	}
	_, err = w.Write(mine)
	return err
}

func takeProof(r io.Reader, key Key, label string, state *tls.ConnectionState) error {
	want, err := proof(key, label, state)
	if err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if !hmac.Equal(got, want) {
		return errKey
	}
	return nil
}

const unbounded = -1

// errTooMuch ends a connection that sends more than a proof needs.
var errTooMuch = errors.New("more bytes than a proof needs")

// boundedConn reads at most left bytes, or without bound. Only the one who reads may
// touch left.
type boundedConn struct {
	net.Conn
	left int
}

// Read reads what the bound leaves.
func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left == unbounded {
		return c.Conn.Read(p)
	}
	if c.left == 0 {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
