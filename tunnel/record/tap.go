package record

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
)

// tapSize is how much a Tap reads at a time of what it does not know the length
// of. A client's side of a handshake mostly fits.
const tapSize = 4 << 10

// maxTried bounds the sequence numbers that Take tries. Handshakes of crypto/tls
// have up to six protected records in a direction, and more only with
// certificates beyond 16 KiB.
const maxTried = 64

// Tap lies between a connection and the tls.Conn that shakes hands over it, so
// that a Layer can take over from there. It sees to three things that crypto/tls
// does not tell: where its reading stands, how many records it has sent, and the
// traffic secrets.
//
// Read never crosses the boundary of a record. crypto/tls reads no more records
// than it needs, so when the handshake is done it holds no byte of what follows:
// that is all in the Tap.
//
// Like the tls.Conn's handshake, a Tap belongs to one goroutine until Take is
// done. Close alone may be called by anybody.
type Tap struct {
	net.Conn
	state   tapState
	buf     *[tapSize]byte // nil unless bytes are held
	r, w    int            // of buf
	in, out trace
	log     keyLog
}

type tapState uint8

const (
	tapping tapState = iota
	passing          // Take has refused: the tls.Conn goes on
	taken            // the Layer goes on
)

var tapBuffers = sync.Pool{New: func() any { return new([tapSize]byte) }}

// NewTap returns a Tap over a connection from which nothing has been read.
func NewTap(below net.Conn) *Tap { return &Tap{Conn: below} }

// Format keeps the secrets out of whatever a Tap is printed to.
func (t *Tap) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "record.Tap") }

// KeyLog is for the KeyLogWriter of the tls.Config that the handshake is done
// with: one of this connection's own. It keeps the secrets in memory, for Take,
// and whatever is written to it cannot go anywhere else.
func (t *Tap) KeyLog() io.Writer { return keyLogWriter{&t.log} }

// Read gives bytes of one record at most.
func (t *Tap) Read(p []byte) (int, error) {
	switch {
	case t.state == taken:
		return 0, errTaken
	case len(p) == 0:
		return 0, nil
	case t.r == t.w && t.state == passing:
		return t.Conn.Read(p)
	case t.r == t.w:
		if more := t.in.more(); more >= tapSize {
			n, err := t.Conn.Read(p[:min(len(p), more)])
			t.in.add(p[:n])
			return n, err
		}
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	held := t.buf[t.r:t.w]
	n := min(len(p), len(held))
	if t.state == tapping {
		n = 0
		for n < len(p) && n < len(held) && (n == 0 || !t.in.whole()) {
			n += t.in.add(held[n:min(len(p), len(held))])
		}
	}
	copy(p, held[:n])
	if t.r += n; t.r == t.w {
		t.drop()
	}
	return n, nil
}

func (t *Tap) fill() error {
	t.buf = tapBuffers.Get().(*[tapSize]byte)
	n, err := t.Conn.Read(t.buf[:])
	t.r, t.w = 0, n
	if n > 0 {
		return nil // an error will come again
	}
	t.drop()
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (t *Tap) drop() {
	tapBuffers.Put(t.buf)
	t.buf, t.r, t.w = nil, 0, 0
}

// Write passes on, and remembers the last record.
func (t *Tap) Write(p []byte) (int, error) {
	if t.state == taken {
		// Such as a forgotten tls.Conn's goodbye, under a nonce of ours.
		return 0, errTaken
	}
	n, err := t.Conn.Write(p)
	if t.state == tapping {
		for rest := p[:n]; len(rest) > 0; {
			rest = rest[t.out.add(rest):]
		}
	}
	return n, err
}

// Take starts l where crypto/tls stands, with the handshake done and nothing
// read or written since, and gives what was read from below behind it. The
// tls.Conn must not be used any more, and cannot: the Tap fails it.
//
// ok is false if there is nothing to take: another version than TLS 1.3, or a
// suite that is not Supported. Nothing has been consumed then, the Tap has forgotten the
// secrets and passes everything through, and the tls.Conn is as good as before.
// That is also so when there is an error: ErrUnproven, if the last records are
// not what they are where a handshake ends, or the secrets were not written to
// KeyLog, or not as we know them.
func (t *Tap) Take(side Side, state *tls.ConnectionState, l *Layer) (ahead []byte, ok bool, err error) {
	defer t.forget()
	t.state = passing
	switch {
	case !state.HandshakeComplete:
		return nil, false, errUnfinished
	case state.Version != tls.VersionTLS13, !Supported(state.CipherSuite):
		return nil, false, nil
	case !t.log.complete():
		return nil, false, ErrUnproven
	}
	s, _ := suiteOf(state.CipherSuite)
	written, err := t.prove(s, side)
	if err != nil {
		return nil, false, err
	}
	client, server := &t.log.traffic[Client], &t.log.traffic[Server]
	if err := l.Start(side, state.CipherSuite, client.bytes(), server.bytes(), written); err != nil {
		return nil, false, err
	}
	t.state = taken
	if t.buf != nil {
		ahead = slices.Clone(t.buf[t.r:t.w])
		t.drop()
	}
	return ahead, true, nil
}

// Leave is Take's choice not to: the tls.Conn goes on, through a Tap that has
// forgotten the secrets and passes everything on.
func (t *Tap) Leave() {
	t.state = passing
	t.forget()
}

// prove returns how many records have been sent under our traffic secret.
// crypto/tls does not say; it depends on side, tickets and client certificates,
// and a number too low would use nonces twice. So nothing is inferred. The last
// record sent opens under our traffic secret at some sequence number, and then
// it was that one; or under our handshake secret, and then there was none; or
// crypto/tls is not where it should be. And the last record that it read must be
// under the peer's handshake secret: its Finished. One under its traffic secret
// would be lost to us.
func (t *Tap) prove(s suite, side Side) (written uint64, err error) {
	ours, theirs := Server, Client
	if side == Client {
		ours, theirs = Client, Server
	}
	if _, ok := t.in.find(s, &t.log.handshake[theirs]); !ok {
		return 0, ErrUnproven
	}
	if seq, ok := t.out.find(s, &t.log.traffic[ours]); ok {
		return seq + 1, nil
	}
	if _, ok := t.out.find(s, &t.log.handshake[ours]); !ok {
		return 0, ErrUnproven
	}
	return 0, nil
}

// forget wipes the secrets, and lets go of the records. The tickets and
// certificates in them are encrypted.
func (t *Tap) forget() {
	t.log.wipe()
	t.in, t.out = trace{}, trace{}
}

// trace follows the records of one direction.
type trace struct {
	last      []byte // the record under way, or else the last one
	protected uint64 // how many there were that looked encrypted
}

// whole reports whether last ends where a record ends.
func (t *trace) whole() bool { return len(t.last) >= HeaderSize && len(t.last) == Need(t.last) }

// more is how many bytes are known to come before a boundary.
func (t *trace) more() int {
	if t.whole() {
		return HeaderSize
	}
	return Need(t.last) - len(t.last)
}

// add takes some bytes of p, at least one, and none beyond a record's end.
func (t *trace) add(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	n := min(t.more(), len(p))
	if t.whole() {
		t.last = t.last[:0]
	}
	t.last = append(t.last, p[:n]...)
	if t.whole() && t.last[0] == typeData {
		t.protected++
	}
	return n
}

// find looks for the sequence number that the last record opens at under a
// secret. It tries all that there can be.
func (t *trace) find(s suite, under *secret) (seq uint64, ok bool) {
	if !t.whole() || t.last[0] != typeData || t.protected > maxTried || under.n != s.hashLen {
		return 0, false
	}
	k, err := s.newKeys(under.bytes())
	if err != nil {
		return 0, false
	}
	header, body := t.last[:HeaderSize], t.last[HeaderSize:]
	room := make([]byte, 0, len(body))
	for seq := range t.protected {
		plain, err := k.aead.Open(room, k.nonceOf(seq), body, header)
		if err == nil {
			clear(plain) // a ticket's contents
			return seq, true
		}
	}
	return 0, false
}
