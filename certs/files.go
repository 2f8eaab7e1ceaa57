package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Pair names the files of one certificate.
type Pair struct {
	// Cert is the PEM file with the certificate, its intermediates behind it.
	Cert string
	// Key is the PEM file with the private key: PKCS #8, PKCS #1 or SEC 1, not
	// encrypted. ReadSecretFile's rules hold.
	Key string
}

// The causes of errors about a pair, beside those of reading files.
var (
	// ErrMismatch: the key is not the certificate's.
	ErrMismatch = errors.New("the key does not belong to the certificate")
	// ErrNotCurrent: the certificate has expired or is not valid yet.
	ErrNotCurrent = errors.New("the certificate is not valid now")
)

// OpenFiles makes a Source of certificate files; the first pair serves clients
// that name no host, or an unknown one. Every error names the file at fault.
// Which names a certificate covers is not judged here: see CoversName.
func OpenFiles(pairs []Pair) (*Source, error) {
	pairs = slices.Clone(pairs)
	return newSource(func() ([]*tls.Certificate, error) {
		if len(pairs) == 0 {
			return nil, errors.New("certs: no certificate is configured")
		}
		var certs []*tls.Certificate
		for _, pair := range pairs {
			cert, err := loadPair(pair, time.Now())
			if err != nil {
				return nil, fmt.Errorf("certs: %w", err)
			}
			certs = append(certs, cert)
		}
		return certs, nil
	})
}

func loadPair(pair Pair, now time.Time) (*tls.Certificate, error) {
	certPEM, err := readPublicFile(pair.Cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := ReadSecretFile(pair.Key)
	if err != nil {
		return nil, err
	}
	cert, err := parseChain(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pair.Cert, err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pair.Key, err)
	}
	if !belongs(key, cert.Leaf) {
		return nil, fmt.Errorf("%s and %s: %w", pair.Cert, pair.Key, ErrMismatch)
	}
	if err := checkCurrent(cert.Leaf, now); err != nil {
		return nil, fmt.Errorf("%s: %w", pair.Cert, err)
	}
	cert.PrivateKey = key
	return cert, nil
}

func checkCurrent(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("%w: it expired on %s", ErrNotCurrent, cert.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("%w: it begins on %s", ErrNotCurrent, cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// parseChain reads the certificates of a PEM text, the leaf first. Other blocks
// are passed over.
func parseChain(text []byte) (*tls.Certificate, error) {
	var cert tls.Certificate
	for block := range pemBlocks(text) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", len(cert.Certificate)+1, err)
		}
		if cert.Leaf == nil {
			cert.Leaf = parsed
		}
		cert.Certificate = append(cert.Certificate, block.Bytes)
	}
	if cert.Leaf == nil {
		return nil, errors.New("it holds no certificate in PEM form")
	}
	return &cert, nil
}

// parseKey reads the first private key of a PEM text. Its errors tell nothing
// of the key: those of the parsers are dropped, since they are not ours to vet.
func parseKey(text []byte) (crypto.Signer, error) {
	for block := range pemBlocks(text) {
		var key any
		var err error
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, errors.New("the key is encrypted, and nobody is there to give a passphrase; store it decrypted, 0600")
		case block.Type == "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case block.Type == "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case block.Type == "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			err = errors.New("unknown form")
		default:
			continue
		}
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, errors.New("the private key cannot be read")
		}
		return signer, nil
	}
	return nil, errors.New("it holds no private key in PEM form")
}

// belongs compares public keys; every key type of the standard library can.
func belongs(key crypto.Signer, cert *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

// pemBlocks yields the PEM blocks of a text.
func pemBlocks(text []byte) func(yield func(*pem.Block) bool) {
	return func(yield func(*pem.Block) bool) {
		for {
			block, rest := pem.Decode(text)
			if block == nil || !yield(block) {
				return
			}
			text = rest
		}
	}
}

// ReadLeaf reads the first certificate of a PEM file, for clients that trust
// exactly the one that a server was given. Errors name the file.
func ReadLeaf(path string) (*x509.Certificate, error) {
	text, err := readPublicFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			return leaf, nil
		}
	}
	return nil, fmt.Errorf("%s holds no certificate", path)
}
