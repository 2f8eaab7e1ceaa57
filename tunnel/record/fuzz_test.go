package record

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// seeds are scripts for both targets.
var seeds = []string{
	"",
	"\x00\x05\x01\x09",                     // data
	"\x02\x03abc\x20\x00\x01",              // padding
	"\x03\x02\x00\x03\x03\x00",             // full, over-full
	"\x03\x02\x01",                         // full and padding
	"\x04\x00\x00\x03\x04\x01\x00",         // KeyUpdates
	"\x04\x02",                             // of no kind
	"\x05\x00\x00\x00\x00\x00\x00\x00\x01", // in parts
	"\x05\x00\x00\x02\x02\x00\x05",         // in other parts
	"\x06\x01\x18\x00\x00\x04",             // interrupted
	"\x06\x0a\x18\x00\x00\x01\x00\x18\x00\x00\x01\x00\x00", // two in a record
	"\x06\x06\x18\x00\x00\x02\x00\x00\x00",                 // too long
	"\x06\x04\x04\x00\x00\x01\x00",                         // a ticket
	"\x06\x00\x00",                                         // an empty one
	"\x07\x02\x01\x00",                                     // close_notify
	"\x07\x02\x02\x28",                                     // fatal
	"\x07\x03\x02\x28\x00",                                 // too long
	strings.Repeat("\x08", 16) + "\x00\x01",
	strings.Repeat("\x08", 17) + "\x00\x01",
	strings.Repeat("\x00\x00", 17),
	strings.Repeat("\x04\x01", 17),
	strings.Repeat("\x05\x00\x00\x00\x00\x00\x00", 8),
	"\x09\x00",             // no type
	"\x09\x03\x00\x00\x00", // padding alone
	"\x09\x02\x01\x14",     // change_cipher_spec inside
	"\x09\x02\x01\x18",     // heartbeat
	"\x0a\x14\x03\x03\x00\x01\x00\x00\x01\x01",                                                     // change_cipher_spec
	"\x0a\x14\x03\x03\x00\x01\x00\x00\x01\x02",                                                     // a malformed one
	"\x0a\x17\x03\x03\x00\x10\x00\x00\x10aaaaaaaaaaaaaaaa",                                         // a tag
	"\x0a\x17\x03\x03\xff\xff\x01\x01\x00",                                                         // too long
	"\x0a\x17\x03\x01\x00\x20\x01\x00\x00",                                                         // TLS 1.0
	"\x0a\x15\x03\x03\x00\x02\x00\x00\x02\x02\x28",                                                 // an alert in the clear
	"\x0b\x00\x03\x00\x05", "\x0b\x00\x18\x00\x05", "\x0b\x00\x20\x00\x05", "\x0b\x00\x40\x00\x05", // changed bits
	"\x00\x05\x0c\x00", "\x00\x05\x00\x06\x0c\x01", // repeated
	"\x00\x05\x0d\x00\x01", "\x00\x05\x00\x05\x0d\x00\x1b", "\x00\x05\x0d\x00\x19", // cut
}

// model is what Open should make of a stream, written a second time and without
// any cryptography: a record is genuine if it is the one that was sealed at this
// place. Its outcome is nil, io.EOF, io.ErrUnexpectedEOF, an alert received, or
// an *Error.
func model(p *script) (text []byte, outcome error) {
	var pending []byte
	idle := 0
	wrong := func(alert tls.AlertError) ([]byte, error) { return text, &Error{Alert: alert} }
	for stream, i := p.stream, 0; len(stream) > 0; i++ {
		if len(stream) < 5 {
			return text, io.ErrUnexpectedEOF
		}
		length := int(stream[3])*256 + int(stream[4])
		switch {
		case stream[0] != 23:
			return wrong(10)
		case stream[1] != 3, stream[2] != 3:
			return wrong(70)
		case length > 16384+256:
			return wrong(22)
		case length < 17:
			return wrong(20)
		case len(stream) < 5+length:
			return text, io.ErrUnexpectedEOF
		}
		wire := stream[:5+length]
		stream = stream[5+length:]
		if i >= len(p.genuine) || !bytes.Equal(wire, p.genuine[i].wire) {
			return wrong(20)
		}
		inner := p.genuine[i].inner
		if len(inner) > 16385 {
			return wrong(22)
		}
		inner = bytes.TrimRight(inner, "\x00")
		if len(inner) == 0 {
			return wrong(10)
		}
		content, kind := inner[:len(inner)-1], inner[len(inner)-1]
		if len(pending) > 0 && kind != 22 {
			return wrong(10)
		}
		switch {
		case kind == 23 && len(content) > 0:
			text = append(text, content...)
			idle = 0
		case kind == 23, kind == 21 && len(content) == 2 && content[1] == 90:
			idle++
		case kind == 21 && len(content) == 2 && content[1] == 0:
			return text, io.EOF
		case kind == 21 && len(content) == 2:
			return text, tls.AlertError(content[1])
		case kind == 22 && len(content) > 0:
			pending = append(pending, content...)
			switch {
			case pending[0] != 24:
				return wrong(10)
			case len(pending) >= 4 && !bytes.Equal(pending[:4], []byte{24, 0, 0, 1}):
				return wrong(50)
			case len(pending) >= 5 && pending[4] > 1:
				return wrong(47)
			case len(pending) > 5:
				return wrong(10)
			case len(pending) == 5:
				pending = nil
				idle++
			}
		default:
			return wrong(10)
		}
		if idle > 16 {
			return wrong(10)
		}
	}
	return text, nil
}

// sameEnd compares outcomes. Of the peer's mistakes the alert counts.
func sameEnd(a, b error) bool {
	var wrongA, wrongB *Error
	if errors.As(a, &wrongA) && errors.As(b, &wrongB) {
		return wrongA.Alert == wrongB.Alert
	}
	var alertA, alertB tls.AlertError
	if errors.As(a, &alertA) && errors.As(b, &alertB) {
		return alertA == alertB
	}
	return a == b
}

// FuzzOpen holds Open against the model.
func FuzzOpen(f *testing.F) {
	for i, seed := range seeds {
		f.Add(uint8(i), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, suite uint8, steps []byte) {
		server, client := newPair(t, suites[int(suite)%len(suites)])
		p := run(steps, client)
		text, outcome := model(p)
		got, err := openAll(server, bytes.Clone(p.stream))
		if !bytes.Equal(got, text) || !sameEnd(err, outcome) {
			t.Errorf("opened %.40q, %v; want %.40q, %v", got, err, text, outcome)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) && err != nil {
			if _, _, again := server.Open(p.stream); again != err {
				t.Errorf("again: %v; before: %v", again, err)
			}
		}
	})
}

// difference is where we and crypto/tls differ, and mean to.
type difference struct {
	name   string // as in docs/record-layer.md
	script string // that shows it
	found  func(l *Layer, record []byte) bool
}

// differences are all of them that concern whether a connection goes on. In
// each of these we end it and crypto/tls goes on.
var differences = []difference{
	{
		name:   "change_cipher_spec after the handshake",
		script: "\x0a\x14\x03\x03\x00\x01\x00\x00\x01\x01\x00\x05",
		found:  func(_ *Layer, record []byte) bool { return record[0] == 20 },
	},
	{
		name:   "change_cipher_spec inside a protected record",
		script: "\x09\x02\x01\x14\x00\x05",
		found: func(l *Layer, record []byte) bool {
			if record[0] != typeData || l.in.seq == 0 {
				return false
			}
			k := l.in.ready(l.suite)
			inner, err := k.aead.Open(nil, k.nonceOf(l.in.seq-1), record[HeaderSize:], record[:HeaderSize])
			return err == nil && bytes.Equal(bytes.TrimRight(inner, "\x00"), []byte{1, 20})
		},
	},
	{
		name:   "a protected record without a content type",
		script: "\x09\x00\x00\x05",
		found:  func(_ *Layer, record []byte) bool { return record[0] == typeData && Need(record) == HeaderSize+tagSize },
	},
}

// versus is a handshake of crypto/tls's, after which both it and a Layer are to
// read the same stream.
type versus struct {
	*shaken
	ours, sender *Layer
}

func (p peers) versus(t testing.TB) *versus {
	t.Helper()
	v := &versus{shaken: p.shake(t), ours: new(Layer), sender: new(Layer)}
	log, suite := &v.clientTap.log, v.client.ConnectionState().CipherSuite
	client, server := log.traffic[Client].bytes(), log.traffic[Server].bytes()
	err := errors.Join(v.ours.Start(Server, suite, client, server, 1), v.sender.Start(Client, suite, client, server, 0))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// theirs is what crypto/tls makes of a stream.
func (v *versus) theirs(t testing.TB, stream []byte) (text []byte, err error) {
	t.Helper()
	if _, err := v.clientConn.Write(stream); err != nil {
		t.Fatal(err)
	}
	// Only this direction: a crypto/tls that cannot write its answer to a
	// KeyUpdate does not go on to the peer's new key either.
	v.clientConn.(*memoryConn).out.close()
	b := make([]byte, MaxContent)
	for {
		n, err := v.server.Read(b)
		text = append(text, b[:n]...)
		if err != nil {
			return text, err
		}
	}
}

// own is what we make of it, and the record that an error is about.
func (v *versus) own(stream []byte) (text, last []byte, err error) {
	for len(stream) > 0 {
		last = bytes.Clone(stream[:min(len(stream), Need(stream))])
		plain, n, err := v.ours.Open(stream)
		text = append(text, plain...)
		if err != nil {
			return text, last, err
		}
		if n == 0 {
			return text, last, io.ErrUnexpectedEOF
		}
		stream = stream[n:]
	}
	return text, last, ErrTruncated
}

// compare says how two outcomes differ, if they do.
func (v *versus) compare(ourText, theirText, last []byte, ours, theirs error) string {
	var wrong *Error
	if errors.As(ours, &wrong) {
		for _, d := range differences {
			if d.found(v.ours, last) && bytes.HasPrefix(theirText, ourText) {
				return ""
			}
		}
	}
	if !bytes.Equal(ourText, theirText) {
		return "data"
	}
	switch {
	case theirs == io.EOF && (ours == io.EOF || ours == ErrTruncated):
	case errors.Is(theirs, io.ErrUnexpectedEOF) || theirs == io.EOF && ours != io.EOF:
		// They want more. So may we, or we have seen enough: we judge a header
		// and a handshake message's beginning before the rest is there.
		if wrong == nil && ours != io.ErrUnexpectedEOF && ours != ErrTruncated {
			return "they want more"
		}
	case ours == io.EOF, ours == ErrTruncated, errors.Is(ours, io.ErrUnexpectedEOF):
		return "they end it, we go on"
	}
	return ""
}

// differential makes a handshake cheap, with a ticket.
func differential(t testing.TB) []peers {
	both := []peers{newPeers(t, tls.NoClientCert), newPeers(t, tls.NoClientCert)}
	// A client whose hello begins with this suite gets its sibling of TLS 1.3.
	both[1].client.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
	for _, p := range both {
		p.client.CurvePreferences = []tls.CurveID{tls.X25519}
		s := p.shake(t)
		converse(t, s.server, s.client)
		s = p.shake(t)
		chacha := s.server.ConnectionState().CipherSuite == tls.TLS_CHACHA20_POLY1305_SHA256
		if !s.server.ConnectionState().DidResume || chacha != (p.client.CipherSuites != nil) {
			t.Fatalf("negotiated %+v", s.server.ConnectionState())
		}
	}
	return both
}

// FuzzAgainstCryptoTLS has crypto/tls and us read the same stream, behind a
// real handshake: what is delivered must be equal, and both go on or both end.
func FuzzAgainstCryptoTLS(f *testing.F) {
	for i, seed := range seeds {
		f.Add(uint8(i), []byte(seed))
	}
	both := differential(f)
	f.Fuzz(func(t *testing.T, which uint8, steps []byte) {
		v := both[int(which)%len(both)].versus(t)
		p := run(steps, v.sender)
		theirText, theirs := v.theirs(t, p.stream)
		ourText, last, ours := v.own(bytes.Clone(p.stream))
		if what := v.compare(ourText, theirText, last, ours, theirs); what != "" {
			t.Errorf("%s: ours %.40q, %v; theirs %.40q, %v", what, ourText, ours, theirText, theirs)
		}
	})
}

// TestDifferences: they are as they are said to be, here and in the docs.
func TestDifferences(t *testing.T) {
	docs, err := os.ReadFile("../../docs/record-layer.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range differential(t) {
		for _, d := range differences {
			t.Run(d.name, func(t *testing.T) {
				v := p.versus(t)
				s := run([]byte(d.script), v.sender)
				theirText, theirs := v.theirs(t, s.stream)
				if !strings.HasSuffix(string(theirText), "the end") || theirs != io.EOF {
					t.Errorf("crypto/tls: %q, %v", theirText, theirs)
				}
				ourText, last, ours := v.own(s.stream)
				if len(ourText) > 0 || !errors.As(ours, new(*Error)) || !d.found(v.ours, last) {
					t.Errorf("ours: %q, %v", ourText, ours)
				}
				if !strings.Contains(string(docs), d.name) {
					t.Error("not in the docs")
				}
			})
		}
	}
}
