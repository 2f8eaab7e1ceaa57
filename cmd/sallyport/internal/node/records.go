package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"time"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/record"
)

// records is the record layer that the file asks for, if it passes its test on this
// machine and with this crypto/tls.
func (n *Node) records(c *config.Config, test func() error) tunnel.Records {
	wanted := map[string]tunnel.Records{
		"direct": tunnel.DirectRecords, "auto": tunnel.AutoRecords,
	}[c.Gateway.RecordLayer]
	if wanted == tunnel.StdRecords {
		return wanted
	}
	if err := test(); err != nil {
		n.log.Error().Str("event", "record_layer_refused").Err(err).
			Msg("gateway.record_layer failed its self-test: crypto/tls carries everything; please report it")
		return tunnel.StdRecords
	}
	n.log.Info().Str("event", "record_layer_ready").Str("layer", c.Gateway.RecordLayer).
		Msg("our own record layer passed its self-test and carries TLS 1.3")
	return wanted
}

// testRecords tests our own record layer, with a certificate of the moment.
func testRecords() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		DNSNames: []string{"self-test.invalid"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	return record.SelfTest(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
}
