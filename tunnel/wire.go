package tunnel

import (
	"bytes"
	"errors"
	"net"
	"sync"
)

const (
	recordTypeHandshake = 0x16 // RFC 8446 section 5.1
	recordHeaderSize    = 5

	// batchSize holds a relay buffer once it is encrypted: with the overhead of
	// every record in it, and some room for the small records that crypto/tls
	// begins a connection with.
	batchSize = bulkSize + bulkSize/16
)

var errNotTLS = errors.New("tunnel: first bytes are not TLS")

// maxHandshake is how many bytes of a client a TLS handshake may take, all of
// its messages together. Clients of today send 2 KiB, key shares against
// quantum computers included; crypto/tls would gather 64 KiB for a single
// message of a stranger's.
const maxHandshake = 16 << 10

// wire is the connection as crypto/tls sees it. It does two things more than the
// connection below.
//
// In set-up it looks at the very first byte, so that a client which speaks
// something else is told apart at once: crypto/tls waits for five bytes, and a
// plain SOCKS5 greeting has three. It reads a little at a time, and there is an end
// to how much of them a stranger gets. Reading belongs to one goroutine.
//
// And it gathers the records of one large Write into one system call. crypto/tls
// makes a call of each record, and system calls are what a relay spends most of
// its time in.
//
// When the tunnel is parked, what is below is exchanged for a connection in memory.
type wire struct {
	net.Conn

	first   [8]byte // what the client said first; for tellHTTP
	nRead   int     // of first; zero before the first Read
	left    int     // what may still be read in set-up; negative: no limit
	opened  bool    // set-up is over
	records boundary

	mu      sync.Mutex       // guards the rest; held across writes, to keep their order
	holders int              // Writes that gather
	batch   *[batchSize]byte // nil when nobody does
	n       int              // of batch
	err     error            // a lost batch: crypto/tls believes it sent, so no more may follow
}

func newWire(conn net.Conn) *wire { return &wire{Conn: conn, left: maxHandshake} }

var batches = sync.Pool{New: func() any { return new([batchSize]byte) }}

func (w *wire) Read(p []byte) (int, error) {
	if w.opened {
		return w.Conn.Read(p)
	}
	return w.readSetUp(p)
}

// readSetUp reads a little at a time: what comes together with the handshake's
// last record, the next step's bytes, must hardly count.
func (w *wire) readSetUp(p []byte) (int, error) {
	room := min(len(p), waitSize)
	if w.left >= 0 {
		room = min(room, w.left)
	}
	if room == 0 && len(p) > 0 {
		return 0, errTooMuch
	}
	n, err := w.Conn.Read(p[:room])
	if w.left >= 0 {
		w.left -= n
	}
	if w.nRead == 0 && n > 0 {
		w.nRead = copy(w.first[:], p[:n])
		if p[0] != recordTypeHandshake {
			return 0, errNotTLS
		}
	}
	w.records.pass(p[:n])
	return n, err
}

// open ends set-up.
func (w *wire) open() { w.opened = true }

// boundary knows where in a stream of records one ends. The zero boundary is
// before the first.
type boundary struct {
	header [recordHeaderSize]byte
	nRead  int // of header
	body   int // what is left of the record whose header has been read
}

// left is how many bytes belong to the header or body that comes next.
func (b *boundary) left() int {
	if b.body > 0 {
		return b.body
	}
	return recordHeaderSize - b.nRead
}

// pass takes note of the next bytes.
func (b *boundary) pass(p []byte) {
	for len(p) > 0 {
		n := min(len(p), b.left())
		if b.body > 0 {
			b.body -= n
		} else {
			b.nRead += copy(b.header[b.nRead:], p[:n])
			if b.nRead == recordHeaderSize {
				b.body, b.nRead = int(b.header[3])<<8|int(b.header[4]), 0
			}
		}
		p = p[n:]
	}
}

// partWith is the function of that name, for a stream over the wire. What lingers
// is counted here, TLS's own included.
func (w *wire) partWith(s Stream, last []byte) {
	w.left = lingerBytes
	partWith(s, func() { _ = w.Conn.Close() }, last)
}

// notTLS reports whether the client's first byte was no TLS.
func (w *wire) notTLS() bool { return w.nRead > 0 && w.first[0] != recordTypeHandshake }

// tellHTTP reports whether the first bytes are the beginning of an HTTP
// request, as far as they came.
func (w *wire) tellHTTP() bool {
	seen := w.first[:w.nRead]
	for _, method := range []string{
		"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH ", "PRI ",
	} {
		n := min(len(seen), len(method))
		if n > 0 && bytes.Equal(seen[:n], []byte(method[:n])) {
			return true
		}
	}
	return false
}

// hold makes Write gather until flush. The two come in pairs.
func (w *wire) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holders++
	if w.batch == nil {
		w.batch = batches.Get().(*[batchSize]byte)
	}
}

// flush sends what was gathered since hold.
func (w *wire) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.send()
	if w.holders--; w.holders == 0 {
		batches.Put(w.batch)
		w.batch = nil
	}
	return w.err
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.batch != nil && len(p) > len(w.batch)-w.n {
		w.send()
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.batch == nil || len(p) > len(w.batch) {
		return w.Conn.Write(p)
	}
	w.n += copy(w.batch[w.n:], p)
	return len(p), nil
}

// send writes the batch. Called with mu held.
func (w *wire) send() {
	if w.n > 0 && w.err == nil {
		_, w.err = w.Conn.Write(w.batch[:w.n])
	}
	w.n = 0
}

// CloseWrite ends our direction of the connection below, where that can be.
func (w *wire) CloseWrite() error {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
