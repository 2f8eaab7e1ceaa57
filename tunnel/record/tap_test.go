package record

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// peers are a server's and a client's configs that trust one another.
type peers struct{ server, client *tls.Config }

func newPeers(t testing.TB, ask tls.ClientAuthType) peers {
	t.Helper()
	cert := testCertificate(t)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	p := peers{
		server: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: ask, ClientCAs: roots},
		client: &tls.Config{
			Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: "localhost",
			ClientSessionCache: tls.NewLRUClientSessionCache(4),
		},
	}
	p.server.SetSessionTicketKeys([][32]byte{{1}})
	return p
}

// shaken is a connection after the handshake, with a Tap on both sides.
type shaken struct {
	server, client         *tls.Conn
	serverTap, clientTap   *Tap
	serverConn, clientConn net.Conn
}

// shake makes a connection. It ends with the test.
func (p peers) shake(t testing.TB) *shaken {
	t.Helper()
	near, far := memoryPipe()
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	s := &shaken{serverTap: NewTap(far), clientTap: NewTap(near), serverConn: far, clientConn: near}
	server, client := p.server.Clone(), p.client.Clone()
	if server.KeyLogWriter == nil {
		server.KeyLogWriter = s.serverTap.KeyLog()
	}
	client.KeyLogWriter = s.clientTap.KeyLog()
	s.server, s.client = tls.Server(s.serverTap, server), tls.Client(s.clientTap, client)
	var wait sync.WaitGroup
	var served error
	wait.Go(func() { served = s.server.Handshake() })
	asked := s.client.Handshake()
	wait.Wait()
	if err := errors.Join(served, asked); err != nil {
		t.Fatal(err)
	}
	return s
}

// takeServer takes over the server's side, which must work.
func (s *shaken) takeServer(t testing.TB) *Conn {
	t.Helper()
	return take(t, s.serverTap, s.server, Server)
}

func (s *shaken) takeClient(t testing.TB) *Conn {
	t.Helper()
	return take(t, s.clientTap, s.client, Client)
}

func take(t testing.TB, tap *Tap, over *tls.Conn, side Side) *Conn {
	t.Helper()
	state := over.ConnectionState()
	l := new(Layer)
	ahead, ok, err := tap.Take(side, &state, l)
	if !ok || err != nil {
		t.Fatalf("Take: %t, %v", ok, err)
	}
	return NewConn(tap.Conn, l, ahead)
}

// converse sends text there and back, and ends both directions.
func converse(t testing.TB, a, b interface {
	io.ReadWriteCloser
	CloseWrite() error
}) {
	t.Helper()
	long := bytes.Repeat([]byte("0123456789abcdef"), 5000)
	for range 2 {
		for _, dir := range [][2]io.ReadWriter{{a, b}, {b, a}} {
			var wait sync.WaitGroup
			var sent error
			wait.Go(func() { _, sent = dir[0].Write(long) })
			got := make([]byte, len(long))
			_, err := io.ReadFull(dir[1], got)
			wait.Wait()
			if err := errors.Join(sent, err); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, long) {
				t.Fatal("not what was sent")
			}
		}
	}
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("%d, %v; want the end", n, err)
	}
	if _, err := io.WriteString(b, "last"); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(a); string(got) != "last" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestGoPeers is either side of crypto/tls taken over, and both.
func TestGoPeers(t *testing.T) {
	for _, ask := range []tls.ClientAuthType{tls.NoClientCert, tls.RequireAndVerifyClientCert} {
		for _, tickets := range []bool{true, false} {
			p := newPeers(t, ask)
			p.server.SessionTicketsDisabled = !tickets
			for _, resumed := range []bool{false, true} {
				if resumed && !tickets {
					continue
				}
				for _, who := range []string{"server", "client", "both"} {
					t.Run(fmt.Sprintf("%v/tickets=%t/resumed=%t/%s", ask, tickets, resumed, who), func(t *testing.T) {
						p := p
						p.client = p.client.Clone()
						p.client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
						if resumed {
							first := p.shake(t) // crypto/tls alone, which keeps the ticket
							converse(t, first.server, first.client)
						}
						s := p.shake(t)
						if s.server.ConnectionState().DidResume != resumed {
							t.Fatal("resumed differently")
						}
						switch who {
						case "server":
							converse(t, s.takeServer(t), s.client)
						case "client":
							converse(t, s.server, s.takeClient(t))
						case "both":
							converse(t, s.takeServer(t), s.takeClient(t))
						}
					})
				}
			}
		}
	}
}

// TestTakeAhead: what comes together with the handshake's last record is not
// lost, and is not seen by crypto/tls.
func TestTakeAhead(t *testing.T) {
	s := newPeers(t, tls.NoClientCert).shake(t)
	// The Finished is read already, so this goes behind it: into the Tap by
	// way of a read that wants no more than a header.
	long := strings.Repeat("x", 3*tapSize)
	if _, err := io.WriteString(s.client, "first "+long); err != nil {
		t.Fatal(err)
	}
	if err := s.serverTap.fill(); err != nil {
		t.Fatal(err)
	}
	c := s.takeServer(t)
	got := make([]byte, len(long)+6)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "first "+long {
		t.Fatalf("%.20q, %v", got, err)
	}
}

// TestTakeRefuses: what is not to be taken goes on with crypto/tls.
func TestTakeRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*peers)
		before func(*testing.T, *shaken)
		err    error
	}{
		{name: "TLS 1.2", change: func(p *peers) { p.server.MaxVersion = tls.VersionTLS12 }},
		{name: "no key log", err: ErrUnproven, change: func(p *peers) { p.server.KeyLogWriter = io.Discard }},
		{name: "a malformed log", err: ErrUnproven, before: func(_ *testing.T, s *shaken) {
			io.WriteString(s.serverTap.KeyLog(), "CLIENT_TRAFFIC_SECRET_0 00 00\n")
		}},
		{name: "data has been read", err: ErrUnproven, before: func(t *testing.T, s *shaken) {
			io.WriteString(s.client, "x")
			if _, err := s.server.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "very much has been written", err: ErrUnproven, before: func(t *testing.T, s *shaken) {
			for range maxTried + 1 {
				io.WriteString(s.server, "x")
			}
			if _, err := io.ReadFull(s.client, make([]byte, maxTried+1)); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeers(t, tls.NoClientCert)
			if tt.change != nil {
				tt.change(&p)
			}
			s := p.shake(t)
			if tt.before != nil {
				tt.before(t, s)
			}
			state := s.server.ConnectionState()
			l := new(Layer)
			ahead, ok, err := s.serverTap.Take(Server, &state, l)
			if ok || len(ahead) > 0 || !errors.Is(err, tt.err) {
				t.Fatalf("%d bytes ahead, %t, %v; want %v", len(ahead), ok, err, tt.err)
			}
			if s.serverTap.log.complete() || s.serverTap.log.traffic != [2]secret{} || s.serverTap.in.last != nil {
				t.Error("secrets are kept")
			}
			converse(t, s.server, s.client)
			if s.serverTap.in.last != nil || s.serverTap.out.last != nil {
				t.Error("still remembers records")
			}
		})
	}
	t.Run("a header has been read", func(t *testing.T) {
		s := newPeers(t, tls.NoClientCert).shake(t)
		io.WriteString(s.client, "x")
		if _, err := io.ReadFull(s.serverTap, make([]byte, HeaderSize)); err != nil {
			t.Fatal(err)
		}
		state := s.server.ConnectionState()
		if _, ok, err := s.serverTap.Take(Server, &state, new(Layer)); ok || !errors.Is(err, ErrUnproven) {
			t.Errorf("%t, %v", ok, err)
		}
	})
	t.Run("unfinished", func(t *testing.T) {
		if _, ok, err := NewTap(nil).Take(Server, new(tls.ConnectionState), new(Layer)); ok || err == nil {
			t.Errorf("%t, %v", ok, err)
		}
	})
}

// TestTakeCounts: records that crypto/tls has sent are counted, not guessed.
func TestTakeCounts(t *testing.T) {
	for _, written := range []int{0, 1, 5, 20} {
		s := newPeers(t, tls.NoClientCert).shake(t)
		for range written {
			if _, err := io.WriteString(s.server, "x"); err != nil {
				t.Fatal(err)
			}
		}
		c := s.takeServer(t)
		if want := uint64(written + 1); c.layer.out.seq != want { // and a ticket
			t.Fatalf("counted %d, want %d", c.layer.out.seq, want)
		}
		if _, err := io.ReadFull(s.client, make([]byte, written)); err != nil {
			t.Fatal(err)
		}
		converse(t, c, s.client)
	}
}

// TestTakenTap: a tls.Conn that is forgotten about can do no harm.
func TestTakenTap(t *testing.T) {
	s := newPeers(t, tls.NoClientCert).shake(t)
	c := s.takeServer(t)
	if n, err := s.server.Write([]byte("x")); n != 0 || !errors.Is(err, errTaken) {
		t.Errorf("written: %d, %v", n, err)
	}
	if err := s.server.CloseWrite(); !errors.Is(err, errTaken) {
		t.Errorf("close_notify: %v", err)
	}
	if n, err := s.server.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errTaken) {
		t.Errorf("read: %d, %v", n, err)
	}
	if s.serverTap.log.traffic != [2]secret{} || s.serverTap.log.handshake != [2]secret{} {
		t.Error("secrets are kept")
	}
	converse(t, c, s.client)
}

// pieces gives its bytes in pieces of at most a size.
type pieces struct {
	net.Conn
	bytes []byte
	size  int
	reads []int // how much each Read wanted
}

func (p *pieces) Read(b []byte) (int, error) {
	p.reads = append(p.reads, len(b))
	if len(p.bytes) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.bytes)
	p.bytes = p.bytes[n:]
	return n, nil
}

// TestTapBoundaries: however bytes come and are wanted, no Read of a Tap goes
// beyond a record.
func TestTapBoundaries(t *testing.T) {
	var all []byte
	var ends []int
	for _, n := range []int{0, 1, 300, 5, MaxContent + 256, 0, tapSize, 2*tapSize + 1, 1} {
		all = append(all, typeData, 3, 3, byte(n>>8), byte(n))
		all = append(all, bytes.Repeat([]byte{byte(n)}, n)...)
		ends = append(ends, len(all))
	}
	for _, size := range []int{1, 4, 5, 6, 1000, 1 << 20} {
		for _, want := range []int{3, 5, 576, 1 << 20} {
			below := &pieces{bytes: slices.Clone(all), size: size}
			tap := NewTap(below)
			var got []byte
			b := make([]byte, want)
			for {
				n, err := tap.Read(b)
				if err == io.EOF {
					break
				}
				if err != nil || n == 0 {
					t.Fatalf("pieces of %d read by %d: %d, %v", size, want, n, err)
				}
				for _, end := range ends {
					if len(got) < end && end < len(got)+n {
						t.Fatalf("pieces of %d read by %d: from %d to %d, across %d", size, want, len(got), len(got)+n, end)
					}
				}
				got = append(got, b[:n]...)
			}
			if !bytes.Equal(got, all) {
				t.Fatalf("pieces of %d read by %d: not what was sent", size, want)
			}
			if m := slices.Max(below.reads); m > max(tapSize, MaxRecord) {
				t.Fatalf("read %d at once", m)
			}
			if tap.buf != nil {
				t.Error("holds a buffer")
			}
		}
	}
}

func TestKeyLog(t *testing.T) {
	random := strings.Repeat("0f", 32)
	good := func(digits int) string { return strings.Repeat("a5", digits/2) }
	four := func(digits int) []string {
		var lines []string
		for _, label := range []string{
			"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
			"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0",
		} {
			lines = append(lines, label+" "+random+" "+good(digits)+"\n")
		}
		return lines
	}
	tests := []struct {
		name     string
		lines    []string
		complete bool
	}{
		{"of SHA-256", four(64), true},
		{"of SHA-384", four(96), true},
		{"others beside", append(four(64), "EXPORTER_SECRET x y\n", "CLIENT_RANDOM "+random+" "+good(96)+"\n", "", "\n"), true},
		{"TLS 1.2", []string{"CLIENT_RANDOM " + random + " " + good(96) + "\n"}, false},
		{"one is missing", four(64)[:3], false},
		{"one twice", append(four(64), four(64)[2]), false},
		{"another length", four(66), false},
		{"too long", four(98), false},
		{"odd", append(four(64)[:3], strings.Replace(four(64)[3], "a5\n", "a\n", 1)), false},
		{"no random", append(four(64)[:3], "SERVER_TRAFFIC_SECRET_0 "+good(64)+"\n"), false},
		{"short random", append(four(64)[:3], "SERVER_TRAFFIC_SECRET_0 "+random[2:]+" "+good(64)+"\n"), false},
		{"random no hex", append(four(64)[:3], "SERVER_TRAFFIC_SECRET_0 g"+random[1:]+" "+good(64)+"\n"), false},
		{"no hex", append(four(64)[:3], "SERVER_TRAFFIC_SECRET_0 "+random+" g"+good(64)[1:]+"\n"), false},
		{"no end", append(four(64)[:3], strings.TrimSpace(four(64)[3])), false},
		{"two lines at once", append(four(64)[:2], four(64)[2]+four(64)[3]), false},
		{"spoilt, then good", append([]string{"SERVER_TRAFFIC_SECRET_0 \n"}, four(64)...), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var k keyLog
			for _, line := range tt.lines {
				if n, err := k.Write([]byte(line)); n != len(line) || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
			if k.complete() != tt.complete {
				t.Errorf("complete: %t", k.complete())
			}
			if k.spoiled && (k.traffic != [2]secret{} || k.handshake != [2]secret{}) {
				t.Error("spoilt, and keeps secrets")
			}
		})
	}
}

// FuzzKeyLog: whatever crypto/tls might write one day, no half-read line is
// taken for a secret.
func FuzzKeyLog(f *testing.F) {
	f.Add([]byte("CLIENT_TRAFFIC_SECRET_0 " + strings.Repeat("0f", 32) + " " + strings.Repeat("a5", 48) + "\n"))
	f.Add([]byte("SERVER_TRAFFIC_SECRET_0  \n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var k keyLog
		if n, err := k.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		for side, s := range k.traffic {
			if s.n == 0 {
				continue
			}
			label := []string{Server: "SERVER", Client: "CLIENT"}[side]
			want := fmt.Sprintf("%s_TRAFFIC_SECRET_0 %s %x\n", label, bytes.Fields(line)[1], s.bytes())
			if len(want) != len(line) || !strings.EqualFold(want, string(line)) {
				t.Fatalf("%q taken for %q", line, want)
			}
		}
	})
}

// TestSharedConfig: a config for all connections finds each one's Tap, and its
// tickets work.
func TestSharedConfig(t *testing.T) {
	p := newPeers(t, tls.NoClientCert)
	shared := &tls.Config{Certificates: p.server.Certificates}
	variant := shared.Clone()
	shared.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		own := variant.Clone()
		own.KeyLogWriter = hello.Conn.(*Tap).KeyLog()
		return own, nil
	}
	for _, resumed := range []bool{false, true} {
		near, far := memoryPipe()
		tap := NewTap(far)
		server, client := tls.Server(tap, shared), tls.Client(near, p.client)
		var wait sync.WaitGroup
		var served error
		wait.Go(func() { served = server.Handshake() })
		asked := client.Handshake()
		wait.Wait()
		if err := errors.Join(served, asked); err != nil {
			t.Fatal(err)
		}
		if server.ConnectionState().DidResume != resumed {
			t.Errorf("resumed is not %t", resumed)
		}
		converse(t, take(t, tap, server, Server), client)
	}
}

// TestNotPrinted: secrets do not get into logs by way of a format verb.
func TestNotPrinted(t *testing.T) {
	s := newPeers(t, tls.NoClientCert).shake(t)
	raw := s.serverTap.log.traffic[Server].bytes()
	forms := []string{fmt.Sprintf("%x", raw), fmt.Sprint(raw[:4])[1:], fmt.Sprintf("%#v", raw[:4])[8:20]}
	config := &tls.Config{KeyLogWriter: s.serverTap.KeyLog()}
	before := fmt.Sprintf("%v %+v %#v %s", s.serverTap, s.serverTap, s.serverTap, s.serverTap)
	before += fmt.Sprintf("%v %+v %#v", config.KeyLogWriter, config.KeyLogWriter, config.KeyLogWriter)
	c := s.takeServer(t)
	for _, v := range []any{c.layer, struct{ *Layer }{c.layer}} {
		before += fmt.Sprintf("%v %+v %#v %x", v, v, v, v)
	}
	for _, form := range forms {
		form = strings.TrimRight(form, "]")
		if strings.Contains(before, form) {
			t.Errorf("%q in %q", form, before)
		}
	}
}

func TestLeave(t *testing.T) {
	s := newPeers(t, tls.NoClientCert).shake(t)
	s.serverTap.Leave()
	if s.serverTap.log.complete() || s.serverTap.log.traffic != [2]secret{} {
		t.Error("secrets are kept")
	}
	converse(t, s.server, s.client)
}
