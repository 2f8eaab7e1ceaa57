package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// All load is exchanges: the client says how much it sends and how much it
// wants, and then does so.
//
//	client   8 bytes: up, big-endian   8 bytes: down   up-16 bytes of anything
//	service                                            down bytes of anything
//
// A connection carries one exchange after the other until the client closes it.
const headSize = 16

// chunk is what either end reads or writes at a time, whatever the gateway does.
const chunk = 256 << 10

// small is up to where an end gets by without a chunk, so that thousands of
// idle connections cost the service little.
const small = 1 << 10

// chunks are shared by an end's connections.
type chunks struct{ pool sync.Pool }

func newChunks() *chunks {
	return &chunks{sync.Pool{New: func() any { return new([chunk]byte) }}}
}

// send writes n bytes.
func (c *chunks) send(w io.Writer, head []byte, n int64) error {
	if n == 0 {
		return nil
	}
	if n <= small {
		var b [small]byte
		copy(b[:], head)
		_, err := w.Write(b[:n])
		return err
	}
	b := c.pool.Get().(*[chunk]byte)
	defer c.pool.Put(b)
	copy(b[:], head)
	for n > 0 {
		k, err := w.Write(b[:min(n, chunk)])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return nil
}

// take reads n bytes.
func (c *chunks) take(r io.Reader, n int64) error {
	if n <= small {
		var b [small]byte
		_, err := io.ReadFull(r, b[:n])
		return err
	}
	b := c.pool.Get().(*[chunk]byte)
	defer c.pool.Put(b)
	for n > 0 {
		k, err := r.Read(b[:min(n, chunk)])
		if n -= int64(k); err != nil && n > 0 {
			return err
		}
	}
	return nil
}

// ask is the client's side of one exchange.
func (c *chunks) ask(conn io.ReadWriter, up, down int64) error {
	var head [headSize]byte
	binary.BigEndian.PutUint64(head[:8], uint64(up))
	binary.BigEndian.PutUint64(head[8:], uint64(down))
	if err := c.send(conn, head[:], up); err != nil {
		return fmt.Errorf("sending %d bytes: %w", up, err)
	}
	if err := c.take(conn, down); err != nil {
		return fmt.Errorf("receiving %d bytes: %w", down, err)
	}
	return nil
}

// answer is the service's side, until the connection ends.
func (c *chunks) answer(conn io.ReadWriter) error {
	for {
		var head [headSize]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err
		}
		up, down := int64(binary.BigEndian.Uint64(head[:8])), int64(binary.BigEndian.Uint64(head[8:]))
		if up < headSize || down < 0 {
			return fmt.Errorf("an exchange of %d and %d bytes makes no sense", up, down)
		}
		if err := c.take(conn, up-headSize); err != nil {
			return err
		}
		if err := c.send(conn, nil, down); err != nil {
			return err
		}
	}
}
