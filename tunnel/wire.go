package tunnel

import (
	"bytes"
	"errors"
	"net"
	"sync"
)

const (
	recordTypeHandshake = 0x16 // RFC 8446 section 5.1

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

// wire is the connection as crypto/tls sees it. It does three things more than
// the connection below.
//
// It looks at the very first byte, so that a client which speaks something
// else is told apart at once: crypto/tls waits for five bytes, and a plain
// SOCKS5 greeting has three.
//
// It gathers the records of one large Write into one system call. crypto/tls
// makes a call of each record, and system calls are what a relay spends most of
// its time in.
//
// And it has two ways to read. In set-up, Read is a small one below, and there
// is an end to how much of them a stranger gets. From open on Read does not
// touch the connection: it gives what await has read, many records at once, and
// then errNoWait. So it is always await that waits, with nothing in hand.
// Reading belongs to one goroutine.
type wire struct {
	net.Conn

	first [8]byte // what the client said first; for tellHTTP
	nRead int     // of first; zero before the first Read
	left  int     // what may still be read in set-up; negative: no limit

	below    source // nil in set-up
	ahead    []byte // what await has read, and Read has not yet given
	awaitErr error  // what await met, for the next Read
	dry      bool   // Read said errNoWait since: there is nothing before await

	mu      sync.Mutex       // guards the rest; held across writes, to keep their order
	holders int              // Writes that gather
	batch   *[batchSize]byte // nil when nobody does
	n       int              // of batch
	err     error            // a lost batch: crypto/tls believes it sent, so no more may follow
}

func newWire(conn net.Conn) *wire { return &wire{Conn: conn, left: maxHandshake} }

var batches = sync.Pool{New: func() any { return new([batchSize]byte) }}

// noWaitError is what crypto/tls takes for a deadline: an error that leaves the
// connection as good as before, half-read records included.
type noWaitError struct{}

func (noWaitError) Error() string   { return "tunnel: no more bytes at the moment" }
func (noWaitError) Timeout() bool   { return true }
func (noWaitError) Temporary() bool { return true }

var errNoWait net.Error = noWaitError{}

func isNoWait(err error) bool { return errors.Is(err, errNoWait) }

func (w *wire) Read(p []byte) (int, error) {
	switch {
	case w.below == nil:
		return w.readSetUp(p)
	case len(w.ahead) > 0:
		n := copy(p, w.ahead)
		if w.ahead = w.ahead[n:]; len(w.ahead) == 0 {
			w.drop()
		}
		return n, nil
	case w.awaitErr != nil:
		err := w.awaitErr
		w.awaitErr = nil
		return 0, err
	default:
		w.dry = true
		return 0, errNoWait
	}
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
	return n, err
}

// open ends set-up.
func (w *wire) open() {
	if w.below == nil {
		w.below = sourceOf(w.Conn)
	}
}

// await waits until Read has something to give, if only an error. All that
// came before must have been read: then crypto/tls has no whole record left
// over, and is right to wait.
func (w *wire) await() {
	w.ahead, w.awaitErr = w.below.next()
	w.dry = false
}

// drop forgets what await has read.
func (w *wire) drop() {
	w.ahead = nil
	if w.below != nil {
		w.below.release()
	}
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
