package tunnel

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bound is how long a test waits for what should come at once, on a machine that
// has other things to do.
const bound = 20 * time.Second

// parkedKinds are the kinds of stream that have no goroutine while they wait.
func parkedKinds() []kind {
	var parked []kind
	for _, k := range kinds() {
		if k.parked {
			parked = append(parked, k)
		}
	}
	return parked
}

// joinRig is startRig without the start: what the far ends do before run, the
// tunnel finds all at once.
func joinRig(t testing.TB, k kind, l Limits) (r *rig, run func()) {
	r = &rig{done: make(chan Result, 1)}
	r.client, r.nearC = k.pair(t)
	service, near := tcpPair(t)
	r.service, r.nearS = service, near
	r.result = sync.OnceValue(func() Result { return <-r.done })
	r.tunnel = relaysOf(t).join(r.nearC, r.nearS, l)
	if _, ok := r.tunnel.(*parked); !ok {
		t.Fatalf("a %T", r.tunnel)
	}
	for _, far := range []Stream{r.client, r.service} {
		_ = far.SetDeadline(time.Now().Add(bound))
	}
	var ran sync.WaitGroup
	run = sync.OnceFunc(func() { ran.Go(func() { r.tunnel.run(r) }) })
	t.Cleanup(func() {
		run()
		_ = below(r.client).Close()
		_ = r.service.Close()
		soon(t, r)
		ran.Wait()
	})
	return r, run
}

// soon is the rig's result, which must not take long.
func soon(t testing.TB, r *rig) Result {
	t.Helper()
	got := make(chan Result, 1)
	go func() { got <- r.wait() }()
	late := time.NewTimer(bound)
	defer late.Stop()
	select {
	case result := <-got:
		return result
	case <-late.C:
		t.Errorf("the tunnel has not ended")
		r.tunnel.Abort()
		return <-got
	}
}

// below is the connection that a far end is upon.
func below(s Stream) *net.TCPConn {
	if secured, ok := s.(*tls.Conn); ok {
		return secured.NetConn().(*gatedConn).Conn.(*net.TCPConn)
	}
	return s.(*net.TCPConn)
}

// inside looks at a tunnel while nothing happens to it.
func inside(tunnel Tunnel, look func(*parked)) {
	p := tunnel.(*parked)
	p.mu.Lock()
	defer p.mu.Unlock()
	look(p)
}

// eventually waits for something that only the kernel can bring about, and that
// nobody tells.
func eventually(t testing.TB, what string, true func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(bound)
	defer late.Stop()
	for !true() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// descriptors is how many this process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// capture gives the records that a client makes of what it does, unsent.
func capture(t testing.TB, client *tls.Conn, do func() error) []byte {
	t.Helper()
	gate := client.NetConn().(*gatedConn)
	gate.held = new(bytes.Buffer)
	defer func() { gate.held = nil }()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	return gate.held.Bytes()
}

// forger is a client's sending half, by hand: it seals whatever it is told to.
type forger struct {
	*clientKeys
	secret []byte
}

// forgedPair is a pair over TLS 1.3 with AES-128-GCM and the keys of the client's
// direction.
func forgedPair(t testing.TB, records Records) (client *tls.Conn, server Stream, f *forger) {
	var log strings.Builder
	config := testClientTLS()
	config.KeyLogWriter = &log
	client, near := securedPair(t, config, records)
	if suite := client.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("suite %s: this needs AES-128-GCM, which crypto/tls prefers where it is fast", tls.CipherSuiteName(suite))
	}
	for line := range strings.Lines(log.String()) {
		if field := strings.Fields(line); field[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(field[2])
			if err != nil {
				t.Fatal(err)
			}
			return client, near, &forger{newClientKeys(t, secret), secret}
		}
	}
	t.Fatal("no secret in the key log")
	return nil, nil, nil
}

// seal makes a record of any content (RFC 8446 section 5.2).
func (f *forger) seal(contentType byte, content ...byte) []byte {
	return f.sealPadded(contentType, content, 0)
}

// data is a record of data.
func (f *forger) data(text string) []byte { return f.seal(23, []byte(text)...) }

func (f *forger) sealPadded(contentType byte, content []byte, padding int) []byte {
	nonce := append([]byte(nil), f.iv...)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^f.sequence)
	f.sequence++
	inner := append(append([]byte(nil), content...), contentType)
	inner = append(inner, make([]byte, padding)...)
	header := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(header[3:], uint16(len(inner)+f.aead.Overhead()))
	return f.aead.Seal(header, nonce, inner, header)
}

// update is a KeyUpdate, and goes on to the next keys (RFC 8446 section 7.2).
func (f *forger) update(t testing.TB, request byte) []byte {
	t.Helper()
	record := f.seal(22, 24, 0, 0, 1, request)
	f.next(t)
	return record
}

func (f *forger) next(t testing.TB) {
	t.Helper()
	label := "tls13 traffic upd"
	info := append([]byte{0, sha256.Size, byte(len(label))}, label...)
	secret, err := hkdf.Expand(sha256.New, f.secret, string(append(info, 0)), sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	f.clientKeys, f.secret = newClientKeys(t, secret), secret
}

// alertOf is the alert that a read of crypto/tls ended with, if it did. Its type
// has no name outside.
func alertOf(err error) (alert uint8, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return 0, false
	}
	return uint8(v.Uint()), true
}

// write is Write, from a goroutine that has a test to tell.
func write(t testing.TB, to io.Writer, b []byte) {
	t.Helper()
	if _, err := to.Write(b); err != nil {
		t.Error(err)
	}
}

// isReset tells whether a connection ended with a reset, which is how a close with
// bytes unread looks from the far end.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// relaysWith are the test's relays, with hooks.
func relaysWith(t testing.TB, hooks RelaysHooks) *Relays {
	r := relaysOf(t)
	r.hooks = hooks // nothing runs yet
	return r
}

// narrow has the kernel hold little in any direction, so that little is needed for
// a receiver to have enough.
func narrow(t testing.TB, r *rig) {
	t.Helper()
	const size = 32 << 10
	var err error
	for _, far := range []*net.TCPConn{below(r.client), below(r.service)} {
		err = errors.Join(err, far.SetWriteBuffer(size))
	}
	inside(r.tunnel, func(p *parked) {
		for _, fd := range []int{p.client.fd, p.service.fd} {
			err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
