package record

import (
	"bytes"
	"io"
	"net"
	"sync"
)

// memoryConn is one end of a connection in memory. Unlike net.Pipe's it has
// room, since both ends of a handshake may write at the same time. Deadlines
// have no effect: closing ends everything.
type memoryConn struct {
	net.Conn // of net.Pipe, for the addresses alone
	in, out  *memoryFlow
}

func memoryPipe() (near, far *memoryConn) {
	a, b := net.Pipe()
	there, back := newMemoryFlow(), newMemoryFlow()
	return &memoryConn{a, back, there}, &memoryConn{b, there, back}
}

func (c *memoryConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memoryConn) Write(p []byte) (int, error) { return c.out.write(p) }

func (c *memoryConn) Close() error {
	c.in.close()
	c.out.close()
	return c.Conn.Close()
}

// memoryFlow is one direction.
type memoryFlow struct {
	mu     sync.Mutex // guards what follows
	more   sync.Cond  // bytes, or the end
	bytes  bytes.Buffer
	closed bool
}

func newMemoryFlow() *memoryFlow {
	f := new(memoryFlow)
	f.more.L = &f.mu
	return f
}

func (f *memoryFlow) read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.bytes.Len() == 0 {
		if f.closed {
			return 0, io.EOF
		}
		f.more.Wait()
	}
	return f.bytes.Read(p)
}

func (f *memoryFlow) write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, io.ErrClosedPipe
	}
	f.more.Signal()
	return f.bytes.Write(p)
}

func (f *memoryFlow) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.more.Broadcast()
}
