package certs

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const gw = "gw.example.com"

func openDev(t testing.TB, dir string, names ...string) *Source {
	t.Helper()
	source, err := OpenDev(dir, names)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func devRoots(t testing.TB, dir string) *x509.CertPool {
	t.Helper()
	roots, err := DevRoots(dir)
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

func TestDevServesItsNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "certs")
	source := openDev(t, dir, "GW.example.com.", "127.0.0.9")
	roots := devRoots(t, dir)
	for _, name := range []string{gw, "localhost", "127.0.0.1", "::1", "127.0.0.9"} {
		if _, err := source.Leaf().Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"example.com", "a.gw.example.com", "127.0.0.2", "mail.example.com"} {
		if _, err := source.Leaf().Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err == nil {
			t.Errorf("%s is covered", name)
		}
	}
	if got := handshake(t, source, &tls.Config{RootCAs: roots, ServerName: gw}); !got.Equal(source.Leaf()) {
		t.Error("the handshake showed another certificate")
	}
	for file, want := range map[string]os.FileMode{"": 0o700, "ca.pem": 0o644, "ca-key.pem": 0o600, "leaf.pem": 0o600, ".lock": 0o600} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v; want %v", file, info.Mode(), err, want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.new")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDevConstraintsBite signs with the authority's own key, as a thief of it
// would, and looks whether clients believe it.
func TestDevConstraintsBite(t *testing.T) {
	dir := t.TempDir()
	openDev(t, dir, gw)
	roots := devRoots(t, dir)
	ca, err := readCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !ca.cert.PermittedDNSDomainsCritical || !ca.cert.MaxPathLenZero {
		t.Error("the constraints are not there, or not critical")
	}
	key := newKey(t)
	sign := func(parent *x509.Certificate, template *x509.Certificate) *x509.Certificate {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		template.Subject = pkix.Name{CommonName: "thief"}
		signer := ca.key
		if parent != ca.cert {
			signer = key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	verify := func(cert *x509.Certificate, between ...*x509.Certificate) error {
		pool := x509.NewCertPool()
		for _, c := range between {
			pool.AddCert(c)
		}
		_, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err
	}

	if err := verify(sign(ca.cert, &x509.Certificate{DNSNames: []string{gw}, ExtKeyUsage: server})); err != nil {
		t.Fatalf("a permitted name, which shows that the rest fails for its own reason: %v", err)
	}
	for what, template := range map[string]*x509.Certificate{
		"another name":             {DNSNames: []string{"mail.example.com"}, ExtKeyUsage: server},
		"the parent":               {DNSNames: []string{"example.com"}, ExtKeyUsage: server},
		"one good and one bad":     {DNSNames: []string{gw, "www.example.net"}, ExtKeyUsage: server},
		"a wildcard":               {DNSNames: []string{"*.example.com"}, ExtKeyUsage: server},
		"an address":               {IPAddresses: []net.IP{net.IPv4(8, 8, 8, 8)}, ExtKeyUsage: server},
		"a private address":        {IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}, ExtKeyUsage: server},
		"another IPv6 address":     {IPAddresses: []net.IP{net.ParseIP("::2")}, ExtKeyUsage: server},
		"good name, other address": {DNSNames: []string{gw}, IPAddresses: []net.IP{net.IPv4(8, 8, 8, 8)}, ExtKeyUsage: server},
	} {
		var invalid x509.CertificateInvalidError
		if err := verify(sign(ca.cert, template)); !errors.As(err, &invalid) || invalid.Reason != x509.CANotAuthorizedForThisName {
			t.Errorf("%s: %v, want a constraint to refuse it", what, err)
		}
	}

	sub := sign(ca.cert, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	var invalid x509.CertificateInvalidError
	err = verify(sign(sub, &x509.Certificate{DNSNames: []string{gw}, ExtKeyUsage: server}), sub)
	if !errors.As(err, &invalid) || invalid.Reason != x509.TooManyIntermediates {
		t.Errorf("an authority below: %v, want the path length to refuse it", err)
	}

	client := sign(ca.cert, &x509.Certificate{DNSNames: []string{gw}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	_, err = client.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if !errors.As(err, &invalid) || invalid.Reason != x509.IncompatibleUsage {
		t.Errorf("a client's certificate: %v, want the usage to refuse it", err)
	}
}

func TestDevKeepsAndReissues(t *testing.T) {
	dir := t.TempDir()
	first := openDev(t, dir, gw, "a.gw.example.com")
	ca := read(t, filepath.Join(dir, caFile))
	leafPath := filepath.Join(dir, leafFile)

	again := openDev(t, dir, "a.gw.example.com", gw)
	if !again.Leaf().Equal(first.Leaf()) {
		t.Error("the same names in another order made a new certificate")
	}
	if fewer := openDev(t, dir, gw); fewer.CoversName("a.gw.example.com") {
		t.Error("a name that is no longer asked for is still covered")
	}
	for what, spoil := range map[string]func(){
		"missing":     func() { os.Remove(leafPath) },
		"garbage":     func() { put(t, leafPath, []byte("garbage"), 0o600) },
		"foreign key": func() { put(t, leafPath, foreignKey(t, read(t, leafPath)), 0o600) },
		"self-signed": func() { put(t, leafPath, selfSignedLeaf(t), 0o600) },
	} {
		before := openDev(t, dir, gw)
		spoil()
		after := openDev(t, dir, gw)
		if after.Leaf().Equal(before.Leaf()) {
			t.Errorf("%s: the certificate is the old one", what)
		}
		if _, err := after.Leaf().Verify(x509.VerifyOptions{Roots: devRoots(t, dir), DNSName: gw}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if below := openDev(t, dir, "b.gw.example.com"); !below.CoversName("b.gw.example.com") || below.CoversName(gw) {
		t.Errorf("other names: the certificate is for %v", below.Leaf().DNSNames)
	}
	if !bytes.Equal(ca, read(t, filepath.Join(dir, caFile))) {
		t.Error("the authority changed")
	}
}

func foreignKey(t testing.TB, leaf []byte) []byte {
	keyPEM, err := encodeKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return append(keyPEM, leaf[bytes.Index(leaf, []byte("-----BEGIN CERTIFICATE")):]...)
}

func selfSignedLeaf(t testing.TB) []byte {
	key := newKey(t)
	text, err := encodeKeyAndCert(key, selfSigned(t, key, -time.Hour, 24*365*time.Hour, gw, "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestDevReissuesInTheLastThird(t *testing.T) {
	dir := t.TempDir()
	wanted, err := devNames([]string{gw})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	serialAt := func(after time.Duration) string {
		leaf, err := prepareDev(dir, wanted, start.Add(after))
		if err != nil {
			t.Fatalf("after %v: %v", after, err)
		}
		return leaf.Leaf.SerialNumber.String()
	}
	first := serialAt(0)
	if serialAt(leafLife*6/10) != first {
		t.Error("issued again in the middle of its life")
	}
	if serialAt(leafLife*7/10) == first {
		t.Error("not issued again in the last third of its life")
	}
	// At the authority's own end a new certificate would live no longer.
	last := serialAt(caLife - 24*time.Hour)
	if serialAt(caLife-time.Hour) != last {
		t.Error("issued again without a gain")
	}
	_, err = prepareDev(dir, wanted, start.Add(caLife+time.Hour))
	wantError(t, "expired authority", err, "expired", "delete it", caFile)
	if !errors.Is(err, ErrNotCurrent) {
		t.Errorf("expired authority: %v is not ErrNotCurrent", err)
	}
}

func TestDevNeverReplacesAnAuthority(t *testing.T) {
	plain := func(dir string) { // an authority without constraints
		key := newKey(t)
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: "unbound"}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		pair := writePair(t, dir, "plain", der, key)
		put(t, filepath.Join(dir, caFile), read(t, pair.Cert), 0o644)
		put(t, filepath.Join(dir, caKeyFile), read(t, pair.Key), 0o600)
	}
	for what, c := range map[string]struct {
		spoil func(dir string)
		names []string
		is    error
		part  string
	}{
		"another name":   {func(string) {}, []string{"mail.example.com"}, ErrOutsideCA, "delete"},
		"the parent":     {func(string) {}, []string{"example.com"}, ErrOutsideCA, "delete"},
		"a look-alike":   {func(string) {}, []string{"xgw.example.com"}, ErrOutsideCA, "delete"},
		"key gone":       {func(dir string) { os.Remove(filepath.Join(dir, caKeyFile)) }, []string{gw}, os.ErrNotExist, "delete"},
		"key of another": {func(dir string) { put(t, filepath.Join(dir, caKeyFile), selfSignedLeaf(t), 0o600) }, []string{gw}, ErrMismatch, "delete"},
		"key exposed":    {func(dir string) { os.Chmod(filepath.Join(dir, caKeyFile), 0o644) }, []string{gw}, ErrExposed, "chmod 600"},
		"leaf exposed":   {func(dir string) { os.Chmod(filepath.Join(dir, leafFile), 0o640) }, []string{gw}, ErrExposed, "chmod 600"},
		"garbage":        {func(dir string) { put(t, filepath.Join(dir, caFile), []byte("garbage"), 0o644) }, []string{gw}, nil, caFile},
		"no constraints": {plain, []string{gw}, nil, "delete"},
		"open folder":    {func(dir string) { os.Chmod(dir, 0o777) }, []string{gw}, nil, "chmod 700"},
	} {
		dir := filepath.Join(t.TempDir(), "certs")
		openDev(t, dir, gw)
		c.spoil(dir)
		before := read(t, filepath.Join(dir, caFile))
		_, err := OpenDev(dir, c.names)
		wantError(t, what, err, c.part, dir)
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v is not %v", what, err, c.is)
		}
		if !bytes.Equal(before, read(t, filepath.Join(dir, caFile))) {
			t.Errorf("%s: the authority was replaced", what)
		}
	}
}

func TestDevBeginsAnewWithoutCertificate(t *testing.T) {
	dir := t.TempDir()
	openDev(t, dir, gw)
	os.Remove(filepath.Join(dir, caFile)) // as the errors advise, and as a crash in makeCA leaves it
	source := openDev(t, dir, "mail.example.com")
	if _, err := source.Leaf().Verify(x509.VerifyOptions{Roots: devRoots(t, dir), DNSName: "mail.example.com"}); err != nil {
		t.Error(err)
	}
}

func TestDevRefusesNames(t *testing.T) {
	for _, name := range []string{"", ".", "com", "*.example.com", "a..b", "a b.example", "-a.example", "ü.example", "a.example:443", "10.0.0.1", "0.0.0.0", "2001:db8::1"} {
		dir := filepath.Join(t.TempDir(), "certs")
		if _, err := OpenDev(dir, []string{name}); err == nil {
			t.Errorf("%q was taken", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q was refused, and left a folder", name)
		}
	}
}

func TestDevReload(t *testing.T) {
	dir := t.TempDir()
	source := openDev(t, dir, gw)
	before := source.Leaf()
	os.Remove(filepath.Join(dir, leafFile))
	if err := source.Reload(); err != nil || source.Leaf().Equal(before) {
		t.Errorf("reload: %v, and the certificate is new: %v", err, !source.Leaf().Equal(before))
	}
	before = source.Leaf()
	os.Remove(filepath.Join(dir, caKeyFile))
	if err := source.Reload(); err == nil || source.Leaf() != before {
		t.Errorf("failed reload: %v, and the certificate is the same: %v", err, source.Leaf() == before)
	}
}

// TestDevManyProcesses starts processes and goroutines on one empty folder:
// all must come out with the one pair that is there in the end.
func TestDevManyProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const each = 4
	serials := make([]string, 2*each)
	var wg sync.WaitGroup
	for i := range each {
		wg.Go(func() {
			cmd := exec.Command(program)
			cmd.Env = append(os.Environ(), openDevVar+"="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("process: %v: %s", err, out)
			}
			serials[i] = string(out)
		})
		wg.Go(func() {
			source, err := OpenDev(dir, []string{gw})
			if err != nil {
				t.Error(err)
				return
			}
			serials[each+i] = source.Leaf().SerialNumber.String()
		})
	}
	wg.Wait()
	final := openDev(t, dir, gw).Leaf()
	for i, serial := range serials {
		if serial != final.SerialNumber.String() {
			t.Errorf("opener %d has certificate %q, the folder %v", i, serial, final.SerialNumber)
		}
	}
	if _, err := final.Verify(x509.VerifyOptions{Roots: devRoots(t, dir), DNSName: gw}); err != nil {
		t.Error(err)
	}
}
