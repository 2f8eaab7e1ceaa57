package record

import (
	"bytes"
	"crypto/tls"
	"errors"
	"testing"
)

var suites = []uint16{
	tls.TLS_AES_128_GCM_SHA256,
	tls.TLS_AES_256_GCM_SHA384,
	tls.TLS_CHACHA20_POLY1305_SHA256,
}

// newPair returns both ends of a connection.
func newPair(t testing.TB, id uint16) (server, client *Layer) {
	t.Helper()
	s, ok := suiteOf(id)
	if !ok {
		t.Fatalf("suite %#x", id)
	}
	ours, theirs := bytes.Repeat([]byte{1}, s.hashLen), bytes.Repeat([]byte{2}, s.hashLen)
	server, client = new(Layer), new(Layer)
	if err := errors.Join(server.Start(Server, id, theirs, ours, 0), client.Start(Client, id, theirs, ours, 0)); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// forge seals whatever is given as TLSInnerPlaintext: content, type, padding.
func forge(l *Layer, inner ...byte) []byte {
	length := len(inner) + tagSize
	b := []byte{typeData, 3, 3, byte(length >> 8), byte(length)}
	k := l.out.ready(l.suite)
	b = k.aead.Seal(b, k.nonceOf(l.out.seq), inner, b)
	l.out.seq++
	return b
}

// sealed is Seal of a string.
func sealed(t testing.TB, l *Layer, text string) []byte {
	t.Helper()
	b := make([]byte, HeaderSize+len(text)+TrailerSize)
	copy(b[HeaderSize:], text)
	n, err := l.Seal(b, len(text))
	if err != nil || n != len(b) {
		t.Fatalf("Seal: %d, %v", n, err)
	}
	return b
}

// mustOpen opens records, and wants text and no error.
func mustOpen(t testing.TB, l *Layer, records []byte, text string) {
	t.Helper()
	got, err := openAll(l, records)
	if err != nil || string(got) != text {
		t.Fatalf("opened %q, %v; want %q", got, err, text)
	}
}

// wantAlert checks that err is an *Error with an alert.
func wantAlert(t testing.TB, err error, want tls.AlertError) {
	t.Helper()
	var wrong *Error
	if !errors.As(err, &wrong) || wrong.Alert != want {
		t.Fatalf("%v; want the alert %d", err, want)
	}
}
