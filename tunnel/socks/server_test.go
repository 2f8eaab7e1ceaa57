package socks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// readers are the ways in which bytes may arrive; a parser must not notice.
func readers(b []byte) map[string]io.Reader {
	return map[string]io.Reader{
		"at once":       bytes.NewReader(b),
		"byte by byte":  iotest.OneByteReader(bytes.NewReader(b)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(b)),
	}
}

func request(cmd, rsv, atyp byte, addr string, port uint16) []byte {
	b := append([]byte{5, cmd, rsv, atyp}, addr...)
	return binary.BigEndian.AppendUint16(b, port)
}

func TestReadRequest(t *testing.T) {
	longest := strings.Repeat("n", 255)
	v6 := netip.MustParseAddr("2001:db8::1")
	mapped := netip.MustParseAddr("::ffff:10.0.0.1")
	for _, tt := range []struct {
		name string
		in   []byte
		want Request
		err  Problem
	}{
		{name: "name", in: request(1, 0, 3, "\x10mail.example.com", 443), want: Request{Host: "mail.example.com", Port: 443}},
		{name: "name of 255", in: request(1, 0, 3, "\xff"+longest, 1), want: Request{Host: longest, Port: 1}},
		{name: "NUL is handed up", in: request(1, 0, 3, "\x03a\x00b", 1), want: Request{Host: "a\x00b", Port: 1}},
		{name: "IPv4", in: request(1, 0, 1, "\x0a\x00\x00\x01", 65535), want: Request{Addr: netip.MustParseAddr("10.0.0.1"), Port: 65535}},
		{name: "IPv6", in: request(1, 0, 4, string(v6.AsSlice()), 443), want: Request{Addr: v6, Port: 443}},
		{name: "IPv4 in IPv6 stays", in: request(1, 0, 4, string(mapped.AsSlice()), 443), want: Request{Addr: mapped, Port: 443}},
		{name: "port zero", in: request(1, 0, 1, "\x0a\x00\x00\x01", 0), want: Request{Addr: netip.MustParseAddr("10.0.0.1")}},
		{name: "version 4", in: append([]byte{4}, request(1, 0, 1, "1234", 1)[1:]...), err: BadVersion},
		{name: "BIND", in: request(2, 0, 1, "\x0a\x00\x00\x01", 1), err: BadCommand},
		{name: "UDP ASSOCIATE", in: request(3, 0, 1, "\x0a\x00\x00\x01", 1), err: BadCommand},
		{name: "command 0", in: request(0, 0, 1, "\x0a\x00\x00\x01", 1), err: BadCommand},
		{name: "reserved", in: request(1, 1, 1, "\x0a\x00\x00\x01", 1), err: BadReserved},
		{name: "ATYP 0", in: request(1, 0, 0, "\x0a\x00\x00\x01", 1), err: BadAddressType},
		{name: "ATYP 2", in: request(1, 0, 2, "\x0a\x00\x00\x01", 1), err: BadAddressType},
		{name: "ATYP 5", in: request(1, 0, 5, "\x0a\x00\x00\x01", 1), err: BadAddressType},
		{name: "empty name", in: request(1, 0, 3, "\x00", 443), err: EmptyName},
		{name: "the leftmost fault", in: request(2, 1, 9, "", 1), err: BadCommand},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for how, r := range readers(append(tt.in, "ahead"...)) {
				got, err := ReadRequest(r)
				if tt.err != "" {
					if !errors.Is(err, tt.err) {
						t.Errorf("%s: error %v, want %v", how, err, tt.err)
					}
					continue
				}
				if err != nil || got != tt.want {
					t.Errorf("%s: %+v, %v, want %+v", how, got, err, tt.want)
				}
				if rest, _ := io.ReadAll(r); string(rest) != "ahead" {
					t.Errorf("%s: left behind %q", how, rest)
				}
			}
		})
	}
}

func TestReplyOfProblem(t *testing.T) {
	for p, want := range map[Problem]Reply{
		BadCommand: CommandNotSupported, BadAddressType: AddressNotSupported, EmptyName: NotAllowed,
		BadVersion: GeneralFailure, BadReserved: GeneralFailure, BadAuth: GeneralFailure, Malformed: GeneralFailure,
	} {
		if got := p.Reply(); got != want {
			t.Errorf("%s: reply %v, want %v", p, got, want)
		}
	}
}

func TestReplyOnTheWire(t *testing.T) {
	for r := Succeeded; r <= AddressNotSupported; r++ {
		want := []byte{5, byte(r), 0, 1, 0, 0, 0, 0, 0, 0}
		if got := r.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%v: % x", r, got)
		}
		if strings.Contains(r.String(), "unassigned") {
			t.Errorf("0x%02x has no name", byte(r))
		}
	}
}

// TestCutShort cuts each message at every byte: an error each time, never a
// message, and never a Problem where nothing is wrong but the end.
func TestCutShort(t *testing.T) {
	type parser struct {
		name string
		full []byte
		read func(io.Reader) error
	}
	for _, p := range []parser{
		{"greeting", []byte{5, 3, 0, 1, 2}, func(r io.Reader) error { _, err := ReadGreeting(r); return err }},
		{"user and password", []byte("\x01\x04user\x03pwd"), func(r io.Reader) error {
			_, err := UserPass{}.Authenticate(r, io.Discard)
			return err
		}},
		{"name", request(1, 0, 3, "\x04host", 1), func(r io.Reader) error { _, err := ReadRequest(r); return err }},
		{"IPv4", request(1, 0, 1, "1234", 1), func(r io.Reader) error { _, err := ReadRequest(r); return err }},
		{"IPv6", request(1, 0, 4, "0123456789abcdef", 1), func(r io.Reader) error { _, err := ReadRequest(r); return err }},
		{"reply", Succeeded.Append(nil), ReadReply},
		{"reply with name", request(0, 0, 3, "\x04host", 1), ReadReply},
		{"reply with IPv6", request(0, 0, 4, "0123456789abcdef", 1), ReadReply},
	} {
		if err := p.read(bytes.NewReader(p.full)); err != nil {
			t.Errorf("%s, whole: %v", p.name, err)
		}
		for n := range p.full {
			for how, r := range readers(p.full[:n]) {
				want := io.ErrUnexpectedEOF
				if n == 0 {
					want = io.EOF
				}
				if err := p.read(r); !errors.Is(err, want) {
					t.Errorf("%s, %d bytes, %s: %v, want %v", p.name, n, how, err, want)
				}
			}
			failure := errors.New("deadline")
			r := io.MultiReader(bytes.NewReader(p.full[:n]), iotest.ErrReader(failure))
			if err := p.read(r); !errors.Is(err, failure) {
				t.Errorf("%s, failing after %d bytes: %v", p.name, n, err)
			}
		}
	}
}

func TestUserPass(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, tt := range []struct{ user, password string }{
		{"", ""}, {"u", ""}, {"", "p"}, {long, long}, {"jürgen€", "\x00\xff"},
	} {
		message := appendUserPass(nil, Auth{tt.user, tt.password})
		var written bytes.Buffer
		r := bytes.NewReader(append(message, "ahead"...))
		got, err := UserPass{}.Authenticate(iotest.OneByteReader(r), &written)
		if err != nil {
			t.Fatal(err)
		}
		if got.Method != 2 || got.Payload[PayloadUser] != tt.user || got.Payload[PayloadPassword] != tt.password {
			t.Errorf("%q %q: %+v", tt.user, tt.password, got)
		}
		if !bytes.Equal(written.Bytes(), []byte{5, 2}) {
			t.Errorf("wrote % x", written.Bytes())
		}
		if r.Len() != len("ahead") {
			t.Errorf("%d bytes left, want the 5 sent ahead", r.Len())
		}
	}
	if _, err := (UserPass{}).Authenticate(strings.NewReader("\x05\x01u\x01p"), io.Discard); !errors.Is(err, BadAuth) {
		t.Errorf("sub-negotiation version 5: %v", err)
	}
	if good, bad := (UserPass{}).Status(true), (UserPass{}).Status(false); !bytes.Equal(good, []byte{1, 0}) || !bytes.Equal(bad, []byte{1, 1}) {
		t.Errorf("status % x, % x", good, bad)
	}
}

// private stands for a method that is preferred to RFC 1929.
type private struct{ UserPass }

func (private) GetCode() uint8 { return 0x80 }

func TestChoose(t *testing.T) {
	both := []Method{private{}, UserPass{}}
	for _, tt := range []struct {
		offered   string
		supported []Method
		want      int // -1: none
	}{
		{"\x02", both, 2}, {"\x00\x01\x02", both, 2}, {"\x02\x80", both, 0x80},
		{"\x80", []Method{UserPass{}}, -1}, {"\x00", both, -1}, {"", both, -1}, {"\xff", both, -1},
	} {
		got := -1
		if m := Choose([]byte(tt.offered), tt.supported); m != nil {
			got = int(m.GetCode())
		}
		if got != tt.want {
			t.Errorf("% x: %d, want %d", tt.offered, got, tt.want)
		}
	}
	if got := AppendNoAcceptable(nil); !bytes.Equal(got, []byte{5, 0xff}) {
		t.Errorf("no acceptable: % x", got)
	}
}

func TestGreetingOfOtherVersions(t *testing.T) {
	for _, in := range []string{"\x04\x01\x01\xbb", "GET / HTTP/1.1\r\n", "\x00", "\x16\x03\x01"} {
		if _, err := ReadGreeting(strings.NewReader(in)); !errors.Is(err, BadVersion) {
			t.Errorf("%q: %v", in, err)
		}
	}
	got, err := ReadGreeting(strings.NewReader("\x05\xff" + strings.Repeat("\x02", 255)))
	if err != nil || len(got) != 255 {
		t.Errorf("255 methods: %d, %v", len(got), err)
	}
}
