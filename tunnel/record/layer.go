package record

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

const (
	// HeaderSize is that of a TLSCiphertext, RFC 8446 section 5.2:
	//
	//	23 | 3 3 | uint16 length | encrypted: content, type, zeros | tag
	HeaderSize = 5
	// MaxContent is how much data a record holds.
	MaxContent = 1 << 14
	// TrailerSize is what Seal needs behind the data: the content's type and
	// the tag, which has 16 bytes in all suites.
	TrailerSize = 1 + tagSize
	// MaxRecord is how long a record that Open takes may be.
	MaxRecord = HeaderSize + MaxContent + 256

	tagSize = 16

	// keyUpdateSize is that of a record with a KeyUpdate in it.
	keyUpdateSize = HeaderSize + 5 + TrailerSize
)

// Content types, RFC 8446 section 5.1.
const (
	typeAlert     byte = 21
	typeHandshake byte = 22
	typeData      byte = 23
)

// Messages after the handshake, RFC 8446 section 4.
const (
	msgNewSessionTicket byte = 4
	msgKeyUpdate        byte = 24

	updateNotRequested byte = 0
	updateRequested    byte = 1
)

// How many records one key may protect. RFC 8446 section 5.5 has 2^24.5 full
// ones for AES-GCM. We stop far below it when we send; a peer that comes near
// is asked for a new key, and one that takes no notice must go. So a sequence
// number never gets anywhere near its end either.
const (
	rekeyAfter = 1 << 23 // ours
	askAfter   = 1 << 24 // the peer's
	keyLimit   = 1 << 25 // the peer's
)

// Side is which end of the connection we are.
type Side uint8

const (
	Server Side = iota
	Client
)

// What the opening goroutine has the sealing one send.
const (
	dueAnswer uint32 = 1 << iota // the peer has asked for a KeyUpdate
	dueAsk                       // we want one of the peer
)

// Layer is the record layer of one connection, both directions. It does no I/O
// and starts nothing. One goroutine may open while another one seals; what is
// said to be for one of them must be called by it, or while it does nothing.
//
//	opening    in err idle updates part nPart skip
//	sealing    out ended
//	both       due
//	neither, once started: suite side
//
// A Layer must not be copied once it is started: two that seal under one key
// give the key away.
type Layer struct {
	in, out half
	suite   uint16 // 0: not started, or wiped
	side    Side
	ended   bool // by AppendGoodbye
	due     atomic.Uint32

	err     error   // what Open met; final
	skip    uint32  // bytes of a NewSessionTicket still to come
	updates uint16  // KeyUpdates of the peer's
	idle    uint8   // what came without data, in a row
	nPart   uint8   // bytes in part
	part    [5]byte // a handshake message that is not whole; a KeyUpdate at most
}

// Format keeps the secrets out of whatever a Layer is printed to.
func (l *Layer) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "record.Layer") }

// Start begins with the two application traffic secrets of RFC 8446 section
// 7.1, which it copies. Nothing has been read under client's or server's,
// whichever is the peer's, and written records have been sent under ours.
// Getting written wrong is fatal: a number too low uses nonces twice.
func (l *Layer) Start(side Side, id uint16, client, server []byte, written uint64) error {
	s, ok := suiteOf(id)
	if !ok || !Supported(id) || len(client) != s.hashLen || len(server) != s.hashLen || written >= rekeyAfter {
		return errSecret
	}
	in, out := client, server
	if side == Client {
		in, out = server, client
	}
	l.Wipe()
	for _, h := range []struct {
		half   *half
		secret []byte
	}{{&l.in, in}, {&l.out, out}} {
		k, err := s.newKeys(h.secret)
		if err != nil {
			l.Wipe()
			return err
		}
		copy(h.half.secret[:], h.secret)
		h.half.keys = k
	}
	l.out.seq = written
	l.suite, l.side, l.err, l.ended = id, side, nil, false
	return nil
}

// Rest lets go of both ciphers, which are most of what a connection weighs.
// They are made anew from the secrets when they are needed, which takes a few
// microseconds each. Nobody may be opening or sealing.
func (l *Layer) Rest() { l.in.keys, l.out.keys = nil, nil }

// Wipe ends both directions and forgets the secrets. Nobody may be opening or
// sealing. The ciphers' own copies of the keys are left to the garbage
// collector.
func (l *Layer) Wipe() {
	l.in, l.out = half{}, half{}
	l.due.Store(0)
	l.skip, l.updates, l.idle, l.nPart, l.part = 0, 0, 0, 0, [5]byte{}
	l.suite = 0
}

// Owes tells whether KeyUpdates must go before the next data: since the peer
// has asked for one, since our key is worn, or since the peer's is. It is for
// the sealing goroutine. Answers are lazy (RFC 8446 section 4.6.3 wants them
// before the next data), so however often a peer asks, a connection that sends
// nothing answers nothing, and one that does answers once.
func (l *Layer) Owes() bool {
	return !l.ended && l.suite != 0 && (l.due.Load() != 0 || l.out.seq >= rekeyAfter)
}

// AppendOwed appends the KeyUpdates that are owed, at most two of 27 bytes, and
// goes on to the keys that they announce. They must reach the peer. It is for
// the sealing goroutine.
func (l *Layer) AppendOwed(dst []byte) []byte {
	if !l.Owes() {
		return dst
	}
	due := l.due.Swap(0)
	if due&dueAnswer != 0 || due&dueAsk == 0 {
		dst = l.appendKeyUpdate(dst, updateNotRequested)
	}
	if due&dueAsk != 0 {
		// A request is no answer: section 4.6.3 wants update_not_requested for
		// that, or two ends could ask one another for ever.
		dst = l.appendKeyUpdate(dst, updateRequested)
	}
	return dst
}

func (l *Layer) appendKeyUpdate(dst []byte, request byte) []byte {
	dst = l.appendControl(dst, typeHandshake, msgKeyUpdate, 0, 0, 1, request)
	l.out.update(l.suite)
	return dst
}

// Seal makes b[HeaderSize:HeaderSize+n] a record, in place, and returns how
// long it is: HeaderSize+n+TrailerSize bytes, for which b must have room. n may
// be 0. Errors change nothing; one is ErrOwes, one ErrEnded. It is for the
// sealing goroutine.
func (l *Layer) Seal(b []byte, n int) (int, error) {
	switch {
	case l.ended || l.suite == 0:
		return 0, ErrEnded
	case n < 0 || n > MaxContent || len(b) < HeaderSize+n+TrailerSize:
		return 0, errSize
	case l.Owes():
		return 0, ErrOwes
	}
	return l.seal(b, n, typeData), nil
}

func (l *Layer) seal(b []byte, n int, contentType byte) int {
	length := n + TrailerSize
	whole := HeaderSize + length
	b[0], b[1], b[2] = typeData, 3, 3
	b[3], b[4] = byte(length>>8), byte(length)
	b[HeaderSize+n] = contentType
	k := l.out.ready(l.suite)
	k.aead.Seal(b[HeaderSize:HeaderSize:whole], k.nonceOf(l.out.seq), b[HeaderSize:HeaderSize+n+1], b[:HeaderSize])
	l.out.seq++
	return whole
}

// AppendGoodbye appends the alert that ends our direction, after which nothing
// is sealed any more. What it is depends on why:
//
//	nil, io.EOF         close_notify; the peer may go on sending (section 6.1)
//	*Error              its alert
//	an alert received   nothing: the peer has gone (section 6.2)
//	anything else       internal_error, so that the peer does not take what it
//	                    got for the whole
//
// The second time it appends nothing. It is for the sealing goroutine.
func (l *Layer) AppendGoodbye(dst []byte, cause error) []byte {
	if l.ended || l.suite == 0 {
		return dst
	}
	alert, level := alertInternalError, byte(2) // fatal
	var wrong *Error
	var received tls.AlertError
	switch {
	case cause == nil || errors.Is(cause, io.EOF):
		alert, level = alertCloseNotify, 1 // warning
	case errors.As(cause, &wrong):
		alert = wrong.Alert
	case errors.As(cause, &received):
		l.ended = true
		return dst
	}
	dst = l.appendControl(dst, typeAlert, level, byte(alert))
	l.ended = true
	return dst
}

// appendControl appends a record that is not data.
func (l *Layer) appendControl(dst []byte, contentType byte, content ...byte) []byte {
	var room [HeaderSize + TrailerSize]byte
	at := len(dst)
	dst = append(dst, room[:HeaderSize]...)
	dst = append(dst, content...)
	dst = append(dst, room[HeaderSize:]...)
	l.seal(dst[at:], len(content), contentType)
	return dst
}

// asks tells whether a KeyUpdate of the peer's is wanted. Safe for both
// goroutines.
func (l *Layer) asks() bool { return l.due.Load()&dueAsk != 0 }
