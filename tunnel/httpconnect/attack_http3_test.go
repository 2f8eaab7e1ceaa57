package httpconnect

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/sallyport/sallyport/tunnel"
)

// Frames and streams of HTTP/3 (RFC 9114 sections 6.2 and 7.2).
const (
	h3Data, h3Headers, h3Reserved, h3Settings, h3GoAway = 0x0, 0x1, 0x2, 0x4, 0x7
	h3PriorityUpdate                                    = 0xf0700
	h3Unknown                                           = 0x21
	h3Control, h3Push, h3QPACKEncoder                   = 0x0, 0x1, 0x2
)

// status431 is 431, too much header, as QPACK writes it: by Huffman's code (RFC 7541
// appendix B).
const status431 = "\x83\x69\x90\xff"

// lives is the code of a connection that is not closed, since what was sent is no
// offence.
const lives http3.ErrCode = 0

// Attacks on HTTP/3, by strangers and by a client that has a ticket: the counterpart of
// TestAttacks.
func TestAttacksOnHTTP3(t *testing.T) {
	const many = 300
	wrong := connectBy("other.test:443", "Bearer 00000000000000000000000000000000")
	right := connectBy("echo.test:443", bearer0)
	reset := func(request []byte) func(c *byHand) {
		return func(c *byHand) {
			var open []*quic.Stream
			for range many {
				s := c.request(frame(h3Headers, request))
				if s == nil {
					return
				}
				open = append(open, s)
				if len(open) > 8 { // quic-go does not send what is reset before it is sent
					open[0].CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
					open[0].CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
					open = open[1:]
				}
			}
		}
	}
	refused := func(c *byHand) {
		for range many {
			if s := c.request(frame(h3Headers, wrong)); s != nil {
				_, _ = io.Copy(io.Discard, s)
			}
		}
	}
	for _, attack := range []struct {
		name  string
		known bool
		code  http3.ErrCode
		send  func(c *byHand)
	}{
		{"refused requests, stranger", false, http3.ErrCodeNoError, refused},
		{"refused requests", true, lives, refused},
		{"rapid reset, stranger", false, http3.ErrCodeNoError, reset(wrong)},
		{"rapid reset", true, lives, reset(right)},
		{"1 MiB of headers", true, lives, func(c *byHand) {
			for range 20 {
				c.mustReset(c.request(frame(h3Headers, make([]byte, 1<<20))), http3.ErrCodeExcessiveLoad, status431)
			}
		}},
		{"QPACK bomb", true, lives, func(c *byHand) {
			// A byte each for a field of 67: content-type: application/dns-message.
			bomb := append(append([]byte(nil), right...), strings.Repeat("\xec", 7000)...)
			for range 200 {
				c.mustReset(c.request(frame(h3Headers, bomb)), 0, status431)
			}
		}},
		{"QPACK dynamic table", true, lives, func(c *byHand) {
			for range 200 { // needs an entry that we never allowed, and names it
				c.mustReset(c.request(frame(h3Headers, []byte{2, 0, 0x80})), http3.ErrCodeQPACKDecompressionFailed, "")
			}
		}},
		{"QPACK inserts", true, lives, func(c *byHand) {
			s := c.uni(h3QPACKEncoder, nil)
			_ = s.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			insert := append([]byte{0x40 | 1, 'x', 0x7f, 0xe1, 0x06}, make([]byte, 1000)...)
			for range 10_000 {
				if _, err := s.Write(insert); err != nil {
					return // nobody reads it
				}
			}
			c.t.Error("10 MB went to a table that there is not")
		}},
		{"unknown frames", true, lives, func(c *byHand) {
			s := c.request(nil)
			for range many {
				_, _ = s.Write(frame(h3Unknown, make([]byte, 1000)))
			}
			_, _ = s.Write(frame(h3Headers, right))
			_, _ = s.Write(frame(h3Data, []byte("hello")))
			c.mustHear(s, "hello")
		}},
		{"empty DATA", true, lives, func(c *byHand) {
			s := c.request(frame(h3Headers, right))
			for range 50 * many {
				_, _ = s.Write(frame(h3Data, nil))
			}
			_, _ = s.Write(frame(h3Data, []byte("hello")))
			c.mustHear(s, "hello")
		}},
		{"GOAWAY", true, lives, func(c *byHand) {
			for range 40 * many {
				_, _ = c.control.Write(frame(h3GoAway, []byte{0}))
			}
		}},
		{"PRIORITY_UPDATE", true, lives, func(c *byHand) {
			for i := range uint64(4 * many) {
				_, _ = c.control.Write(frame(h3PriorityUpdate, append(quicvarint.Append(nil, 4*i), "u=0, i"...)))
			}
		}},
		{"streams of no kind", true, lives, func(c *byHand) {
			for range many {
				c.uni(h3Unknown, nil).CancelWrite(0)
			}
		}},
		{"reserved frames", true, http3.ErrCodeFrameUnexpected, func(c *byHand) { c.request(frame(h3Reserved, nil)) }},
		{"DATA first", true, http3.ErrCodeFrameUnexpected, func(c *byHand) { c.request(frame(h3Data, []byte("hello"))) }},
		{"SETTINGS again", true, http3.ErrCodeFrameUnexpected, func(c *byHand) {
			for range many {
				_, _ = c.control.Write(frame(h3Settings, nil))
			}
		}},
		{"1 MiB of SETTINGS", true, http3.ErrCodeFrameError, func(c *byHand) {
			_, _ = c.control.Write(frame(h3Settings, make([]byte, 1<<20)))
		}},
		{"control stream closed", true, http3.ErrCodeClosedCriticalStream, func(c *byHand) { _ = c.control.Close() }},
		{"control stream reset", true, http3.ErrCodeClosedCriticalStream, func(c *byHand) { c.control.CancelWrite(0) }},
		{"control stream twice", true, http3.ErrCodeStreamCreationError, func(c *byHand) { c.uni(h3Control, frame(h3Settings, nil)) }},
		{"push by a client", true, http3.ErrCodeStreamCreationError, func(c *byHand) { c.uni(h3Push, []byte{0}) }},
	} {
		t.Run(strings.ReplaceAll(attack.name, " ", "_"), func(t *testing.T) {
			w := newWorld(t, Config{}, tunnel.Config{})
			w.overQUIC(t)
			go drain(w)
			honest := w.http3(t).connect(t, "echo.test:443", "Proxy-Authorization", bearer0)
			honest.echoes(t, "before")
			c := w.byHand(t)
			if attack.known {
				s := c.request(frame(h3Headers, right))
				_, _ = s.Write(frame(h3Data, []byte("known")))
				c.mustHear(s, "known")
			}
			before := held()
			attack.send(c)
			at := held()
			honest.echoes(t, "meanwhile")
			c.ends(attack.code)
			_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
			honest.echoes(t, "after it")
			w.http3(t).connect(t, "echo.test:443", "Proxy-Authorization", bearer0).echoes(t, "anew")
			after := held()
			t.Logf("%-26s KiB held: before %6d  at its end %+6d  after it %+6d  answer %s", attack.name, before>>10, (at-before)>>10, (after-before)>>10, answerName(attack.code))
			if at-before > 16<<20 || after-before > 16<<20 {
				t.Errorf("%d KiB at its end, %d KiB after it", (at-before)>>10, (after-before)>>10)
			}
		})
	}
}

func answerName(code http3.ErrCode) string {
	if code == lives {
		return "the connection lives"
	}
	return code.String()
}

// byHand is a client that can say what http3's would not.
type byHand struct {
	*quic.Conn
	t       *testing.T
	within  context.Context
	control *quic.SendStream
}

func (w *world) byHand(t *testing.T) *byHand {
	t.Helper()
	within, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	conn, err := quic.DialAddr(within, w.udp.Addr().String(), clientTLS("h3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	c := &byHand{Conn: conn, t: t, within: within}
	c.control = c.uni(h3Control, frame(h3Settings, nil))
	return c
}

// uni is a stream of one direction.
func (c *byHand) uni(kind uint64, data []byte) *quic.SendStream {
	c.t.Helper()
	s, err := c.OpenUniStreamSync(c.within)
	if err != nil {
		c.t.Fatal(err)
	}
	_, _ = s.Write(append(quicvarint.Append(nil, kind), data...))
	return s
}

// request is one that begins with data. It is nil when the connection is over.
func (c *byHand) request(data []byte) *quic.Stream {
	s, err := c.OpenStreamSync(c.within)
	if err != nil {
		return nil
	}
	_ = s.SetDeadline(time.Now().Add(patience))
	_, _ = s.Write(data)
	return s
}

// mustHear finds words in what comes.
func (c *byHand) mustHear(s *quic.Stream, words string) {
	c.t.Helper()
	var heard strings.Builder
	for !strings.Contains(heard.String(), words) {
		if _, err := io.CopyN(&heard, s, 1); err != nil {
			c.t.Fatalf("%q, %v", heard.String(), err)
		}
	}
}

// mustReset finds that a request is answered with the status, if it is not empty, and
// that its stream ends with the code, or well if it is zero.
func (c *byHand) mustReset(s *quic.Stream, code http3.ErrCode, status string) {
	c.t.Helper()
	heard, err := io.ReadAll(s)
	if status != "" && !strings.Contains(string(heard), status) {
		c.t.Errorf("%q, want %s", heard, status)
	}
	if status != "" {
		_, err = s.Write([]byte{0}) // what more we would say is not wanted
	}
	var is *quic.StreamError
	if code != 0 && (!errors.As(err, &is) || http3.ErrCode(is.ErrorCode) != code) {
		c.t.Errorf("%v, want %v", err, code)
	}
}

// ends finds that the connection is closed with the code, or lives.
func (c *byHand) ends(code http3.ErrCode) {
	c.t.Helper()
	if code == lives {
		s := c.request(frame(h3Headers, connectBy("echo.test:443", bearer0)))
		if s == nil {
			c.t.Fatal(context.Cause(c.Context()))
		}
		_, _ = s.Write(frame(h3Data, []byte("still here")))
		c.mustHear(s, "still here")
		return
	}
	select {
	case <-c.Context().Done():
	case <-c.within.Done():
	}
	var closed *quic.ApplicationError
	if err := context.Cause(c.Context()); !errors.As(err, &closed) || !closed.Remote || http3.ErrCode(closed.ErrorCode) != code {
		c.t.Errorf("%v, want %v", err, code)
	}
}

func frame(kind uint64, payload []byte) []byte {
	p := quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload)))
	return append(p, payload...)
}

// connectBy is a CONNECT's field section, without compression (RFC 9204 section 4.5).
func connectBy(target, credential string) []byte {
	p := []byte{0, 0} // needs nothing of a dynamic table
	for _, field := range [][2]string{{":method", "CONNECT"}, {":authority", target}, {"proxy-authorization", credential}} {
		p = append(prefixed(p, 0x20, 3, len(field[0])), field[0]...)
		p = append(prefixed(p, 0, 7, len(field[1])), field[1]...)
	}
	return p
}

// prefixed is an integer behind some bits (RFC 7541 section 5.1).
func prefixed(p []byte, bits byte, size, n int) []byte {
	most := 1<<size - 1
	if n < most {
		return append(p, bits|byte(n))
	}
	p = append(p, bits|byte(most))
	for n -= most; n >= 128; n >>= 7 {
		p = append(p, byte(n)|128)
	}
	return append(p, byte(n))
}
