package certs

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"
)

func TestPinInDate(t *testing.T) {
	parse := func(der []byte) *x509.Certificate {
		t.Helper()
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	key := newKey(t)
	leaf := parse(selfSigned(t, key, -time.Hour, time.Hour, "gateway.example.com"))
	other := parse(selfSigned(t, key, -time.Hour, time.Hour, "gateway.example.com"))
	now := time.Now()
	if err := checkPin(leaf, []*x509.Certificate{leaf}, now); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"too late":             checkPin(leaf, []*x509.Certificate{leaf}, now.Add(2*time.Hour)),
		"too early":            checkPin(leaf, []*x509.Certificate{leaf}, now.Add(-2*time.Hour)),
		"none":                 checkPin(leaf, nil, now),
		"another, of that key": checkPin(leaf, []*x509.Certificate{other, leaf}, now),
	} {
		if !errors.Is(err, ErrNotPinned) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
