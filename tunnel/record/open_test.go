package record

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"testing"
)

// inner is content, its type, and padding.
func inner(contentType byte, content []byte, padding int) []byte {
	return slices.Concat(content, []byte{contentType}, make([]byte, padding))
}

func data(text string) []byte         { return inner(typeData, []byte(text), 0) }
func handshakePart(b ...byte) []byte  { return inner(typeHandshake, b, 0) }
func keyUpdateInner(kind byte) []byte { return handshakePart(msgKeyUpdate, 0, 0, 1, kind) }
func alertInner(b ...byte) []byte     { return inner(typeAlert, b, 0) }

// TestContents is what may be in genuine records, and what not.
func TestContents(t *testing.T) {
	full := bytes.Repeat([]byte{'x'}, MaxContent)
	tests := []struct {
		name    string
		records [][]byte // each a TLSInnerPlaintext; KeyUpdates change the sender's key
		text    string
		alert   tls.AlertError // an *Error's, unless err or goesOn
		err     error
		goesOn  bool
	}{
		{name: "data", records: [][]byte{data("a"), data("b")}, text: "ab", goesOn: true},
		{name: "empty data", records: [][]byte{data(""), data("b")}, text: "b", goesOn: true},
		{name: "padding", records: [][]byte{inner(typeData, []byte("a"), 1), inner(typeData, []byte("b"), 3000)}, text: "ab", goesOn: true},
		{name: "zeros are data", records: [][]byte{inner(typeData, []byte{0, 0}, 2)}, text: "\x00\x00", goesOn: true},
		{name: "full", records: [][]byte{inner(typeData, full, 0)}, text: string(full), goesOn: true},
		{name: "full with padding", records: [][]byte{inner(typeData, full, 1)}, alert: alertRecordOverflow},
		{name: "over-full", records: [][]byte{inner(typeData, append(full, 'x'), 0)}, alert: alertRecordOverflow},
		{name: "padded to the full", records: [][]byte{inner(typeData, []byte("a"), MaxContent-1)}, text: "a", goesOn: true},
		{name: "padded beyond it", records: [][]byte{inner(typeData, []byte("a"), MaxContent)}, alert: alertRecordOverflow},
		{name: "nothing but padding", records: [][]byte{make([]byte, 20)}, alert: alertUnexpectedMessage},
		{name: "one zero", records: [][]byte{{0}}, alert: alertUnexpectedMessage},
		{name: "no type", records: [][]byte{{}}, alert: alertBadRecordMAC},
		{name: "change_cipher_spec inside", records: [][]byte{inner(20, []byte{1}, 0)}, alert: alertUnexpectedMessage},
		{name: "unknown type", records: [][]byte{inner(24, []byte{1}, 0)}, alert: alertUnexpectedMessage},

		{name: "close_notify", records: [][]byte{data("a"), alertInner(1, 0), data("b")}, text: "a", err: io.EOF},
		{name: "close_notify, fatal", records: [][]byte{alertInner(2, 0)}, err: io.EOF},
		{name: "user_canceled", records: [][]byte{alertInner(1, 90), data("a")}, text: "a", goesOn: true},
		{name: "fatal alert", records: [][]byte{alertInner(2, 20)}, err: tls.AlertError(20)},
		{name: "alert said to be a warning", records: [][]byte{alertInner(1, 20)}, err: tls.AlertError(20)},
		{name: "unknown alert", records: [][]byte{alertInner(9, 200)}, err: tls.AlertError(200)},
		{name: "empty alert", records: [][]byte{alertInner()}, alert: alertUnexpectedMessage},
		{name: "half an alert", records: [][]byte{alertInner(1), alertInner(0)}, alert: alertUnexpectedMessage},
		{name: "two alerts", records: [][]byte{alertInner(1, 90, 1, 0)}, alert: alertUnexpectedMessage},

		{name: "KeyUpdate", records: [][]byte{data("a"), keyUpdateInner(0), data("b")}, text: "ab", goesOn: true},
		{name: "KeyUpdate requested", records: [][]byte{keyUpdateInner(1), data("b")}, text: "b", goesOn: true},
		{name: "KeyUpdate of unknown kind", records: [][]byte{keyUpdateInner(2)}, alert: alertIllegalParameter},
		{name: "KeyUpdate in parts", records: [][]byte{
			handshakePart(msgKeyUpdate), handshakePart(0, 0), handshakePart(1, 0), data("a"),
		}, text: "a", goesOn: true},
		{name: "KeyUpdate and a byte", records: [][]byte{handshakePart(msgKeyUpdate, 0, 0, 1, 0, msgKeyUpdate)}, alert: alertUnexpectedMessage},
		{name: "KeyUpdate and a KeyUpdate", records: [][]byte{
			handshakePart(msgKeyUpdate, 0, 0, 1, 0, msgKeyUpdate, 0, 0, 1, 0),
		}, alert: alertUnexpectedMessage},
		{name: "KeyUpdate, empty", records: [][]byte{handshakePart(msgKeyUpdate, 0, 0, 0)}, alert: alertDecodeError},
		{name: "KeyUpdate, long", records: [][]byte{handshakePart(msgKeyUpdate, 0, 0, 2)}, alert: alertDecodeError},
		{name: "KeyUpdate, very long", records: [][]byte{handshakePart(msgKeyUpdate, 1, 0, 1)}, alert: alertDecodeError},
		{name: "data between parts", records: [][]byte{handshakePart(msgKeyUpdate), data("a")}, alert: alertUnexpectedMessage},
		{name: "empty data between parts", records: [][]byte{handshakePart(msgKeyUpdate), data("")}, alert: alertUnexpectedMessage},
		{name: "close_notify between parts", records: [][]byte{handshakePart(msgKeyUpdate, 0), alertInner(1, 0)}, alert: alertUnexpectedMessage},
		{name: "alert between parts", records: [][]byte{handshakePart(msgKeyUpdate, 0), alertInner(2, 20)}, alert: alertUnexpectedMessage},
		{name: "empty handshake", records: [][]byte{handshakePart()}, alert: alertUnexpectedMessage},
		{name: "empty part", records: [][]byte{handshakePart(msgKeyUpdate), handshakePart()}, alert: alertUnexpectedMessage},
		{name: "ClientHello", records: [][]byte{handshakePart(1)}, alert: alertUnexpectedMessage},
		{name: "Finished", records: [][]byte{handshakePart(20)}, alert: alertUnexpectedMessage},
		{name: "ticket of a client's", records: [][]byte{handshakePart(msgNewSessionTicket)}, alert: alertUnexpectedMessage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
			var records []byte
			var parts []byte
			for _, r := range tt.records {
				records = append(records, forge(client, r...)...)
				if len(r) > 0 && r[len(r)-1] == typeHandshake {
					if parts = append(parts, r[:len(r)-1]...); len(parts) == 5 {
						client.out.update(client.suite)
						parts = nil
					}
				}
			}
			got, err := openAll(server, records)
			if string(got) != tt.text {
				t.Errorf("opened %.20q, want %.20q", got, tt.text)
			}
			switch {
			case tt.goesOn:
				if err != nil {
					t.Error(err)
				}
				return
			case tt.err != nil:
				if !errors.Is(err, tt.err) {
					t.Errorf("%v, want %v", err, tt.err)
				}
			default:
				wantAlert(t, err, tt.alert)
			}
			if plain, _, again := server.Open(sealed(t, client, "more")); len(plain) > 0 || again != err {
				t.Errorf("afterwards %q, %v; want %v", plain, again, err)
			}
		})
	}
}

// TestHeaders is what is judged before the rest of the record is there.
func TestHeaders(t *testing.T) {
	length := func(n int) []byte { return []byte{23, 3, 3, byte(n >> 8), byte(n)} }
	tests := []struct {
		name   string
		header []byte
		alert  tls.AlertError
	}{
		{"handshake", []byte{22, 3, 3, 0, 20}, alertUnexpectedMessage},
		{"alert", []byte{21, 3, 3, 0, 2}, alertUnexpectedMessage},
		{"change_cipher_spec", []byte{20, 3, 3, 0, 1}, alertUnexpectedMessage},
		{"TLS 1.0", []byte{23, 3, 1, 0, 20}, alertProtocolVersion},
		{"TLS 1.3", []byte{23, 3, 4, 0, 20}, alertProtocolVersion},
		{"another major", []byte{23, 2, 3, 0, 20}, alertProtocolVersion},
		{"too long", length(MaxContent + 257), alertRecordOverflow},
		{"longest", length(0xffff), alertRecordOverflow},
		{"a tag alone", length(16), alertBadRecordMAC},
		{"empty", length(0), alertBadRecordMAC},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := newPair(t, tls.TLS_AES_128_GCM_SHA256)
			if _, n, err := server.Open(tt.header[:4]); n != 0 || err != nil {
				t.Fatalf("judged without a header: %d, %v", n, err)
			}
			_, _, err := server.Open(tt.header)
			wantAlert(t, err, tt.alert)
		})
	}
	for _, n := range []int{17, MaxContent + 256} {
		server, _ := newPair(t, tls.TLS_AES_128_GCM_SHA256)
		if _, got, err := server.Open(length(n)); got != 0 || err != nil {
			t.Errorf("length %d: %d, %v", n, got, err)
		}
		if got := Need(length(n)); got != n+HeaderSize {
			t.Errorf("Need of %d: %d", n, got)
		}
	}
	if Need(nil) != HeaderSize || Need(length(3)[:4]) != HeaderSize {
		t.Error("Need of a piece of a header")
	}
}

// TestForgeries: no bit of a record can be changed, and no record can be left
// out, repeated, moved or cut.
func TestForgeries(t *testing.T) {
	for _, id := range suites {
		server, client := newPair(t, id)
		first, second := sealed(t, client, "first"), sealed(t, client, "second")
		open := func(b []byte) error {
			l := new(Layer)
			*l = Layer{in: server.in, suite: id}
			l.in.keys = nil // a cipher is not to be shared
			_, err := openAll(l, bytes.Clone(b))
			return err
		}
		if err := open(slices.Concat(first, second)); err != nil {
			t.Fatal(err)
		}
		for bit := range 8 * len(first) {
			b := bytes.Clone(first)
			b[bit/8] ^= 1 << (bit % 8)
			if open(b) == nil {
				t.Errorf("%#x: bit %d may be changed", id, bit)
			}
		}
		for name, b := range map[string][]byte{
			"left out": second, "moved": slices.Concat(second, first), "repeated": slices.Concat(first, first),
		} {
			t.Run(name, func(t *testing.T) { wantAlert(t, open(b), alertBadRecordMAC) })
		}
		if err := open(first[:len(first)-1]); err != io.ErrUnexpectedEOF {
			t.Errorf("cut: %v", err)
		}
	}
}

// TestTickets: a client skips them, however they are cut, and goes on.
func TestTickets(t *testing.T) {
	ticket := slices.Concat([]byte{msgNewSessionTicket, 0, 1, 0}, make([]byte, 256))
	server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
	records := forge(server, handshakePart(slices.Concat(ticket, ticket)...)...)
	records = append(records, forge(server, handshakePart(ticket[:2]...)...)...)
	records = append(records, forge(server, handshakePart(ticket[2:9]...)...)...)
	records = append(records, forge(server, handshakePart(slices.Concat(ticket[9:], []byte{msgKeyUpdate, 0, 0, 1, 0})...)...)...)
	server.out.update(server.suite)
	mustOpen(t, client, append(records, sealed(t, server, "on")...), "on")

	for name, tt := range map[string]struct {
		content []byte
		then    []byte
		alert   tls.AlertError
	}{
		"empty":     {[]byte{msgNewSessionTicket, 0, 0, 0}, nil, alertDecodeError},
		"too long":  {[]byte{msgNewSessionTicket, 1, 0, 1}, nil, alertDecodeError},
		"cut short": {ticket[:200], data("a"), alertUnexpectedMessage},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
			records := forge(server, handshakePart(tt.content...)...)
			_, err := openAll(client, append(records, forge(server, tt.then...)...))
			wantAlert(t, err, tt.alert)
		})
	}
}

// TestNoProgress: sixteen records in a row without data are borne, whatever
// they are, and data starts the count anew.
func TestNoProgress(t *testing.T) {
	ticket := handshakePart(msgNewSessionTicket, 0, 0, 1, 0)
	for name, record := range map[string][]byte{
		"empty data": data(""), "user_canceled": alertInner(1, 90), "KeyUpdate": keyUpdateInner(0), "ticket": ticket,
	} {
		t.Run(name, func(t *testing.T) {
			server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
			next := func() []byte {
				b := forge(server, record...)
				if name == "KeyUpdate" {
					server.out.update(server.suite)
				}
				return b
			}
			for range 3 {
				for range maxIdle {
					mustOpen(t, client, next(), "")
				}
				mustOpen(t, client, sealed(t, server, "a"), "a")
			}
			for range maxIdle {
				mustOpen(t, client, next(), "")
			}
			_, err := openAll(client, next())
			wantAlert(t, err, alertUnexpectedMessage)
		})
	}
}

// TestTooManyKeyUpdates: the total is bounded, too.
func TestTooManyKeyUpdates(t *testing.T) {
	server, client := newPair(t, tls.TLS_CHACHA20_POLY1305_SHA256)
	for range maxUpdates {
		b := forge(client, keyUpdateInner(1)...)
		client.out.update(client.suite)
		mustOpen(t, server, append(b, sealed(t, client, "a")...), "a")
	}
	_, err := openAll(server, forge(client, keyUpdateInner(0)...))
	wantAlert(t, err, alertUnexpectedMessage)
}
