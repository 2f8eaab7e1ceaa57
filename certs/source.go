package certs

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"sync"
	"sync/atomic"
)

// Source is the TLS identity of a listener. It is safe for concurrent use.
type Source struct {
	// load reads everything anew; it never returns an empty list without an error.
	load func() ([]*tls.Certificate, error)
	// reloading serialises Reload, so that an older reading cannot replace a
	// newer one. Readers never take it.
	reloading sync.Mutex
	current   atomic.Pointer[identity]
}

// identity is one reading of the certificates. It is immutable.
type identity struct {
	certs  []*tls.Certificate
	byName map[string][]*tls.Certificate // "mail.example.com" and "*.example.com"
}

func newSource(load func() ([]*tls.Certificate, error)) (*Source, error) {
	s := &Source{load: load}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads the certificates again. On an error nothing changes, and those
// that served so far go on serving.
func (s *Source) Reload() error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	certs, err := s.load()
	if err != nil {
		return err
	}
	id := &identity{certs: certs, byName: make(map[string][]*tls.Certificate)}
	for _, cert := range certs {
		for _, name := range cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			id.byName[name] = append(id.byName[name], cert)
		}
	}
	s.current.Store(id)
	return nil
}

// GetCertificate chooses the certificate for a handshake, and fits
// tls.Config.GetCertificate. A name that no certificate covers, and no name at
// all, get the first certificate: clients behind old proxies send none. Of
// several certificates for a name the first that the client supports is taken.
func (s *Source) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	id := s.current.Load()
	candidates := id.named(hello.ServerName)
	if len(candidates) == 0 {
		return id.certs[0], nil
	}
	// Asking what the client supports costs a walk over its hello, and is
	// pointless where there is no choice.
	if len(candidates) > 1 {
		for _, cert := range candidates {
			if hello.SupportsCertificate(cert) == nil {
				return cert, nil
			}
		}
	}
	return candidates[0], nil
}

// named returns the certificates for a name: those with exactly this name,
// else those with a wildcard in place of its first label (RFC 6125 §6.4.3).
func (id *identity) named(name string) []*tls.Certificate {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if certs := id.byName[name]; len(certs) > 0 {
		return certs
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return id.byName["*."+parent]
	}
	return nil
}

// Leaf returns the first certificate's own, for showing when it expires and
// for clients that trust exactly this one. It must not be changed.
func (s *Source) Leaf() *x509.Certificate {
	return s.current.Load().certs[0].Leaf
}

// CoversName reports whether any of the certificates is valid for the name.
func (s *Source) CoversName(fqdn string) bool {
	for _, cert := range s.current.Load().certs {
		if cert.Leaf.VerifyHostname(fqdn) == nil {
			return true
		}
	}
	return false
}
