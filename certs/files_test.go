package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCertificateByName(t *testing.T) {
	dir := t.TempDir()
	source, err := OpenFiles([]Pair{
		goodPair(t, dir, "first", "gw.example.com"),
		goodPair(t, dir, "second", "Sta.Example.com", "*.wild.example.com"),
	})
	if err != nil {
		t.Fatal(err)
	}
	first, second := handed(t, source, "gw.example.com"), handed(t, source, "sta.example.com")
	if first == second || first != source.Leaf() {
		t.Fatal("the two names get the same certificate, or the first is not first")
	}
	for name, want := range map[string]*x509.Certificate{
		"":                     first,
		"unknown.example.com":  first,
		"GW.example.com":       first,
		"STA.example.COM.":     second,
		"a.wild.example.com":   second,
		"wild.example.com":     first,
		"b.a.wild.example.com": first,
	} {
		if handed(t, source, name) != want {
			t.Errorf("%q gets the wrong certificate", name)
		}
	}
	for name, want := range map[string]bool{"gw.example.com": true, "a.wild.example.com": true, "other.example.com": false} {
		if source.CoversName(name) != want {
			t.Errorf("CoversName(%s) is not %v", name, want)
		}
	}
}

// TestCertificateByAbility has an ECDSA and an RSA certificate for one name,
// and clients that can use only one of them, in real handshakes.
func TestCertificateByAbility(t *testing.T) {
	dir := t.TempDir()
	ec := newKey(t)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	source, err := OpenFiles([]Pair{
		writePair(t, dir, "ec", selfSigned(t, ec, -time.Hour, time.Hour, "gw.example.com"), ec),
		writePair(t, dir, "rsa", selfSigned(t, rs, -time.Hour, time.Hour, "gw.example.com"), rs),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		suite uint16
		want  x509.PublicKeyAlgorithm
	}{
		{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, x509.ECDSA},
		{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, x509.RSA},
	} {
		got := handshake(t, source, &tls.Config{
			InsecureSkipVerify: true, // the certificate is looked at instead
			ServerName:         "gw.example.com",
			MaxVersion:         tls.VersionTLS12,
			CipherSuites:       []uint16{c.suite},
		})
		if got.PublicKeyAlgorithm != c.want {
			t.Errorf("suite %x gets %v", c.suite, got.PublicKeyAlgorithm)
		}
	}
}

// handshake connects over a pipe and returns the certificate that the client saw.
func handshake(t *testing.T, source *Source, config *tls.Config) *x509.Certificate {
	t.Helper()
	near, far := net.Pipe()
	server := tls.Server(far, &tls.Config{GetCertificate: source.GetCertificate})
	served := make(chan error, 1)
	go func() { served <- server.Handshake() }()
	client := tls.Client(near, config)
	err := client.Handshake()
	near.Close()
	far.Close()
	if serverErr := <-served; err == nil {
		err = serverErr
	}
	if err != nil {
		t.Fatal(err)
	}
	return client.ConnectionState().PeerCertificates[0]
}

func TestOpenFilesErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	good := goodPair(t, dir, "good", "gw.example.com")
	other := goodPair(t, dir, "other", "gw.example.com")
	key := newKey(t)
	expired := writePair(t, dir, "expired", selfSigned(t, key, -2*time.Hour, -time.Hour, "gw.example.com"), key)
	future := writePair(t, dir, "future", selfSigned(t, key, time.Hour, 2*time.Hour, "gw.example.com"), key)
	file := func(name string, data []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		put(t, path, data, mode)
		return path
	}
	keyPEM := read(t, good.Key)
	exposed := file("exposed.pem", keyPEM, 0o640)
	world := file("world.pem", keyPEM, 0o604)
	text := file("text.pem", []byte("no PEM at all"), 0o600)
	broken := file("broken.pem", block("CERTIFICATE", []byte("nonsense")), 0o600)
	brokenKey := file("broken-key.pem", block("PRIVATE KEY", []byte("nonsense")), 0o600)
	encrypted := file("encrypted.pem", block("ENCRYPTED PRIVATE KEY", []byte("x")), 0o600)
	foreign := file("foreign.pem", block("DSA PRIVATE KEY", []byte("x")), 0o600)
	empty := file("empty.pem", nil, 0o600)
	long := file("long.pem", make([]byte, maxFile+1), 0o600)
	missing := filepath.Join(dir, "missing.pem")

	for what, c := range map[string]struct {
		pair  Pair
		is    error
		parts []string
	}{
		"missing certificate": {Pair{missing, good.Key}, os.ErrNotExist, []string{missing}},
		"missing key":         {Pair{good.Cert, missing}, os.ErrNotExist, []string{missing}},
		"mismatch":            {Pair{good.Cert, other.Key}, ErrMismatch, []string{good.Cert, other.Key}},
		"expired":             {expired, ErrNotCurrent, []string{expired.Cert, "expired"}},
		"not valid yet":       {future, ErrNotCurrent, []string{future.Cert, "begins"}},
		"group can read":      {Pair{good.Cert, exposed}, ErrExposed, []string{"chmod 600 " + exposed}},
		"world can read":      {Pair{good.Cert, world}, ErrExposed, []string{"chmod 600 " + world}},
		"no certificate":      {Pair{text, good.Key}, nil, []string{text, "PEM"}},
		"no key":              {Pair{good.Cert, text}, nil, []string{text, "PEM"}},
		"broken certificate":  {Pair{broken, good.Key}, nil, []string{broken}},
		"broken key":          {Pair{good.Cert, brokenKey}, nil, []string{brokenKey}},
		"encrypted key":       {Pair{good.Cert, encrypted}, nil, []string{encrypted, "passphrase"}},
		"foreign key":         {Pair{good.Cert, foreign}, nil, []string{foreign}},
		"empty":               {Pair{good.Cert, empty}, nil, []string{empty}},
		"long":                {Pair{long, good.Key}, nil, []string{long, "64 KiB"}},
		"folder":              {Pair{good.Cert, dir}, nil, []string{dir, "regular"}},
	} {
		_, err := OpenFiles([]Pair{good, c.pair})
		wantError(t, what, err, c.parts...)
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v is not %v", what, err, c.is)
		}
		if err != nil && strings.Contains(err.Error(), "nonsense") {
			t.Errorf("%s: the error shows what is in the file: %v", what, err)
		}
	}
	_, err := OpenFiles(nil)
	wantError(t, "no pair", err)
}

func TestKeyForms(t *testing.T) {
	dir := t.TempDir()
	ec := newKey(t)
	pair := writePair(t, dir, "pair", selfSigned(t, ec, -time.Hour, time.Hour, "gw.example.com"), ec)
	sec1, err := x509.MarshalECPrivateKey(ec.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	// As openssl writes it, with the parameters in front.
	put(t, pair.Key, append(block("EC PARAMETERS", []byte{6, 1, 0}), block("EC PRIVATE KEY", sec1)...), 0o600)
	if _, err := OpenFiles([]Pair{pair}); err != nil {
		t.Errorf("SEC 1: %v", err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pair = writePair(t, dir, "rsa", selfSigned(t, rs, -time.Hour, time.Hour, "gw.example.com"), rs)
	put(t, pair.Key, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs)), 0o600)
	if _, err := OpenFiles([]Pair{pair}); err != nil {
		t.Errorf("PKCS #1: %v", err)
	}
}

func TestReload(t *testing.T) {
	dir := t.TempDir()
	pair := goodPair(t, dir, "gw", "old.example.com")
	source, err := OpenFiles([]Pair{pair})
	if err != nil {
		t.Fatal(err)
	}
	old := source.Leaf()

	key := newKey(t)
	put(t, pair.Cert, encodeCert(selfSigned(t, key, -time.Hour, time.Hour, "new.example.com")), 0o644)
	if err := source.Reload(); !errors.Is(err, ErrMismatch) {
		t.Errorf("half a renewal: %v, want ErrMismatch", err)
	}
	if source.Leaf() != old || !source.CoversName("old.example.com") {
		t.Error("a failed reload changed the certificate")
	}

	keyPEM, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, pair.Key, keyPEM, 0o600)
	if err := source.Reload(); err != nil {
		t.Fatal(err)
	}
	if source.CoversName("old.example.com") || handed(t, source, "").DNSNames[0] != "new.example.com" {
		t.Error("the reload did not change the certificate")
	}
}

func TestReadSecretFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	put(t, path, []byte("token\n"), 0o400)
	if data, err := ReadSecretFile(path); err != nil || string(data) != "token\n" {
		t.Errorf("%q, %v", data, err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecretFile(link); err != nil {
		t.Errorf("through a link: %v", err)
	}
	full := filepath.Join(dir, "full")
	put(t, full, bytes.Repeat([]byte{1}, maxFile), 0o600)
	if data, err := ReadSecretFile(full); err != nil || len(data) != maxFile {
		t.Errorf("64 KiB: %d bytes, %v", len(data), err)
	}
	// A pipe that nobody writes to must not make the reader wait.
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ReadSecretFile(pipe)
	wantError(t, "pipe", err, pipe, "regular")
}

func TestCheckLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:8443": true, "127.9.9.9:1": true, "[::1]:8443": true, "[::ffff:127.0.0.1]:8443": true,
		"0.0.0.0:8443": false, "[::]:8443": false, "10.0.0.1:8443": false, "[fe80::1]:8443": false,
	} {
		err := CheckLoopback(netip.MustParseAddrPort(addr))
		if (err == nil) != want || (err != nil && !errors.Is(err, ErrNotLoopback)) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := CheckLoopback(netip.AddrPort{}); !errors.Is(err, ErrNotLoopback) {
		t.Errorf("no address: %v", err)
	}
}

// FuzzParsePEM feeds the parsers of certificates and keys, which look at files
// that somebody else may have written. Their own errors are fixed texts; this
// one looks for a key that is accepted and cannot sign, and for crashes.
func FuzzParsePEM(f *testing.F) {
	key := newKey(f)
	keyPEM, err := encodeKey(key)
	if err != nil {
		f.Fatal(err)
	}
	cert := encodeCert(selfSigned(f, key, -time.Hour, time.Hour, "gw.example.com"))
	f.Add(keyPEM)
	f.Add(cert)
	f.Add(append(append([]byte("text\n"), keyPEM...), cert...))
	f.Add(block("EC PRIVATE KEY", []byte("x")))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		chain, err := parseChain(text)
		if err == nil && (chain.Leaf == nil || len(chain.Certificate) == 0) {
			t.Fatal("a chain without certificate")
		}
		key, err := parseKey(text)
		if err == nil && key.Public() == nil {
			t.Fatal("a key without public part")
		}
	})
}
