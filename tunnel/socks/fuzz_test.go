package socks

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// Each target reads the bytes a second time, by slicing, in the most
// straightforward way that the RFC allows, and wants the same result.

// again is what that second reading says: the length of the message and what
// is wrong with it. A message that is cut short has short set.
type again struct {
	n       int
	short   bool
	problem Problem
}

func (a again) check(t *testing.T, err error, read int) {
	t.Helper()
	switch {
	case a.problem != "":
		if !errors.Is(err, a.problem) {
			t.Fatalf("error %v, want %v", err, a.problem)
		}
	case a.short:
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("error %v for a message cut short", err)
		}
	case err != nil:
		t.Fatalf("refused: %v", err)
	case read != a.n:
		t.Fatalf("read %d bytes of a message of %d", read, a.n)
	}
}

// addressEnd returns where an address that begins with ATYP at b[3] and its
// port end; ok is false when its kind is unknown.
func addressEnd(b []byte) (end int, ok bool) {
	switch {
	case len(b) < 4:
		return 4, true
	case b[3] == 1:
		return 4 + 4 + 2, true
	case b[3] == 4:
		return 4 + 16 + 2, true
	case b[3] == 3 && len(b) < 5:
		return 5, true
	case b[3] == 3:
		return 5 + int(b[4]) + 2, true
	}
	return 4, false
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x03\x10mail.example.com\x01\xbbahead"))
	f.Add([]byte("\x05\x01\x00\x01\x0a\x00\x00\x01\x01\xbb"))
	f.Add([]byte("\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb"))
	f.Add([]byte("\x05\x01\x00\x03\x00\x01\xbb"))
	f.Add([]byte("\x05\x02\x00\x01\x0a\x00\x00\x01\x01\xbb"))
	f.Add([]byte("\x05\x01\x00\x05"))
	f.Add([]byte("\x04\x01\x00"))
	f.Add([]byte("\x05\x01\x00\x03\xff" + strings.Repeat("n", 255) + "\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var want again
		end, known := addressEnd(in)
		want.n = end
		switch {
		case len(in) < 3:
			want.short = true
		case in[0] != 5:
			want.problem = BadVersion
		case len(in) < end:
			want.short = true
		case in[1] != 1:
			want.problem = BadCommand
		case in[2] != 0:
			want.problem = BadReserved
		case !known:
			want.problem = BadAddressType
		case in[3] == 3 && in[4] == 0:
			want.problem = EmptyName
		}
		r := bytes.NewReader(in)
		got, err := ReadRequest(iotest.HalfReader(r))
		want.check(t, err, len(in)-r.Len())
		if err != nil {
			return
		}
		port := uint16(in[end-2])<<8 | uint16(in[end-1])
		expected := Request{Port: port}
		if in[3] == 3 {
			expected.Host = string(in[5 : end-2])
		} else {
			expected.Addr, _ = netip.AddrFromSlice(in[4 : end-2])
		}
		if got != expected {
			t.Fatalf("%+v, want %+v", got, expected)
		}
	})
}

func FuzzUserPass(f *testing.F) {
	f.Add([]byte("\x01\x04user\x06secretahead"))
	f.Add([]byte("\x01\x00\x00"))
	f.Add([]byte("\x05\x01u\x01p"))
	f.Add([]byte("\x01\xff" + strings.Repeat("u", 255) + "\xff" + strings.Repeat("p", 255)))
	f.Fuzz(func(t *testing.T, in []byte) {
		var want again
		var user, password []byte
		rest := in
		field := func() (b []byte) {
			if len(rest) == 0 || len(rest)-1 < int(rest[0]) {
				want.short, rest = true, nil
				return nil
			}
			n := 1 + int(rest[0])
			b, rest = rest[1:n], rest[n:]
			return b
		}
		switch {
		case len(in) == 0:
			want.short = true
		case in[0] != 1:
			want.problem = BadAuth
		default:
			rest = in[1:]
			user, password = field(), field()
			want.n = len(in) - len(rest)
		}
		r := bytes.NewReader(in)
		got, err := UserPass{}.Authenticate(iotest.HalfReader(r), io.Discard)
		want.check(t, err, len(in)-r.Len())
		if err == nil && (got.Payload[PayloadUser] != string(user) || got.Payload[PayloadPassword] != string(password)) {
			t.Fatalf("%q, want %q %q", got.Payload, user, password)
		}
	})
}

func FuzzGreeting(f *testing.F) {
	f.Add([]byte("\x05\x01\x02ahead"))
	f.Add([]byte("\x05\x00"))
	f.Add([]byte("\x05\x03\x00\x01"))
	f.Add([]byte("\x04\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var want again
		switch {
		case len(in) == 0:
			want.short = true
		case in[0] != 5:
			want.problem = BadVersion
		case len(in) < 2 || len(in) < 2+int(in[1]):
			want.short = true
		default:
			want.n = 2 + int(in[1])
		}
		r := bytes.NewReader(in)
		got, err := ReadGreeting(iotest.HalfReader(r))
		want.check(t, err, len(in)-r.Len())
		if err == nil && !bytes.Equal(got, in[2:want.n]) {
			t.Fatalf("% x, want % x", got, in[2:want.n])
		}
	})
}

func FuzzClientReply(f *testing.F) {
	f.Add([]byte("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00ahead"))
	f.Add([]byte("\x05\x00\x00\x03\x04host\x00\x00"))
	f.Add([]byte("\x05\x05\x00\x01"))
	f.Add([]byte("\x05\x00\x00\x02"))
	f.Add([]byte("\x04\x5a\x00\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var want again
		refused := false
		end, known := addressEnd(in)
		want.n = end
		switch {
		case len(in) < 4:
			want.short = true
		case in[0] != 5:
			want.problem = BadVersion
		case in[1] != 0:
			refused = true
		case in[2] != 0:
			want.problem = BadReserved
		case !known:
			want.problem = BadAddressType
		case len(in) < end:
			want.short = true
		}
		r := bytes.NewReader(in)
		err := ReadReply(iotest.HalfReader(r))
		if refused {
			var refusal *ReplyError
			if !errors.As(err, &refusal) || byte(refusal.Reply) != in[1] {
				t.Fatalf("error %v, want reply %#x", err, in[1])
			}
			return
		}
		want.check(t, err, len(in)-r.Len())
	})
}
