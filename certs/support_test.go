package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openDevVar makes the test binary open a development folder and leave, so that
// tests can watch several processes at it.
const openDevVar = "SALLYPORT_CERTS_TEST_OPEN_DEV"

func TestMain(m *testing.M) {
	if dir := os.Getenv(openDevVar); dir != "" {
		source, err := OpenDev(dir, []string{"gw.example.com"})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Print(source.Leaf().SerialNumber)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// selfSigned makes a certificate that ends the given time from now.
func selfSigned(t testing.TB, key crypto.Signer, begins, ends time.Duration, names ...string) []byte {
	t.Helper()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "test"},
		DNSNames:  names,
		NotBefore: time.Now().Add(begins),
		NotAfter:  time.Now().Add(ends),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// writePair writes a pair under dir/name and returns it.
func writePair(t testing.TB, dir, name string, cert []byte, key crypto.Signer) Pair {
	t.Helper()
	pair := Pair{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+"-key.pem")}
	put(t, pair.Cert, encodeCert(cert), 0o644)
	keyPEM, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, pair.Key, keyPEM, 0o600)
	return pair
}

func goodPair(t testing.TB, dir, name string, names ...string) Pair {
	t.Helper()
	key := newKey(t)
	return writePair(t, dir, name, selfSigned(t, key, -time.Hour, time.Hour, names...), key)
}

func put(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// handed returns the certificate that a client asking for the name gets.
func handed(t testing.TB, s *Source, name string) *x509.Certificate {
	t.Helper()
	cert, err := s.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}

func wantError(t testing.TB, what string, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %q does not say %q", what, err, part)
		}
	}
}
