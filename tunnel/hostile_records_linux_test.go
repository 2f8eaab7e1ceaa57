package tunnel

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/tunnel/record"
)

// forgedKind is a parked TLS 1.3 stream whose client forges.
type forgedKind struct {
	name    string
	records Records
}

func forgedKinds() []forgedKind {
	return []forgedKind{{"TLS1.3/parked", StdRecords}, {"direct/parked", DirectRecords}}
}

// join makes a tunnel of one, whose far client is what forges.
func (k forgedKind) join(t testing.TB, l Limits) (r *rig, f *forger, run func()) {
	r, run = joinRig(t, kind{parked: true, pair: func(t testing.TB) (Stream, Stream) {
		client, server, forging := forgedPair(t, k.records)
		f = forging
		return client, server
	}}, l)
	return r, f, run
}

// badRecord is something that a client sends behind good data, and what becomes
// of its tunnel.
type badRecord struct {
	name string
	make func(t *testing.T, f *forger) []byte
	// alert is what the client gets, unless the tunnel goes on.
	alert   tls.AlertError
	goes    bool
	stdGoes bool   // where crypto/tls is more patient than our own layer
	yield   string // what the service gets of it
	fin     bool   // the client's connection ends behind it, so it gets no alert
}

// The alerts of RFC 8446 section 6 that are expected here.
const (
	unexpectedMessage tls.AlertError = 10
	badRecordMAC      tls.AlertError = 20
	recordOverflow    tls.AlertError = 22
	protocolVersion   tls.AlertError = 70
	// anyAlert is where our layer and crypto/tls have different names for it.
	anyAlert tls.AlertError = 255
)

func fixed(b ...byte) func(*testing.T, *forger) []byte {
	return func(*testing.T, *forger) []byte { return b }
}

func badRecords() []badRecord {
	return []badRecord{
		{name: "length 0", make: fixed(23, 3, 3, 0, 0), alert: badRecordMAC},
		{name: "no room for a tag", make: fixed(append([]byte{23, 3, 3, 0, 15}, make([]byte, 15)...)...), alert: badRecordMAC},
		{name: "2^14+256, not genuine", make: fixed(append([]byte{23, 3, 3, 0x41, 0}, noise(0x4100, 7)...)...), alert: badRecordMAC},
		{name: "beyond 2^14+256", make: fixed(23, 3, 3, 0x41, 1), alert: recordOverflow},
		{name: "length 65535", make: fixed(23, 3, 3, 255, 255), alert: recordOverflow},
		{name: "content beyond 2^14", make: func(_ *testing.T, f *forger) []byte {
			return f.seal(23, make([]byte, record.MaxContent+1)...)
		}, alert: recordOverflow},
		{name: "content of 2^14", make: func(_ *testing.T, f *forger) []byte {
			return f.seal(23, bytes.Repeat([]byte("x"), record.MaxContent)...)
		}, goes: true, yield: string(bytes.Repeat([]byte("x"), record.MaxContent))},
		{name: "padding", make: func(_ *testing.T, f *forger) []byte {
			return f.sealPadded(23, []byte("padded"), record.MaxContent-6)
		}, goes: true, yield: "padded"},
		{name: "nothing but padding", make: func(_ *testing.T, f *forger) []byte {
			return f.sealPadded(0, nil, 100)
		}, alert: unexpectedMessage},
		{name: "bad tag", make: func(_ *testing.T, f *forger) []byte {
			b := f.data("forged")
			b[len(b)-1] ^= 1
			return b
		}, alert: badRecordMAC},
		{name: "a record twice", make: func(_ *testing.T, f *forger) []byte {
			b := f.data("twice")
			return append(b, b...)
		}, alert: badRecordMAC, yield: "twice"},
		{name: "16 empty ones", make: func(_ *testing.T, f *forger) []byte { return empties(f, 16) }, goes: true},
		{name: "17 empty ones", make: func(_ *testing.T, f *forger) []byte { return empties(f, 17) }, alert: unexpectedMessage},
		{name: "16 empty ones, all padding", make: func(_ *testing.T, f *forger) (b []byte) {
			for range 16 {
				b = append(b, f.sealPadded(23, nil, record.MaxContent)...)
			}
			return b
		}, goes: true},
		{name: "another version", make: fixed(append([]byte{23, 3, 1, 0, 32}, make([]byte, 32)...)...), alert: protocolVersion},
		{name: "no TLS at all", make: fixed([]byte("GET / HTTP/1.1\r\nHost: mail.example.com\r\n\r\n")...), alert: anyAlert},
		{name: "unprotected alert", make: fixed(21, 3, 3, 0, 2, 1, 0), alert: anyAlert},
		{name: "unprotected handshake", make: fixed(22, 3, 3, 0, 4, 0, 0, 0, 0), alert: anyAlert},
		{name: "change_cipher_spec", make: fixed(20, 3, 3, 0, 1, 1), alert: unexpectedMessage, stdGoes: true},
		{name: "unknown type inside", make: func(_ *testing.T, f *forger) []byte { return f.seal(99, 1) }, alert: unexpectedMessage},
		{name: "ClientHello", make: func(_ *testing.T, f *forger) []byte { return f.seal(22, 1, 0, 0, 1, 0) }, alert: anyAlert},
		{name: "user_canceled", make: func(_ *testing.T, f *forger) []byte { return f.seal(21, 1, 90) }, goes: true},
		{name: "alert of one byte", make: func(_ *testing.T, f *forger) []byte { return f.seal(21, 1) }, alert: unexpectedMessage},
		{name: "KeyUpdate", make: func(t *testing.T, f *forger) []byte { return f.update(t, 0) }, goes: true},
		{name: "KeyUpdate, update_requested", make: func(t *testing.T, f *forger) []byte { return f.update(t, 1) }, goes: true},
		{name: "KeyUpdate in two records", make: func(t *testing.T, f *forger) []byte {
			b := append(f.seal(22, 24, 0), f.seal(22, 0, 1, 0)...)
			f.next(t)
			return b
		}, goes: true},
		{name: "KeyUpdate of unknown kind", make: func(t *testing.T, f *forger) []byte { return f.update(t, 2) }, alert: anyAlert},
		{name: "KeyUpdate, and the old keys", make: func(t *testing.T, f *forger) []byte {
			return append(f.seal(22, 24, 0, 0, 1, 0), f.data("old")...)
		}, alert: badRecordMAC},
		{name: "update_requested, half a record, FIN", make: func(t *testing.T, f *forger) []byte {
			return append(f.update(t, 1), f.seal(23, noise(9000, 8)...)[:8000]...)
		}, fin: true},
		{name: "half a header, FIN", make: fixed(23, 3), fin: true},
		{name: "half a record, FIN", make: func(_ *testing.T, f *forger) []byte {
			b := f.seal(23, noise(9000, 8)...)
			return b[:8000]
		}, fin: true},
		{name: "all but a byte of a record, FIN", make: func(_ *testing.T, f *forger) []byte {
			b := f.data("almost")
			return b[:len(b)-1]
		}, fin: true},
	}
}

func empties(f *forger, n int) (b []byte) {
	for range n {
		b = append(b, f.seal(23)...)
	}
	return b
}

// TestBadRecords sends good data, something bad, and more good data; all before
// the tunnel runs, so that it is in one read, or step by step. What was good comes
// through whatever follows it; nothing else does; and the client is told.
func TestBadRecords(t *testing.T) {
	for _, k := range forgedKinds() {
		for _, bad := range badRecords() {
			for _, inOneRead := range []bool{true, false} {
				name := k.name + "/" + bad.name
				if !inOneRead {
					name += "/in steps"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					playBadRecord(t, k, bad, inOneRead)
				})
			}
		}
	}
}

func playBadRecord(t *testing.T, k forgedKind, bad badRecord, inOneRead bool) {
	r, f, run := k.join(t, Limits{})
	wire := below(r.client)
	goes := bad.goes || bad.stdGoes && k.records == StdRecords
	first := f.data("before")
	second := bad.make(t, f)
	if goes {
		second = append(second, f.data("behind")...)
		second = append(second, f.seal(21, 1, 0)...)
	}
	want := "before" + bad.yield
	if goes {
		want += "behind"
	}
	if inOneRead {
		write(t, wire, slices.Concat(first, second))
		if bad.fin {
			_ = wire.CloseWrite()
		}
		run()
	} else {
		run()
		write(t, wire, first)
		got := make([]byte, len("before"))
		if _, err := io.ReadFull(r.service, got); err != nil || string(got) != "before" {
			t.Fatalf("the service got %q, %v", got, err)
		}
		want = want[len("before"):]
		write(t, wire, second)
		if bad.fin {
			_ = wire.CloseWrite()
		}
	}
	if !goes {
		receiveBroken(t, r.service, []byte(want))
		refused(t, r, bad)
		return
	}
	receive(t, r.service, []byte(want))
	sendAndEnd(t, r.service, []byte("answer"))
	receive(t, r.client, []byte("answer"))
	if got := soon(t, r); got.Reason != ClientClosed || got.Err != nil {
		t.Errorf("%+v", got)
	}
}

// refused checks how a tunnel has ended whose client did something wrong.
func refused(t *testing.T, r *rig, bad badRecord) {
	t.Helper()
	got := soon(t, r)
	switch {
	case got.Reason != ClientError || got.Err == nil:
		t.Errorf("%+v", got)
	case bad.fin && !errors.Is(got.Err, io.ErrUnexpectedEOF):
		t.Errorf("%v", got.Err)
	case bad.fin:
		return // what it is told depends on who has noticed first
	}
	_, err := r.client.Read(make([]byte, 1))
	alert, told := alertOf(err)
	if !told || bad.alert != anyAlert && tls.AlertError(alert) != bad.alert {
		t.Errorf("the client reads %v; want the alert %v", err, bad.alert)
	}
}

// TestBadRecordBehindWhatTheServiceHasNotTaken: the client is at fault, and the
// service, which is slow to read, has more to say to it. What was good comes
// through all the same, and the account says whose fault it was.
func TestBadRecordBehindWhatTheServiceHasNotTaken(t *testing.T) {
	for _, k := range forgedKinds() {
		r, good := stallWithBadRecord(t, k)
		write(t, r.service, noise(50_000, 5))
		var client sync.WaitGroup
		client.Go(func() { _, _ = io.Copy(io.Discard, r.client) }) // an alert is at its end
		got := make([]byte, len(good))
		if _, err := io.ReadFull(r.service, got); err != nil || !bytes.Equal(got, good) {
			t.Errorf("%s: the service got other bytes, %v", k.name, err)
		}
		client.Wait()
		if result := soon(t, r); result.Reason != ClientError || result.Err == nil || result.Up != int64(len(good)) {
			t.Errorf("%s: %+v", k.name, result)
		}
	}
}

// TestBadRecordAndResetOfTheService: the service, which has not taken what was
// good, resets. Neither side can go on, and nobody waits for a limit.
func TestBadRecordAndResetOfTheService(t *testing.T) {
	for _, k := range forgedKinds() {
		r, _ := stallWithBadRecord(t, k)
		reset(t, below(r.service))
		if result := soon(t, r); result.Reason != ServiceError && result.Reason != ClientError || result.Err == nil {
			t.Errorf("%s: %+v", k.name, result)
		}
	}
}

// stallWithBadRecord makes a tunnel that has read, in one load, more good data than
// the service takes, and a bad record behind it.
func stallWithBadRecord(t *testing.T, k forgedKind) (r *rig, good []byte) {
	t.Helper()
	r, f, run := k.join(t, Limits{})
	good = noise(9*record.MaxContent, 4)
	var records []byte
	for part := range slices.Chunk(good, record.MaxContent) {
		records = append(records, f.seal(23, part...)...)
	}
	bad := f.data("bad")
	bad[len(bad)-1] ^= 1
	records = append(records, bad...)
	inside(r.tunnel, func(p *parked) {
		p.up.large = true // as if it had been busy for a while
		bufferSizes(t, p.client.fd, p.service.fd)
	})
	write(t, below(r.client), records)
	inside(r.tunnel, func(p *parked) {
		eventually(t, "all records are here", func() bool {
			n, err := unix.IoctlGetInt(p.client.fd, unix.TIOCINQ)
			return err == nil && n == len(records)
		})
	})
	run()
	untilStalled(t, r, true)
	return r, good
}

// TestAlertsInMidStream: a client that ends with an alert gets no answer, and the
// service a reset.
func TestAlertsInMidStream(t *testing.T) {
	for _, k := range forgedKinds() {
		r, f, run := k.join(t, Limits{})
		write(t, below(r.client), append(f.data("before"), f.seal(21, 2, 40)...))
		run()
		receiveBroken(t, r.service, []byte("before"))
		if got := soon(t, r); got.Reason != ClientError || got.Err == nil {
			t.Errorf("%s: %+v", k.name, got)
		}
	}
}

// TestNothingCountsAfterCloseNotify: what comes behind the client's close_notify,
// good or bad, is not passed on, and what the service answers arrives.
func TestNothingCountsAfterCloseNotify(t *testing.T) {
	for _, k := range forgedKinds() {
		r, f, run := k.join(t, Limits{})
		run()
		write(t, below(r.client), slices.Concat(f.data("all"), f.seal(21, 1, 0), f.data("late"), noise(100, 9)))
		receive(t, r.service, []byte("all"))
		sendAndEnd(t, r.service, []byte("answer"))
		receive(t, r.client, []byte("answer"))
		if got := soon(t, r); got.Reason != ClientClosed || got.Err != nil || got.Up != 3 || got.Down != 6 {
			t.Errorf("%s: %+v", k.name, got)
		}
	}
}
