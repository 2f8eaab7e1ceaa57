package exchange

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// A head is read as what writes the same bytes again, or not at all.
func FuzzReadAsk(f *testing.F) {
	f.Add(AppendAsk(nil, Ask{}, 0))
	f.Add(AppendAsk(nil, Ask{MaxBody, MaxBody, MaxHold, MaxWrite}, ^uint64(0)))
	f.Add(AppendAsk(nil, Ask{Hold: MaxHold + 1}, 1))
	f.Add([]byte("SPQ\x02 and more, which does not matter at all"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: none\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, key, err := ReadAsk(bytes.NewReader(in))
		switch {
		case err == nil:
			if err := a.Check(); err != nil {
				t.Fatalf("%+v is taken: %v", a, err)
			}
			if out := AppendAsk(nil, a, key); !bytes.Equal(out, in[:askSize]) {
				t.Fatalf("% x, and again % x", in, out)
			}
		case len(in) < askSize && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			t.Fatalf("short: %v", err)
		case len(in) >= askSize && !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrRefused):
			t.Fatalf("an error of no kind: %v", err)
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	f.Add(appendAnswer(nil, statusGood, 7, 9, time.Second))
	f.Add(appendAnswer(nil, statusGarbled, 7, 0, 0))
	f.Add(appendAnswer(nil, statusRefused, 7, 0, 0))
	f.Add(appendAnswer(nil, 3, 7, 9, 0))
	f.Add(appendAnswer(nil, statusGood, 8, 9, -1))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		answer, err := ReadAnswer(bytes.NewReader(in), Ask{Down: 9}, 7)
		switch {
		case err == nil:
			if out := appendAnswer(nil, statusGood, 7, 9, answer.Late); !bytes.Equal(out, in[:answerSize]) {
				t.Fatalf("% x, and again % x", in, out)
			}
		case len(in) < answerSize && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			t.Fatalf("short: %v", err)
		case len(in) >= answerSize && !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrVersion) &&
			!errors.Is(err, ErrRefused) && !errors.Is(err, ErrGarbled):
			t.Fatalf("an error of no kind: %v", err)
		}
	})
}

// However a body is cut into parts, it is the same body, and no other.
func FuzzBody(f *testing.F) {
	f.Add(uint64(1), uint16(20000), uint16(4096))
	f.Add(uint64(0), uint16(9), uint16(1))
	f.Add(^uint64(0), uint16(4100), uint16(4095))
	f.Fuzz(func(t *testing.T, key uint64, size, part uint16) {
		whole := make([]byte, size)
		upBody(key).fill(whole, 0)
		for at := 0; at < len(whole); at += int(part) + 1 {
			b := whole[at:min(len(whole), at+int(part)+1)]
			if !upBody(key).good(b, int64(at)) {
				t.Fatalf("%d bytes from %d on are not the body's", len(b), at)
			}
			copied := bytes.Clone(b)
			if upBody(key).fill(copied, int64(at)); !bytes.Equal(copied, b) {
				t.Fatalf("%d bytes from %d on differ", len(b), at)
			}
		}
		if len(whole) >= stampSize && (downBody(key).good(whole, 0) || upBody(key+1).good(whole, 0)) {
			t.Fatal("another body")
		}
	})
}
