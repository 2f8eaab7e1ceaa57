package httpconnect

import (
	"bufio"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/tunnel"
)

// held is what the process holds, garbage apart.
func held() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// Attacks on HTTP/2, by strangers and by a client that has a ticket. Each runs until
// the server has ended the connection, or for so many frames where what is sent is no
// offence as such, and then the server is as good as before. go test -v prints what was held meanwhile.
func TestAttacks(t *testing.T) {
	const frames, framesToDeaf = 2_000, 1_000_000
	headers := func(c *framed, flush bool) error {
		id, err := c.begin(connectTo("other.test:443")...)
		if err == nil && flush {
			err = c.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		return err
	}
	for _, attack := range []struct {
		name    string
		known   bool
		deaf    bool // does not read
		mayLive bool // what is sent is no offence
		send    func(c *framed, i int) error
	}{
		{"rapid reset, stranger", false, false, false, func(c *framed, _ int) error { return headers(c, true) }},
		{"rapid reset", true, false, true, func(c *framed, _ int) error { return headers(c, true) }},
		{"rapid reset, deaf", true, true, true, func(c *framed, _ int) error { return headers(c, true) }},
		{"CONTINUATION", true, false, false, func(c *framed, i int) error {
			if i == 0 {
				c.next += 2
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: c.block(":method", "CONNECT")})
			}
			return c.WriteContinuation(c.next, false, c.block("x", strings.Repeat("x", 1000)))
		}},
		{"empty CONTINUATION", true, false, true, func(c *framed, i int) error {
			if i == 0 {
				c.next += 2
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: c.block(":method", "CONNECT")})
			}
			return c.WriteContinuation(c.next, false, nil)
		}},
		{"CONTINUATION, stranger", false, false, false, func(c *framed, i int) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(":method", "CONNECT")})
			}
			return c.WriteContinuation(1, false, nil)
		}},
		{"SETTINGS, stranger", false, false, false, func(c *framed, _ int) error { return c.WriteSettings() }},
		{"SETTINGS", true, false, true, func(c *framed, _ int) error { return c.WriteSettings() }},
		{"SETTINGS, deaf", true, true, true, func(c *framed, _ int) error { return c.WriteSettings() }},
		{"PING, stranger", false, false, false, func(c *framed, _ int) error { return c.WritePing(false, [8]byte{}) }},
		{"PING, deaf", true, true, false, func(c *framed, _ int) error { return c.WritePing(false, [8]byte{}) }},
		{"empty DATA, stranger", false, false, false, func(c *framed, i int) error {
			if i == 0 {
				_, err := c.begin(connectTo("echo.test:443")[:4]...)
				return err
			}
			return c.WriteData(1, false, nil)
		}},
		{"pages, stranger", false, false, false, func(c *framed, _ int) error {
			_, err := c.begin(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/")
			return err
		}},
	} {
		t.Run(strings.ReplaceAll(attack.name, " ", "_"), func(t *testing.T) {
			w := newWorld(t, Config{}, tunnel.Config{})
			go drain(w)
			c := w.framed(t)
			if attack.known {
				id, _ := c.begin(connectTo("echo.test:443")...)
				if got := c.answer(t, id); got != "200" {
					t.Fatal(got)
				}
			}
			before := held()
			out := bufio.NewWriterSize(c.conn, 16<<10)
			in := c.Framer
			c.Framer = http2.NewFramer(out, nil)
			ended := make(chan struct{})
			most := frames
			if attack.deaf && !attack.mayLive {
				most = framesToDeaf // what lies in the kernel's buffers goes unnoticed
			}
			if !attack.deaf {
				go func() {
					defer close(ended)
					_ = (&framed{Framer: in}).answer(t, 0) // up to a GOAWAY, or the end
				}()
			}
			_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
			var err error
			sent := 0
			for ; sent < most && err == nil; sent++ {
				err = attack.send(c, sent)
			}
			at := held()
			switch {
			case attack.mayLive:
			case attack.deaf:
				if err == nil || os.IsTimeout(err) {
					t.Errorf("the connection survived: %v", err)
				}
			default:
				<-ended
			}
			if attack.deaf {
				close(ended)
			}
			_ = c.conn.Close()
			<-ended
			if r := (clientHTTP1{w}).connect(t, "echo.test:443", "Proxy-Authorization", bearer0); r.status != 200 {
				t.Error(r.status)
			}
			after := held()
			t.Logf("%-26s frames %6d   KiB held: before %6d  at its end %+6d  after it %+6d", attack.name, sent, before>>10, (at-before)>>10, (after-before)>>10)
			if at-before > 16<<20 || after-before > 16<<20 {
				t.Errorf("%d KiB at its end, %d KiB after it", (at-before)>>10, (after-before)>>10)
			}
		})
	}
}

// drain forgets what a world tells.
func drain(w *world) {
	for {
		select {
		case <-w.labels:
		case <-w.peers:
		case <-w.ended:
		case <-w.carrier.closing.Done():
			return
		}
	}
}
