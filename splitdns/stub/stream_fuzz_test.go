package stub

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzServeStream pours any bytes into a stream. It always ends, and whatever
// comes back is a row of whole answers.
func FuzzServeStream(f *testing.F) {
	good := framed(question(dns.TypeA, dns.ClassINET, "mail", "example", "com"))
	f.Add([]byte{})
	f.Add(good)
	f.Add(append(bytes.Clone(good), good[:7]...))
	f.Add(append(framed(question(dns.TypeANY, dns.ClassINET, "a")), good...))
	f.Add([]byte{0, 12, 1, 2, 0x78, 4, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte("\xff\xff garbage"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		conn := &recorded{heard: bytes.NewReader(sent)}
		err := ServeStream(context.Background(), conn, mail)
		if err != nil && !errors.Is(err, ErrMessage) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("ServeStream: %v", err)
		}
		if !conn.closed {
			t.Fatal("the stream was left open")
		}
		said, questions := conn.said.Bytes(), 0
		for ; len(said) > 0; questions++ {
			size := 2 + int(binary.BigEndian.Uint16(said))
			if m := unpack(t, said[2:size]); !m.Response {
				t.Fatalf("not an answer: %v", m)
			}
			said = said[size:]
		}
		if least := headerSize + 2; questions*least > len(sent) {
			t.Fatalf("%d answers to %d bytes", questions, len(sent))
		}
	})
}

// recorded is a stream of which all is known: what is heard on it, with the end
// behind it, and what was said.
type recorded struct {
	net.Conn // nil: nothing else is called
	heard    *bytes.Reader
	said     bytes.Buffer
	closed   bool
}

func (r *recorded) Read(p []byte) (int, error)       { return r.heard.Read(p) }
func (r *recorded) Write(p []byte) (int, error)      { return r.said.Write(p) }
func (r *recorded) Close() error                     { r.closed = true; return nil }
func (r *recorded) SetReadDeadline(time.Time) error  { return nil }
func (r *recorded) SetWriteDeadline(time.Time) error { return nil }
