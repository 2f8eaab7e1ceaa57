package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrOutsideCA is the cause when the names asked for are outside what the
// existing development authority may sign.
var ErrOutsideCA = errors.New("the development authority may not sign it")

// OpenDev makes a Source for development of the certificates in a folder, which
// it fills first where needed. The authority is made once, constrained to the
// names of that moment and to loopback. The server's certificate covers the
// names, localhost, 127.0.0.1 and ::1; it is issued again when it is missing,
// unreadable, in the last third of its life, or for other names than those.
//
// Names are DNS names in A-label form of two labels at least, or loopback
// addresses. An authority is
// never replaced: if it cannot sign the names, has expired or lost its key, the
// error says which file to delete. Several processes may open one folder at
// once. Callers check their listeners with CheckLoopback.
func OpenDev(dir string, names []string) (*Source, error) {
	wanted, err := devNames(names)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	return newSource(func() ([]*tls.Certificate, error) {
		leaf, err := prepareDev(dir, wanted, time.Now())
		if err != nil {
			return nil, fmt.Errorf("certs: %w", err)
		}
		return []*tls.Certificate{leaf}, nil
	})
}

// DevRoots returns the pool that holds only the authority of a development
// folder, for clients on the same machine.
func DevRoots(dir string) (*x509.CertPool, error) {
	path := filepath.Join(dir, caFile)
	text, err := readPublicFile(path)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	cert, err := parseChain(text)
	if err != nil {
		return nil, fmt.Errorf("certs: %s: %w", path, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	return roots, nil
}

// subject is what a server's certificate covers, sorted and without repeats.
type subject struct {
	dns []string
	ips []netip.Addr
}

// devNames sorts names into DNS names and addresses, and adds the local ones.
func devNames(names []string) (subject, error) {
	s := subject{
		dns: []string{"localhost"},
		ips: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
	}
	for _, name := range names {
		if addr, err := netip.ParseAddr(name); err == nil {
			if addr = addr.Unmap(); !addr.IsLoopback() {
				return subject{}, fmt.Errorf("%s: %w", addr, ErrNotLoopback)
			}
			s.ips = append(s.ips, addr)
			continue
		}
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if !isDNSName(name) {
			return subject{}, fmt.Errorf("%q is no DNS name that a development certificate can hold", name)
		}
		s.dns = append(s.dns, name)
	}
	slices.Sort(s.dns)
	s.dns = slices.Compact(s.dns)
	slices.SortFunc(s.ips, netip.Addr.Compare)
	s.ips = slices.Compact(s.ips)
	return s, nil
}

// isDNSName takes lower-case A-label names without wildcards. Single labels,
// localhost apart, are refused: they would become a name constraint, and one of
// "com" would permit every name below it.
func isDNSName(name string) bool {
	if len(name) > 253 || !strings.Contains(name, ".") && name != "localhost" {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// prepareDev returns the server's certificate, making what is missing. It works
// under the folder's lock from the first look to the last write.
func prepareDev(dir string, wanted subject, now time.Time) (*tls.Certificate, error) {
	release, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	ca, err := openCA(dir, wanted, now)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, leafFile)
	switch text, err := ReadSecretFile(path); {
	case errors.Is(err, ErrExposed):
		return nil, err
	case err == nil:
		if leaf := usableLeaf(text, ca, wanted, now); leaf != nil {
			return leaf, nil
		}
	}
	text, err := ca.issue(wanted, now)
	if err != nil {
		return nil, err
	}
	leaf := usableLeaf(text, ca, wanted, now)
	if leaf == nil {
		// Verified as clients do, rather than by a reading of the constraints
		// of our own, which might differ from theirs.
		return nil, fmt.Errorf("%s cannot sign for %s: %w; %s", ca.path, strings.Join(wanted.dns, ", "), ErrOutsideCA, remedy)
	}
	if err := writeFile(path, text, 0o600); err != nil {
		return nil, err
	}
	return leaf, nil
}

// usableLeaf parses leaf.pem and returns it if it can serve: the key fits, the
// authority vouches for every wanted name and no other, and more than a third
// of its life is left, unless the authority ends no later.
func usableLeaf(text []byte, ca *devCA, wanted subject, now time.Time) *tls.Certificate {
	leaf, err := parseChain(text)
	if err != nil {
		return nil
	}
	key, err := parseKey(text)
	if err != nil || !belongs(key, leaf.Leaf) {
		return nil
	}
	life := leaf.Leaf.NotAfter.Sub(leaf.Leaf.NotBefore)
	ending := leaf.Leaf.NotAfter.Sub(now) < life/3
	if ending && leaf.Leaf.NotAfter.Before(ca.cert.NotAfter) {
		return nil
	}
	if !covers(leaf.Leaf, wanted) || !ca.vouches(leaf.Leaf, wanted, now) {
		return nil
	}
	leaf.PrivateKey = key
	return leaf
}

// covers reports whether the certificate is for exactly the wanted names.
func covers(cert *x509.Certificate, wanted subject) bool {
	dns := slices.Sorted(slices.Values(cert.DNSNames))
	var ips []netip.Addr
	for _, ip := range cert.IPAddresses {
		addr, _ := netip.AddrFromSlice(ip)
		ips = append(ips, addr.Unmap())
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	return slices.Equal(dns, wanted.dns) && slices.Equal(ips, wanted.ips)
}

// encodeKeyAndCert writes leaf.pem's content: key first, then certificate.
func encodeKeyAndCert(key crypto.Signer, cert []byte) ([]byte, error) {
	var text bytes.Buffer
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	text.Write(keyPEM)
	text.Write(encodeCert(cert))
	return text.Bytes(), nil
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// exists tells a missing file from one that cannot be looked at.
func exists(path string) (bool, error) {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return true, nil
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	default:
		return false, err
	}
}
