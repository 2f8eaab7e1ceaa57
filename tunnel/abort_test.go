package tunnel

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestAbortForgets: what the kernel held for a client that did not read is not
// delivered after Abort; the client finds a reset behind what it has already.
func TestAbortForgets(t *testing.T) {
	for _, k := range kinds() {
		if k.isPipe() {
			continue // nothing is held in one
		}
		client, server := k.pair(t)
		flood(server)
		Abort(server)
		if n, err := io.Copy(io.Discard, client); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: after %d bytes: %v, want a reset", k.name, n, err)
		}
		_ = client.Close()
	}
}

// TestStalledTunnelsAreAborted: a client that takes nothing for so long is not
// sent the rest when it comes back.
func TestStalledTunnelsAreAborted(t *testing.T) {
	for _, k := range kinds() {
		if k.isPipe() {
			continue
		}
		r := startRig(t, k, Limits{WriteStall: 50 * time.Millisecond})
		var service sync.WaitGroup
		service.Go(func() {
			for block := make([]byte, 1<<20); ; {
				if _, err := r.service.Write(block); err != nil {
					return
				}
			}
		})
		if got := r.wait(); got.Reason != Stall || got.Err != nil {
			t.Errorf("%s: %+v", k.name, got)
		}
		service.Wait()
		if n, err := io.Copy(io.Discard, r.client); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: after %d bytes: %v, want a reset", k.name, n, err)
		}
	}
}

// TestAbortIsPrompt: somebody who asks for new keys and does not take the
// answer has our reader wait inside crypto/tls, with the lock in hand that a
// goodbye needs.
func TestAbortIsPrompt(t *testing.T) {
	r := startRig(t, kind{pair: func(t testing.TB) (Stream, Stream) {
		client, server, keys := keyedPair(t)
		stuck := &stuckConn{Conn: server.wire.Conn, entered: make(chan struct{}, 9), closed: make(chan struct{})}
		server.wire.Conn = stuck
		keys.send(t, client, recordTypeHandshake, []byte{24, 0, 0, 1, 1}) // KeyUpdate, update_requested
		return waitingFor{client, stuck.entered}, server
	}}, Limits{})
	<-r.client.(waitingFor).entered
	began := time.Now()
	Abort(r.nearC)
	took := time.Since(began)
	Abort(r.nearS)
	if got := r.wait(); got.Reason != Cut || got.Err != nil {
		t.Errorf("%+v", got)
	}
	// It takes microseconds; the rest is for a machine that is busy.
	if took > closeBound/4 {
		t.Errorf("Abort took %v", took)
	}
}

type waitingFor struct {
	*tls.Conn
	entered chan struct{}
}

// TestLongMessageBeforeTheCredential: crypto/tls would gather 64 KiB for a
// message of its own that comes behind the handshake.
func TestLongMessageBeforeTheCredential(t *testing.T) {
	client, server, keys := keyedPair(t)
	defer client.Close()
	defer server.Close()
	server.wire.opened = false
	server.entrance.init(server.Conn, server.wire, DefaultMaxPreAuthBytes)
	part := make([]byte, recordSize)
	copy(part, []byte{24, 0, 0xea, 0x60})
	sent := make(chan error, 1)
	go func() {
		for range 4 {
			keys.send(t, client, recordTypeHandshake, part)
		}
		sent <- nil
	}()
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, errTooMuch) {
		t.Errorf("%v, want too much", err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	<-sent
}

// keyedPair is a pair over TLS 1.3 with the keys of the client's direction, for
// records that crypto/tls would not send.
func keyedPair(t testing.TB) (client *tls.Conn, server *tlsStream, keys *clientKeys) {
	var log strings.Builder
	config := testClientTLS()
	config.KeyLogWriter = &log
	client, server = tlsPairWith(t, config)
	if suite := client.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("suite %s: this needs AES-128-GCM, which crypto/tls prefers where it is fast", tls.CipherSuiteName(suite))
	}
	for line := range strings.Lines(log.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			return client, server, newClientKeys(t, secret)
		}
	}
	t.Fatal("no secret in the key log")
	return nil, nil, nil
}

// clientKeys writes the first records after a handshake (RFC 8446 section 5.2).
type clientKeys struct {
	aead     cipher.AEAD
	iv       []byte
	sequence uint64
}

func newClientKeys(t testing.TB, secret []byte) *clientKeys {
	expand := func(label string, n int) []byte { // RFC 8446 section 7.1
		info := binary.BigEndian.AppendUint16(nil, uint16(n))
		info = append(info, byte(len("tls13 "+label)))
		info = append(info, "tls13 "+label+"\x00"...)
		out, err := hkdf.Expand(sha256.New, secret, string(info), n)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	block, err := aes.NewCipher(expand("key", 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return &clientKeys{aead: aead, iv: expand("iv", 12)}
}

// send writes a record below client, which will not know of it. Failing is the
// other side's to notice.
func (k *clientKeys) send(_ testing.TB, client *tls.Conn, kind byte, content []byte) {
	nonce := append([]byte(nil), k.iv...)
	sequence := binary.BigEndian.Uint64(nonce[4:]) ^ k.sequence
	binary.BigEndian.PutUint64(nonce[4:], sequence)
	k.sequence++
	inner := append(append([]byte(nil), content...), kind)
	header := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(header[3:], uint16(len(inner)+k.aead.Overhead()))
	_, _ = client.NetConn().Write(k.aead.Seal(header, nonce, inner, header))
}
