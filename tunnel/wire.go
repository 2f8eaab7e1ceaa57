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
// And once a Read was filled to the brim, it reads many records at once, and
// can be asked not to wait when these are used up. Reading belongs to one
// goroutine.
type wire struct {
	net.Conn

	first [8]byte // what the client said first; for tellHTTP
	nRead int     // of first; zero before the first Read

	ahead  *[bulkSize]byte // records read ahead; nil when there are none
	r, w   int             // ahead[r:w] is unread
	eager  bool            // the next Read below is a large one
	noWait bool            // no Read below at all: errNoWait

	mu      sync.Mutex       // guards the rest; held across writes, to keep their order
	holders int              // Writes that gather
	batch   *[batchSize]byte // nil when nobody does
	n       int              // of batch
	err     error            // a lost batch: crypto/tls believes it sent, so no more may follow
}

var batches = sync.Pool{New: func() any { return new([batchSize]byte) }}

// noWaitError is what crypto/tls takes for a deadline: an error that leaves the
// connection as good as before, half-read records included.
type noWaitError struct{}

func (noWaitError) Error() string   { return "tunnel: no more bytes at the moment" }
func (noWaitError) Timeout() bool   { return true }
func (noWaitError) Temporary() bool { return true }

var _ net.Error = noWaitError{}

func (w *wire) Read(p []byte) (int, error) {
	switch {
	case w.ahead != nil:
		return w.takeAhead(p), nil
	case w.noWait:
		return 0, noWaitError{}
	case w.eager:
		if err := w.readAhead(); err != nil {
			return 0, err
		}
		return w.takeAhead(p), nil
	}
	n, err := w.Conn.Read(p)
	w.eager = n == len(p) && n >= waitSize
	if w.nRead == 0 && n > 0 {
		w.nRead = copy(w.first[:], p[:n])
		if p[0] != recordTypeHandshake {
			return 0, errNotTLS
		}
	}
	return n, err
}

// readAhead fills the large buffer with one Read below. If less than a record
// came, the flood is over, and later Reads are small ones: an idle tunnel must
// not sit on a large buffer.
func (w *wire) readAhead() error {
	buf := bulkBuffers.Get().(*[bulkSize]byte)
	n, err := w.Conn.Read(buf[:])
	w.eager = n > recordSize
	if n == 0 {
		bulkBuffers.Put(buf)
		return err
	}
	w.ahead, w.r, w.w = buf, 0, n
	return nil // an error will come again
}

func (w *wire) takeAhead(p []byte) int {
	n := copy(p, w.ahead[w.r:w.w])
	if w.r += n; w.r == w.w {
		bulkBuffers.Put(w.ahead)
		w.ahead = nil
	}
	return n
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
