package record

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"
	"time"
)

// selfTestBound is for each handshake of SelfTest. They take milliseconds.
const selfTestBound = 5 * time.Second

// selfTestName is what the ticket of SelfTest's own client is remembered under.
const selfTestName = "selftest.invalid"

// SelfTest tells whether this package and the crypto/tls that it was built with
// agree, so that a process can find out before it takes over any connection. For
// each suite a known answer, and a round trip through both sides; and handshakes
// of crypto/tls's in memory, with a certificate of the moment: with a client's
// and without, full and resumed, each taken over by the server, with data and a
// KeyUpdate both ways and both goodbyes. The suite of those is what crypto/tls
// prefers on this machine: for TLS 1.3 it lets nobody choose.
//
// It takes some milliseconds, most of them signatures.
func SelfTest() error {
	for _, known := range knownAnswers {
		if err := known.check(); err != nil {
			return fmt.Errorf("record: self-test of %s: %w", tls.CipherSuiteName(known.suite), err)
		}
	}
	cert, err := selfTestCertificate()
	if err != nil {
		return fmt.Errorf("record: self-test: %w", err)
	}
	for _, ask := range []tls.ClientAuthType{tls.NoClientCert, tls.RequireAnyClientCert} {
		client, server := selfTestConfigs(cert, ask)
		for _, resumed := range []bool{false, true} {
			if err := selfTestOnce(client, server, resumed); err != nil {
				return fmt.Errorf("record: self-test with crypto/tls (%v, resumed %t): %w", ask, resumed, err)
			}
		}
	}
	return nil
}

func selfTestCertificate() (cert tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{selfTestName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return cert, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// knownAnswers are what another implementation made: "sallyport", the second
// record under the second traffic secret, the first one being 0, 1, 2 and so on.
var knownAnswers = []knownAnswer{
	{tls.TLS_AES_128_GCM_SHA256, "170303001a1c6109ac6273426978557c6b397ebb515a37325b6115a741b5eb"},
	{tls.TLS_AES_256_GCM_SHA384, "170303001abde97a22d4705e6547a85d08c1575d82277c5af9eea004e97e97"},
	{tls.TLS_CHACHA20_POLY1305_SHA256, "170303001a1bdb2d28ad8435232e2040474ff6eb52c1ccf59ed955c430e16e"},
}

type knownAnswer struct {
	suite  uint16
	record string // hex
}

var errDiffers = errors.New("not what it should be")

func (a knownAnswer) check() error {
	s, ok := suiteOf(a.suite)
	if !ok {
		return errDiffers
	}
	ours := make([]byte, s.hashLen)
	for i := range ours {
		ours[i] = byte(i)
	}
	theirs := bytes.Repeat([]byte{0xa5}, s.hashLen)
	var server, client Layer
	defer server.Wipe()
	defer client.Wipe()
	if err := errors.Join(server.Start(Server, a.suite, theirs, ours, 0), client.Start(Client, a.suite, theirs, ours, 0)); err != nil {
		return err
	}
	server.due.Store(dueAnswer)
	for _, dir := range []struct{ from, to *Layer }{{&server, &client}, {&client, &server}} {
		records := dir.from.AppendOwed(nil)
		for _, text := range []string{"", "sallyport"} {
			at := len(records)
			records = append(records, make([]byte, HeaderSize+len(text)+TrailerSize)...)
			copy(records[at+HeaderSize:], text)
			if _, err := dir.from.Seal(records[at:], len(text)); err != nil {
				return err
			}
		}
		if dir.from == &server && !bytes.HasSuffix(records, mustHex(a.record)) {
			return errDiffers
		}
		if got, err := openAll(dir.to, dir.from.AppendGoodbye(records, nil)); string(got) != "sallyport" || err != io.EOF {
			return errors.Join(errDiffers, err)
		}
	}
	return nil
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // a constant of ours
	}
	return b
}

// openAll opens records until there are no more, or an error.
func openAll(l *Layer, records []byte) (data []byte, err error) {
	for len(records) > 0 {
		plain, n, err := l.Open(records)
		data = append(data, plain...)
		if err != nil {
			return data, err
		}
		if n == 0 {
			return data, io.ErrUnexpectedEOF
		}
		records = records[n:]
	}
	return data, nil
}

// selfTestConfigs make no statement about cert's name, issuer and time: that it
// has a key is enough, since both ends are ours and in memory.
func selfTestConfigs(cert tls.Certificate, ask tls.ClientAuthType) (client, server *tls.Config) {
	client = &tls.Config{
		Certificates:       []tls.Certificate{cert},
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS13,
		ServerName:         selfTestName,
	}
	server = &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   ask,
		MinVersion:   tls.VersionTLS13,
	}
	server.SetSessionTicketKeys([][32]byte{{1}}) // of a server that nobody can reach
	return client, server
}

// selfTestOnce makes one connection, and ends both sides before it returns.
func selfTestOnce(clientConfig, serverConfig *tls.Config, resumed bool) error {
	near, far := memoryPipe()
	cut := time.AfterFunc(selfTestBound, func() {
		_ = near.Close()
		_ = far.Close()
	})
	defer cut.Stop()
	var served error
	var wait sync.WaitGroup
	wait.Go(func() {
		defer far.Close()
		served = selfTestServer(far, serverConfig, resumed)
	})
	asked := selfTestClient(near, clientConfig)
	_ = near.Close()
	wait.Wait()
	return errors.Join(asked, served)
}

// selfTestServer shakes hands, has its side taken over, and answers twice,
// between which it changes its key and wants the client's changed.
func selfTestServer(conn *memoryConn, config *tls.Config, resumed bool) error {
	tap := NewTap(conn)
	config = config.Clone()
	config.KeyLogWriter = tap.KeyLog()
	over := tls.Server(tap, config)
	if err := over.Handshake(); err != nil {
		return err
	}
	state := over.ConnectionState()
	layer := new(Layer)
	ahead, ok, err := tap.Take(Server, &state, layer)
	if err != nil || !ok || state.DidResume != resumed {
		return errors.Join(errDiffers, err)
	}
	c := NewConn(conn, layer, ahead)
	for _, due := range []uint32{dueAnswer | dueAsk, 0} {
		if err := echo(c); err != nil {
			return err
		}
		layer.due.Or(due)
	}
	if err := echo(c); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF || layer.updates != 1 {
		return errors.Join(errDiffers, err)
	}
	return c.Close()
}

func echo(c io.ReadWriter) error {
	var b [4]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	_, err := c.Write(b[:])
	return err
}

// selfTestClient is crypto/tls alone.
func selfTestClient(conn *memoryConn, config *tls.Config) error {
	c := tls.Client(conn, config)
	for _, word := range []string{"ping", "pong", "bell"} {
		if _, err := io.WriteString(c, word); err != nil {
			return err
		}
		var b [4]byte
		if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != word {
			return errors.Join(errDiffers, err)
		}
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		return errors.Join(errDiffers, err)
	}
	return nil
}
