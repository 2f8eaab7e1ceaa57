package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

const (
	caFile    = "ca.pem"
	caKeyFile = "ca-key.pem"
	leafFile  = "leaf.pem"

	caLife   = 2 * 365 * 24 * time.Hour
	leafLife = 90 * 24 * time.Hour
	// backdate forgives a client whose clock is a little behind.
	backdate = time.Hour

	// remedy ends the errors about an authority that cannot be used.
	remedy = "delete it, and trust the new one that is made at the next start"
)

// devCA is the development authority of one folder.
type devCA struct {
	path string // of its certificate, for error messages
	cert *x509.Certificate
	key  crypto.Signer
}

// openCA reads the authority, or makes it if there is no certificate. A key
// that lies there without one has never vouched for anything that a client
// trusts, or was orphaned on purpose, and is replaced.
func openCA(dir string, wanted subject, now time.Time) (*devCA, error) {
	path := filepath.Join(dir, caFile)
	there, err := exists(path)
	if err != nil {
		return nil, err
	}
	if !there {
		if err := makeCA(dir, wanted, now); err != nil {
			return nil, err
		}
	}
	ca, err := readCA(dir)
	if err != nil {
		return nil, err
	}
	if err := checkCurrent(ca.cert, now); err != nil {
		return nil, fmt.Errorf("%s: %w; %s", path, err, remedy)
	}
	if !ca.constrained() {
		return nil, fmt.Errorf("%s: it is no name-constrained development authority; %s", path, remedy)
	}
	return ca, nil
}

func readCA(dir string) (*devCA, error) {
	path, keyPath := filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile)
	text, err := readPublicFile(path)
	if err != nil {
		return nil, err
	}
	cert, err := parseChain(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	keyText, err := ReadSecretFile(keyPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w; put it back, or delete %s to make both anew", err, path)
	}
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyPath, err)
	}
	if !belongs(key, cert.Leaf) {
		return nil, fmt.Errorf("%s and %s: %w; delete %s to make both anew", path, keyPath, ErrMismatch, path)
	}
	return &devCA{path: path, cert: cert.Leaf, key: key}, nil
}

// makeCA writes the key before the certificate: a crash in between leaves no
// certificate, and the next start begins again.
func makeCA(dir string, wanted subject, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Sallyport development authority"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,

		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         wanted.dns,
		PermittedIPRanges:           loopbackRanges(),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, caKeyFile), keyPEM, 0o600); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, caFile), encodeCert(der), 0o644)
}

func loopbackRanges() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
		{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
	}
}

// constrained reports whether the certificate is as harmless as makeCA's.
func (ca *devCA) constrained() bool {
	c := ca.cert
	if !c.IsCA || !c.MaxPathLenZero || !c.PermittedDNSDomainsCritical {
		return false
	}
	if len(c.PermittedDNSDomains) == 0 || len(c.PermittedIPRanges) == 0 {
		return false
	}
	for _, r := range c.PermittedIPRanges {
		addr, ok := netip.AddrFromSlice(r.IP)
		ones, bits := r.Mask.Size()
		loopback4 := bits == 32 && ones >= 8
		loopback6 := bits == 128 && ones == 128
		if !ok || !addr.Unmap().IsLoopback() || !loopback4 && !loopback6 {
			return false
		}
	}
	return true
}

// issue makes a key and a certificate for the subject, as leaf.pem holds them.
func (ca *devCA) issue(s subject, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Sallyport development"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(leafLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              s.dns,
	}
	if template.NotAfter.After(ca.cert.NotAfter) {
		template.NotAfter = ca.cert.NotAfter
	}
	for _, ip := range s.ips {
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	return encodeKeyAndCert(key, der)
}

// vouches verifies the certificate as a client would that trusts this
// authority alone, for each of the names.
func (ca *devCA) vouches(cert *x509.Certificate, s subject, now time.Time) bool {
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err != nil {
		return false
	}
	for _, name := range s.dns {
		if cert.VerifyHostname(name) != nil {
			return false
		}
	}
	for _, ip := range s.ips {
		if cert.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}
