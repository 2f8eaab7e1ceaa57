package bench

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// beat is how often a coordinator shows that it is there, and silence how long
	// either side goes on without a byte from the other. An agent has ended all it
	// did within silence of its coordinator's end.
	beat    = time.Second
	silence = 4 * time.Second
	// portion is what must move within silence: a large result over a slow network
	// takes its time, and no pause.
	portion = 64 << 10
)

// link is a control connection that both sides have proved, or a pipe to the agent
// within the process. One goroutine receives; any may send.
type link struct {
	conn net.Conn

	sending sync.Mutex // a frame goes out whole
	out     []byte     // guarded by sending
}

func newLink(conn net.Conn) *link { return &link{conn: conn} }

// receive waits for a message. It fails when nothing has come for silence.
func (l *link) receive(limit int) (message, error) {
	return readMessage(patientReader{l.conn}, limit)
}

// send sends a message whole.
func (l *link) send(m message) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	out, err := appendMessage(l.out[:0], m)
	if err != nil {
		return err
	}
	if cap(out) <= portion {
		l.out = out
	}
	for len(out) > 0 {
		if err := l.conn.SetWriteDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		n, err := l.conn.Write(out[:min(len(out), portion)])
		if err != nil {
			return err
		}
		out = out[n:]
	}
	return nil
}

// close ends the connection, and with it what either side does on it.
func (l *link) close() { _ = l.conn.Close() }

// patientReader waits for silence, anew at every read.
type patientReader struct{ conn net.Conn }

func (r patientReader) Read(p []byte) (int, error) {
	// A connection that takes no deadline is closed, and may still have something to read.
	_ = r.conn.SetReadDeadline(time.Now().Add(silence))
	return r.conn.Read(p)
}

// pack and unpack are a message's body.
func pack(body any) (json.RawMessage, error) {
	if body == nil {
		return nil, nil
	}
	return json.Marshal(body)
}

func unpack(raw json.RawMessage, into any) error {
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}
