package record

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// newConns returns both ends of a connection in memory.
func newConns(t testing.TB) (server, client *Conn) {
	t.Helper()
	near, far := memoryPipe()
	s, c := newPair(t, tls.TLS_AES_128_GCM_SHA256)
	server, client = NewConn(far, s, nil), NewConn(near, c, nil)
	t.Cleanup(func() {
		server.Abort()
		client.Abort()
	})
	return server, client
}

// newTCP returns both ends of a TCP connection on loopback.
func newTCP(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return near, far
}

func TestConnConverse(t *testing.T) {
	server, client := newConns(t)
	converse(t, server, client)
	if server.buf != nil || client.buf != nil {
		t.Error("buffers are held after the end")
	}
}

// countedWrites counts, and remembers the largest.
type countedWrites struct {
	net.Conn
	sizes []int
}

func (c *countedWrites) Write(p []byte) (int, error) {
	c.sizes = append(c.sizes, len(p))
	return c.Conn.Write(p)
}

// TestWriteGathers: a large Write is as few below as 16 records each.
func TestWriteGathers(t *testing.T) {
	near, far := memoryPipe()
	s, c := newPair(t, tls.TLS_AES_128_GCM_SHA256)
	counted := &countedWrites{Conn: far}
	server, client := NewConn(counted, s, nil), NewConn(near, c, nil)
	defer server.Close()
	defer client.Abort()
	s.due.Store(dueAnswer)
	text := bytes.Repeat([]byte("0123456789abcdef"), (2*gathered+1)*MaxContent/16)
	if n, err := server.Write(text); n != len(text) || err != nil {
		t.Fatal(n, err)
	}
	want := []int{keyUpdateSize + gathered*fullRecord, gathered * fullRecord, fullRecord}
	if len(counted.sizes) != len(want) || counted.sizes[0] != want[0] || counted.sizes[1] != want[1] || counted.sizes[2] != want[2] {
		t.Errorf("writes of %d, want %d", counted.sizes, want)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("differs, %v", err)
	}
	if n, err := server.Write(nil); n != 0 || err != nil || len(counted.sizes) != 3 {
		t.Errorf("nothing is written as %d, %v", counted.sizes, err)
	}
}

// TestReadFills: one Read takes all records that are here, and small ones take
// what is left.
func TestReadFills(t *testing.T) {
	server, client := newConns(t)
	for range 10 {
		if _, err := io.WriteString(server, "0123456789"); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 1000)
	if n, err := client.Read(b[:95]); n != 95 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := client.Read(b); string(b[:n]) != "56789" || err != nil {
		t.Fatal(n, err)
	}
	if client.buf != nil {
		t.Error("a buffer is held")
	}
	if n, err := client.Read(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// TestConnEnds: an end without close_notify can be told from one with it, and
// in the middle of a record from one between two.
func TestConnEnds(t *testing.T) {
	tests := []struct {
		name      string
		cut       func(records []byte) []byte
		want      error
		truncated bool
	}{
		{"close_notify", func(b []byte) []byte { return b }, io.EOF, false},
		{"close_notify, and rubbish", func(b []byte) []byte { return append(b, "rubbish"...) }, io.EOF, false},
		{"between records", func(b []byte) []byte { return b[:len(b)-HeaderSize-2-TrailerSize] }, ErrTruncated, true},
		{"within a record", func(b []byte) []byte { return b[:len(b)-1] }, io.ErrUnexpectedEOF, true},
		{"within a header", func(b []byte) []byte { return b[:len(b)-HeaderSize-TrailerSize] }, io.ErrUnexpectedEOF, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := newPair(t, tls.TLS_AES_128_GCM_SHA256)
			near, far := memoryPipe()
			records := c.AppendGoodbye(sealed(t, c, "text"), nil)
			if _, err := near.Write(tt.cut(records)); err != nil {
				t.Fatal(err)
			}
			near.Close()
			server := NewConn(far, s, nil)
			defer server.Close()
			got, err := io.ReadAll(server)
			if tt.want == io.EOF {
				tt.want = nil // ReadAll's way to say it
			}
			if string(got) != "text" || err != tt.want || errors.Is(err, io.ErrUnexpectedEOF) != tt.truncated {
				t.Errorf("%q, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// TestReadAlerts: the peer learns what it did wrong, and reading is over.
func TestReadAlerts(t *testing.T) {
	server, client := newConns(t)
	bad := forge(client.layer, keyUpdateInner(7)...)
	if _, err := client.Conn.Write(bad); err != nil {
		t.Fatal(err)
	}
	_, err := server.Read(make([]byte, 1))
	wantAlert(t, err, alertIllegalParameter)
	if _, again := server.Read(make([]byte, 1)); again != err {
		t.Errorf("again: %v", again)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, alertIllegalParameter) {
		t.Errorf("the peer reads %v", err)
	}
	if _, err := server.Write([]byte("x")); !errors.Is(err, ErrEnded) {
		t.Errorf("written: %v", err)
	}
}

// TestDeadlines: a read deadline leaves all as it was, a write deadline is
// final.
func TestDeadlines(t *testing.T) {
	near, far := newTCP(t)
	s, c := newPair(t, tls.TLS_AES_128_GCM_SHA256)
	record := sealed(t, c, "text")
	server := NewConn(far, s, record[:10])
	defer server.Close()
	past := time.Unix(1, 0)
	server.SetReadDeadline(past)
	b := make([]byte, 10)
	for range 2 {
		if _, err := server.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	server.SetReadDeadline(time.Time{})
	near.Write(record[10:])
	if n, err := server.Read(b); string(b[:n]) != "text" || err != nil {
		t.Fatal(n, err)
	}
	server.SetWriteDeadline(past)
	for range 2 {
		if n, err := server.Write(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(n, err)
		}
		server.SetWriteDeadline(time.Time{})
	}
	if err := server.CloseWrite(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("half a record, and then a goodbye: %v", err)
	}
}

// TestCloseSaysGoodbyeOnce, also if CloseWrite has said it.
func TestCloseSaysGoodbyeOnce(t *testing.T) {
	near, far := memoryPipe()
	s, c := newPair(t, tls.TLS_AES_128_GCM_SHA256)
	counted := &countedWrites{Conn: far}
	server := NewConn(counted, s, nil)
	if err := errors.Join(server.CloseWrite(), server.CloseWrite(), server.Close()); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed again: %v", err)
	}
	if len(counted.sizes) != 1 {
		t.Errorf("written: %d", counted.sizes)
	}
	client := NewConn(near, c, nil)
	if got, err := io.ReadAll(client); len(got) > 0 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, err := range []error{
		func() error { _, err := server.Read(make([]byte, 1)); return err }(),
		func() error { _, err := server.Write(make([]byte, 1)); return err }(),
		server.CloseWrite(),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	if s.suite != 0 || s.out.secret != [maxSecret]byte{} {
		t.Error("secrets are kept")
	}
	client.Close()
}

// TestCloseIsBounded: a peer that takes nothing holds Close up for no longer
// than it may.
func TestCloseIsBounded(t *testing.T) {
	near, far := net.Pipe() // has no room at all
	defer near.Close()
	s, _ := newPair(t, tls.TLS_AES_128_GCM_SHA256)
	server := NewConn(far, s, nil)
	begin := time.Now()
	server.Close()
	if took := time.Since(begin); took < closeBound || took > 10*closeBound {
		t.Errorf("took %v", took)
	}
}

// waitingWriter tells when a write has begun below.
type waitingWriter struct {
	net.Conn
	began chan struct{}
	once  sync.Once
}

func (w *waitingWriter) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.began) })
	return w.Conn.Write(p)
}

// TestCloseAmidReadAndWrite: others that are blocked end at once, without
// closeBound and without a goodbye.
func TestCloseAmidReadAndWrite(t *testing.T) {
	for name, end := range map[string]func(*Conn){
		"Close": func(c *Conn) { c.Close() },
		"Abort": func(c *Conn) { c.Abort() },
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe() // has no room at all
			defer near.Close()
			s, _ := newPair(t, tls.TLS_AES_128_GCM_SHA256)
			w := &waitingWriter{Conn: far, began: make(chan struct{})}
			server := NewConn(w, s, nil)
			var wait sync.WaitGroup
			var wrote, read error
			wait.Go(func() { _, wrote = server.Write(make([]byte, 1<<20)) })
			wait.Go(func() { _, read = server.Read(make([]byte, 1)) })
			<-w.began
			begin := time.Now()
			end(server)
			if took := time.Since(begin); took > closeBound {
				t.Errorf("took %v", took)
			}
			wait.Wait()
			if wrote == nil || read == nil {
				t.Errorf("Write gave %v, Read %v", wrote, read)
			}
		})
	}
}

// TestAbortResets: the peer sees a reset and no goodbye.
func TestAbortResets(t *testing.T) {
	near, far := newTCP(t)
	s, _ := newPair(t, tls.TLS_AES_128_GCM_SHA256)
	server := NewConn(far, s, nil)
	server.Abort()
	server.Abort()
	if n, err := near.Read(make([]byte, 100)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("%d, %v; want a reset", n, err)
	}
	if err := server.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close after Abort: %v", err)
	}
}

// TestRelease: somebody else goes on where the Conn was.
func TestRelease(t *testing.T) {
	s, c := newPair(t, tls.TLS_AES_128_GCM_SHA256)
	near, far := memoryPipe()
	client := NewConn(near, c, nil)
	defer client.Close()
	for _, text := range []string{"read and not", "opened", "gone"} {
		if _, err := io.WriteString(client, text); err != nil {
			t.Fatal(err)
		}
	}
	server := NewConn(far, s, nil)
	if _, err := io.ReadFull(server, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	l, plain, ahead := server.Release()
	if l != s || string(plain) != "and not" || server.buf != nil {
		t.Fatalf("%q", plain)
	}
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if _, err := server.Write(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("written: %v", err)
	}
	server.Close()
	server.Abort()
	server = NewConn(far, l, ahead)
	b := make([]byte, 10)
	if _, err := io.ReadFull(server, b); string(b) != "openedgone" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	if _, err := io.WriteString(server, "back"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, b[:4]); string(b[:4]) != "back" || err != nil {
		t.Fatalf("%q, %v", b[:4], err)
	}
	server.Close()
}

// TestReaderAsks: a worn key of a peer that only sends is asked for without a
// Write of ours.
func TestReaderAsks(t *testing.T) {
	server, client := newConns(t)
	client.layer.out.seq, server.layer.in.seq = askAfter-1, askAfter-1
	if _, err := client.Conn.Write(forge(client.layer, data("a")...)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	// The request is in the pipe: the peer reads it, and its next data is under
	// another key.
	b := make([]byte, 100)
	n, err := client.Conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	mustOpen(t, client.layer, b[:n], "")
	if _, err := io.WriteString(client, "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, b[:1]); err != nil || server.layer.in.seq != 1 {
		t.Errorf("sequence %d, %v", server.layer.in.seq, err)
	}
}

// TestRace: one goroutine opens and one seals on each side, while keys change in
// both directions. It is for -race, and for the order of what is shared.
func TestRace(t *testing.T) {
	server, client := newConns(t)
	const size = 1 << 20
	var pumps sync.WaitGroup
	for _, dir := range [][2]*Conn{{server, client}, {client, server}} {
		pumps.Go(func() {
			for left := size; left > 0; {
				if left%5 == 0 {
					dir[0].layer.due.Or(dueAsk) // as Open does; the peer's has it answer
				}
				n, err := dir[0].Write(make([]byte, min(left, 999)))
				if err != nil {
					t.Error(err)
					return
				}
				left -= n
			}
		})
		pumps.Go(func() {
			if _, err := io.ReadFull(dir[1], make([]byte, size)); err != nil {
				t.Error(err)
			}
		})
	}
	pumps.Wait()
	if server.layer.updates == 0 || client.layer.updates == 0 {
		t.Error("no key has changed")
	}
}
