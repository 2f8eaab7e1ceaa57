package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// identity is the certificate that both gateways show, in files.
type identity struct{ cert, key string }

// newIdentity makes a self-signed P-256 certificate for the gateway's name.
func newIdentity(dir string) (identity, error) {
	id := identity{filepath.Join(dir, "gateway.pem"), filepath.Join(dir, "gateway-key.pem")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return id, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: gatewayName},
		DNSNames:     []string{gatewayName},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return id, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return id, err
	}
	if err := os.WriteFile(id.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return id, err
	}
	return id, os.WriteFile(id.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)
}

// randomText is as long as a ticket and as hard to guess.
func randomText() string { return (rand.Text() + rand.Text())[:32] }
