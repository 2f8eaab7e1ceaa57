package exchange

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Bodies of all kinds of sizes go both ways, one exchange after the other on the same
// connection, and are in the account to the byte.
func TestExchange(t *testing.T) {
	var s Service
	conn := dial(t, loopback(t, &s))
	var c Client
	var want Account
	var up, down int64
	for _, a := range []Ask{
		{}, {Up: 1}, {Down: 1}, {Up: 600, Down: 4096}, {Up: 7, Down: 9, Write: 1},
		{Up: 4095, Down: 4097}, {Up: 1 << 20, Down: 1<<20 + 3}, {Down: 1 << 20, Write: MaxWrite},
		{Down: 100_000, Write: 1400}, {Up: 3 * chunk, Down: 3 * chunk, Write: 4095}, {Hold: time.Millisecond},
	} {
		answer, err := c.Do(conn, a, func(u, d int) { up, down = up+int64(u), down+int64(d) })
		if err != nil || answer.Late < 0 || answer.Late > time.Second {
			t.Fatalf("%+v: %+v, %v", a, answer, err)
		}
		want.Asks++
		want.Up, want.Down = want.Up+uint64(a.Up), want.Down+uint64(a.Down)
	}
	got := afterAsks(t, &s, want.Asks)
	if got.Connections != 1 || got.Open != 1 || got.Asks != want.Asks || got.Failed != 0 || got.Up != want.Up || got.Down != want.Down {
		t.Errorf("%+v, want %+v", got, want)
	}
	if up != int64(want.Up) || down != int64(want.Down) {
		t.Errorf("moved %d and %d, want %d and %d", up, down, want.Up, want.Down)
	}
	if got.Busy <= 0 || got.LateMax <= 0 {
		t.Errorf("it was not busy at all: %+v", got)
	}
	if d := s.Account().Sub(got); d.Up != 0 || d.Connections != 0 || d.Open != 1 {
		t.Errorf("since then: %+v", d)
	}
}

// meddler hands on what it reads in pieces of 4 KiB, changed by meddle.
type meddler struct {
	net.Conn
	meddle func(n int, piece []byte, write func([]byte))
	n      int
	out    bytes.Buffer
}

func (m *meddler) Read(b []byte) (int, error) {
	for m.out.Len() == 0 {
		piece := make([]byte, blockSize)
		k, err := m.Conn.Read(piece)
		if err != nil {
			return 0, err
		}
		m.meddle(m.n, piece[:k], func(p []byte) { m.out.Write(p) })
		m.n++
	}
	return m.out.Read(b)
}

// What a gateway might do to bytes is seen, on their way down by the client.
func TestGarbledDown(t *testing.T) {
	var kept []byte
	for name, meddle := range map[string]func(n int, piece []byte, write func([]byte)){
		"lost": func(n int, piece []byte, write func([]byte)) {
			if n != 3 {
				write(piece)
			}
		},
		"doubled": func(n int, piece []byte, write func([]byte)) {
			if write(piece); n == 3 {
				write(piece)
			}
		},
		"swapped": func(n int, piece []byte, write func([]byte)) {
			switch n {
			case 3:
				kept = bytes.Clone(piece)
			case 4:
				write(piece)
				write(kept)
			default:
				write(piece)
			}
		},
		"one byte less": func(n int, piece []byte, write func([]byte)) {
			if n == 3 {
				piece = piece[1:]
			}
			write(piece)
		},
		"another answer": func(n int, piece []byte, write func([]byte)) {
			if n == 0 {
				piece[8]++ // the key
			}
			write(piece)
		},
		"another protocol": func(n int, piece []byte, write func([]byte)) {
			write(append([]byte("HTTP"), piece...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s Service
			conn := &meddler{Conn: dial(t, loopback(t, &s)), meddle: meddle}
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			want := ErrGarbled
			if name == "another protocol" {
				want = ErrProtocol
			}
			if _, err := new(Client).Do(conn, Ask{Down: 40 * blockSize}, nil); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		})
	}
}

// On their way up it is the service that sees it, and says so.
func TestGarbledUp(t *testing.T) {
	var s Service
	conn := dial(t, loopback(t, &s))
	ask := Ask{Up: 3 * blockSize}
	body := make([]byte, ask.Up)
	upBody(7).fill(body, 0)
	copy(body[blockSize:], body[:blockSize]) // the first block again, in place of the second
	if _, err := conn.Write(append(AppendAsk(nil, ask, 7), body...)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAnswer(conn, ask, 7); !errors.Is(err, ErrGarbled) {
		t.Errorf("%v, want %v", err, ErrGarbled)
	}
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("the connection lives on: %d, %v", n, err)
	}
}

// What is not an ask ends the connection; what is one, out of bounds, is refused.
func TestNoAsk(t *testing.T) {
	head := AppendAsk(nil, Ask{}, 1)
	huge := AppendAsk(nil, Ask{Hold: MaxHold + 1}, 1)
	newer := bytes.Clone(head)
	newer[3]++
	for name, tt := range map[string]struct {
		says []byte
		want error
	}{
		"HTTP":    {fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: %032d\r\n\r\n", 0), io.EOF},
		"version": {newer, io.EOF},
		"bounds":  {huge, ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			var s Service
			conn := dial(t, loopback(t, &s))
			if _, err := conn.Write(tt.says); err != nil {
				t.Fatal(err)
			}
			_, err := ReadAnswer(conn, Ask{}, 1)
			var reset *net.OpError // unread bytes make a reset of the end
			if !errors.Is(err, tt.want) && !(tt.want == io.EOF && errors.As(err, &reset)) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			for s.Account().Open > 0 {
				runtime.Gosched()
			}
			if a := s.Account(); a.Failed != 1 || a.Asks != 0 {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, a := range []Ask{
		{Up: -1}, {Up: MaxBody + 1}, {Down: -1}, {Down: MaxBody + 1},
		{Hold: -1}, {Hold: MaxHold + 1}, {Write: -1}, {Write: MaxWrite + 1},
	} {
		if _, err := new(Client).Do(nil, a, nil); err == nil {
			t.Errorf("%+v is asked", a)
		}
	}
	if err := (Ask{MaxBody, MaxBody, MaxHold, MaxWrite}).Check(); err != nil {
		t.Error(err)
	}
}

// Connections that wait cost little beside what the kernel needs.
func TestHeldConnectionsAreSmall(t *testing.T) {
	const n = 400
	var s Service
	addr := loopback(t, &s)
	size := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what was pooled takes two
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = dial(t, addr)
	}
	for s.Account().Open < n {
		runtime.Gosched()
	}
	before := size()
	var c Client
	for _, conn := range conns { // an exchange leaves nothing behind, a poll needs no buffer
		if _, err := c.Do(conn, Ask{Up: 1 << 16, Down: 1 << 16}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(AppendAsk(nil, Ask{Hold: MaxHold}, 1)); err != nil {
			t.Fatal(err)
		}
	}
	after := size()
	if grown := int64(after) - int64(before); grown > n*8<<10 { // a buffer alone is 64 KiB
		t.Errorf("%d bytes a connection", grown/n)
	}
}

// As many connections as may be are served, and not one more until one of them ends.
func TestConnectionsAreBounded(t *testing.T) {
	s := &Service{Most: 2}
	addr := loopback(t, s)
	first, second := dial(t, addr), dial(t, addr)
	for _, conn := range []net.Conn{first, second} {
		if _, err := new(Client).Do(conn, Ask{Up: 1, Down: 1}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		conn := dial(t, addr)
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one too many is not closed: %d bytes, %v", n, err)
		}
	}
	if a := s.Account(); a.TurnedAway != 3 || a.Connections != 2 || a.Open != 2 || a.Failed != 0 {
		t.Errorf("%+v", a)
	}
	before := afterAsks(t, s, 2)
	_ = first.Close()
	for late := time.Now().Add(5 * time.Second); ; {
		if _, err := new(Client).Do(dial(t, addr), Ask{Up: 1, Down: 1}, nil); err == nil {
			break
		} else if time.Now().After(late) {
			t.Fatalf("no place is free again: %v", err)
		}
	}
	if since := afterAsks(t, s, 3).Sub(before); since.Connections != 1 || since.Asks != 1 {
		t.Errorf("since then: %+v", since)
	}
}

// afterAsks is the account once so many asks are in it: one is counted behind its answer.
func afterAsks(t *testing.T, s *Service, n uint64) Account {
	t.Helper()
	for late := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if a := s.Account(); a.Asks >= n {
			return a
		} else if time.Now().After(late) {
			t.Fatalf("asks that were answered are not counted: %+v", a)
		}
	}
}

// Half a head is not waited for for ever; before it begins, a client may be idle.
func TestHalfAHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []int{0, 1, askSize - 1} {
			ours, theirs := net.Pipe()
			s := new(Service)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				s.answer(t.Context(), theirs)
			}()
			if n > 0 {
				if _, err := ours.Write(make([]byte, n)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(headTime + time.Second)
			synctest.Wait()
			select {
			case <-ended:
				if n == 0 {
					t.Error("a client that was idle has been closed")
				}
			default:
				if n > 0 {
					t.Errorf("after %d bytes it waits on", n)
				}
			}
			_ = ours.Close()
			<-ended
		}
	})
}

// Without a bound of its own the service leaves a quarter of the descriptors alone.
func TestDescriptorsAreLeft(t *testing.T) {
	most, all := new(Service).most(), uint64(descriptors())
	if most == 0 || most > all*3/4 {
		t.Errorf("%d connections of %d descriptors", most, all)
	}
}
