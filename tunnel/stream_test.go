package tunnel

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// stuckConn is a peer that takes no bytes: Write waits for Close, whatever the
// deadline.
type stuckConn struct {
	net.Conn
	entered chan struct{} // a Write has begun
	closed  chan struct{}
	once    sync.Once
}

func (c *stuckConn) Write([]byte) (int, error) {
	c.entered <- struct{}{}
	<-c.closed
	return 0, net.ErrClosed
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestCloseOfAStalledClientIsPrompt: crypto/tls alone would wait five seconds
// for its goodbye to be taken, and a Write under way must not delay Close at
// all: a revocation cuts thousands, one after the other.
func TestCloseOfAStalledClientIsPrompt(t *testing.T) {
	for _, writing := range []bool{false, true} {
		client, server := tlsPair(t, tls.VersionTLS13)
		defer client.Close()
		stuck := &stuckConn{Conn: server.wire.Conn, entered: make(chan struct{}, 9), closed: make(chan struct{})}
		server.wire.Conn = stuck
		written := make(chan error, 1)
		if writing {
			go func() {
				_, err := server.Write(make([]byte, gatherFrom))
				written <- err
			}()
			<-stuck.entered
		}
		began := time.Now()
		_ = server.Close()
		took := time.Since(began)
		switch {
		case writing && took >= closeBound:
			t.Errorf("with a Write under way Close took %v", took)
		case !writing && (took < closeBound || took > 10*closeBound):
			t.Errorf("Close took %v, want %v", took, closeBound)
		}
		if writing {
			if err := <-written; !errors.Is(err, net.ErrClosed) {
				t.Errorf("the Write: %v", err)
			}
		}
	}
}

// TestWritesAreGathered counts what reaches the connection below TLS.
func TestWritesAreGathered(t *testing.T) {
	client, server := tlsPair(t, tls.VersionTLS13)
	defer client.Close()
	defer server.Close()
	counter := &countingConn{Conn: server.wire.Conn}
	server.wire.Conn = counter
	sent := noise(bulkSize, 5)
	go func() { sendAndEnd(t, server, sent) }()
	receive(t, client, sent)
	// One for the batch, one for the small records of a young connection that
	// did not fit, one for close_notify.
	if counter.writes > 3 {
		t.Errorf("%d writes for %d bytes", counter.writes, len(sent))
	}
}

// TestLostBatchIsFinal: crypto/tls believes a gathered write sent, so after its
// failure nothing may follow.
func TestLostBatchIsFinal(t *testing.T) {
	client, server := tlsPair(t, tls.VersionTLS13)
	defer client.Close()
	defer server.Close()
	lost := errors.New("lost")
	counter := &countingConn{Conn: server.wire.Conn, err: lost}
	server.wire.Conn = counter
	if n, err := server.Write(make([]byte, bulkSize)); n != 0 || !errors.Is(err, lost) {
		t.Errorf("%d, %v", n, err)
	}
	counter.err = nil
	if _, err := server.Write([]byte("more")); !errors.Is(err, lost) {
		t.Errorf("a write behind a lost one: %v", err)
	}
}

type countingConn struct {
	net.Conn
	writes int
	err    error
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Write(p)
}

// gatedConn is what a client's TLS is upon. It keeps back what is written to it while
// held is set; and where crypto/tls would take an end without close_notify for one, it
// has it say so, as other libraries do.
type gatedConn struct {
	net.Conn
	held *bytes.Buffer
}

var errTruncated = errors.New("an end without close_notify")

func (c *gatedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		err = errTruncated
	}
	return n, err
}

func (c *gatedConn) Write(p []byte) (int, error) {
	if c.held != nil {
		return c.held.Write(p)
	}
	return c.Conn.Write(p)
}
