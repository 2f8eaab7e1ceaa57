package tunnel

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
)

// shake makes a handshake over loopback and returns the client's view. One byte
// is read first, so that session tickets have arrived.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	l := listenLoopback(t)
	defer l.Close()
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		secured := tls.Server(conn, server)
		_, _ = secured.Write([]byte{1})
		_, _ = secured.Read(make([]byte, 1))
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, client)
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), nil
}

func TestServerTLSVersionsAndSuites(t *testing.T) {
	server := testServerTLS()
	for _, tt := range []struct {
		name   string
		change func(*tls.Config)
		ok     bool
	}{
		{"as it comes", func(*tls.Config) {}, true},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		{"CBC only", func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}
		}, false},
		{"ChaCha20 under 1.2", func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
		}, true},
	} {
		client := testClientTLS()
		tt.change(client)
		if _, err := shake(t, server, client); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	state, err := shake(t, server, testClientTLS())
	if err != nil || state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
		t.Errorf("default: version %#x, curve %v, %v", state.Version, state.CurveID, err)
	}
}

func TestServerTLSKeepsANarrowerChoice(t *testing.T) {
	base := &tls.Config{
		Certificates: []tls.Certificate{testCertificate()},
		MaxVersion:   tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA},
	}
	if _, err := shake(t, ServerTLS(base), testClientTLS()); err == nil {
		t.Error("a base with no AEAD suite was widened")
	}
	base.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	state, err := shake(t, ServerTLS(base), testClientTLS())
	if err != nil || state.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
		t.Errorf("suite %s, %v", tls.CipherSuiteName(state.CipherSuite), err)
	}
	if base.MinVersion != 0 || base.GetConfigForClient != nil {
		t.Error("base was changed")
	}
}

func TestServerTLSResumption(t *testing.T) {
	for version, want := range map[uint16]bool{tls.VersionTLS13: true, tls.VersionTLS12: false} {
		server, client := testServerTLS(), testClientTLS()
		client.MaxVersion = version
		client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		if _, err := shake(t, server, client); err != nil {
			t.Fatal(err)
		}
		state, err := shake(t, server, client)
		if err != nil || state.DidResume != want {
			t.Errorf("%s: resumed %v, want %v, %v", tls.VersionName(version), state.DidResume, want, err)
		}
	}
}

// TestServerTLSTicketKeysRotate sets keys on the result, and sets others.
func TestServerTLSTicketKeysRotate(t *testing.T) {
	server, client := testServerTLS(), testClientTLS()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	server.SetSessionTicketKeys([][32]byte{{1}})
	for i, want := range []bool{false, true} {
		if state, err := shake(t, server, client); err != nil || state.DidResume != want {
			t.Errorf("handshake %d: resumed %v, %v", i, state.DidResume, err)
		}
	}
	server.SetSessionTicketKeys([][32]byte{{2}})
	if state, err := shake(t, server, client); err != nil || state.DidResume {
		t.Errorf("after the change of keys: resumed %v, %v", state.DidResume, err)
	}
}

func TestServerTLSALPN(t *testing.T) {
	chosen := testServerTLS()
	base := &tls.Config{
		Certificates: []tls.Certificate{testCertificate()},
		NextProtos:   []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{testCertificate()}, NextProtos: []string{"h2"}}, nil
		},
	}
	for name, server := range map[string]*tls.Config{"own": chosen, "with GetConfigForClient": ServerTLS(base)} {
		for _, tt := range []struct {
			offer []string
			want  string
		}{
			{nil, ""}, {[]string{"h2", "http/1.1"}, ""}, {[]string{"h2", ALPN}, ALPN},
		} {
			client := testClientTLS()
			client.NextProtos = tt.offer
			state, err := shake(t, server, client)
			if err != nil || state.NegotiatedProtocol != tt.want {
				t.Errorf("%s, %q: %q, %v", name, tt.offer, state.NegotiatedProtocol, err)
			}
		}
	}
}

func TestNewServerRefusesSoftTLS(t *testing.T) {
	if _, err := NewServer(Config{TLS: &tls.Config{}, Handler: handlerFunc(func(context.Context, Negotiation) {})}); err == nil {
		t.Error("a bare tls.Config was accepted")
	}
}
