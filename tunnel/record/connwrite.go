package record

import (
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// closeBound is how long a goodbye may take with a peer that takes no bytes.
	closeBound = 200 * time.Millisecond
	// gathered is how many records of one Write are sent by one below.
	gathered = 16

	fullRecord = HeaderSize + MaxContent + TrailerSize
	owedSize   = 2 * keyUpdateSize
	singleSize = fullRecord + owedSize
	batchSize  = gathered*fullRecord + owedSize
)

var (
	singles = sync.Pool{New: func() any { return new([singleSize]byte) }}
	batches = sync.Pool{New: func() any { return new([batchSize]byte) }}
)

// Write sends all of p, with one write below for 16 full records. An error of
// below is final, deadlines included: the peer may have a part of a record.
func (c *Conn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	var buf []byte
	if len(p) <= MaxContent {
		single := singles.Get().(*[singleSize]byte)
		defer singles.Put(single)
		buf = single[:]
	} else {
		batch := batches.Get().(*[batchSize]byte)
		defer batches.Put(batch)
		buf = batch[:]
	}
	sent := 0
	for sent < len(p) {
		n, ready, err := c.seal(buf, p[sent:])
		if err == nil {
			err = c.send(ready)
		}
		if err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// seal fills buf with records, and returns how much of p they hold.
func (c *Conn) seal(buf, p []byte) (n int, ready []byte, err error) {
	if c.layer == nil || c.closed.Load() {
		return 0, nil, net.ErrClosed
	}
	at := len(c.layer.AppendOwed(buf[:0]))
	for n < len(p) {
		room := min(len(p)-n, MaxContent)
		if len(buf)-at < HeaderSize+room+TrailerSize {
			break
		}
		copy(buf[at+HeaderSize:], p[n:n+room])
		whole, err := c.layer.Seal(buf[at:], room)
		if errors.Is(err, ErrOwes) {
			break // asked for since; next time round
		}
		if err != nil {
			return 0, nil, err
		}
		at += whole
		n += room
	}
	return n, buf[:at], nil
}

// send writes records below. Called with writeMu held.
func (c *Conn) send(records []byte) error {
	if c.writeErr == nil && len(records) > 0 {
		_, c.writeErr = c.Conn.Write(records)
	}
	return c.writeErr
}

// CloseWrite sends close_notify, and leaves the connection below open. It is
// bounded like a Write: by the write deadline.
func (c *Conn) CloseWrite() error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.layer == nil || c.closed.Load() {
		return net.ErrClosed
	}
	return c.send(c.layer.AppendGoodbye(nil, nil))
}

// Close says close_notify, if our direction has not ended yet, for up to 200 ms
// to a peer that does not listen, and closes the connection. If a Write is under
// way in another goroutine it says nothing, and cuts it short.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.part(nil)
	err := c.Conn.Close()
	c.end()
	return err
}

// Abort closes at once and says nothing. Over TCP, what was written but not yet
// sent is forgotten, and the peer is sent a reset.
func (c *Conn) Abort() {
	if c.closed.Swap(true) {
		return
	}
	if tcp, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Conn.Close()
	c.end()
}

// part says goodbye within closeBound, unless a Write is under way.
func (c *Conn) part(cause error) {
	if !c.writeMu.TryLock() {
		return
	}
	defer c.writeMu.Unlock()
	if c.layer == nil || c.writeErr != nil {
		return
	}
	if goodbye := c.layer.AppendGoodbye(nil, cause); len(goodbye) > 0 {
		_ = c.Conn.SetWriteDeadline(time.Now().Add(closeBound))
		_ = c.send(goodbye) // who does not take it has the connection closed on him
	}
}

// end wipes the secrets. Below is closed, so nobody stays in Read or Write for
// long.
func (c *Conn) end() {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.layer != nil {
		c.layer.Wipe()
		c.drop()
	}
}

// Release lets go of the connection, for who goes on with it otherwise: of its
// layer, of the plaintext that was opened and not yet read, and of the bytes
// that were read from below behind that. The Conn is of no use any more, and its
// Close and Abort leave the connection alone. Whoever is reading or writing is
// waited for.
func (c *Conn) Release() (l *Layer, plain, ahead []byte) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.closed.Store(true)
	l, c.layer = c.layer, nil
	plain, ahead = slices.Clone(c.plain), slices.Clone(c.buf[c.r:c.w])
	c.drop()
	return l, plain, ahead
}
