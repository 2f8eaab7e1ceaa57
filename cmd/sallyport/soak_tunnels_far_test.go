package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/bench/standin"
)

// farEnd is the service behind the gateway. A device tells it, through the
// tunnel, what to do:
//
//	 0      1        9      17     25
//	┌──────┬────────┬──────┬──────┐
//	│ verb │ tunnel │ seed │ size │   big-endian
//	└──────┴────────┴──────┴──────┘
//
// What either side sends follows from the seed, so each knows what it must get.
// How a connection came to its end the device learns outside the tunnel.
type farEnd struct {
	t       *testing.T
	port    int
	serving sync.WaitGroup

	mu    sync.Mutex // guards the rest
	conns map[*net.TCPConn]bool
	ends  map[uint64]chan error // by tunnel
}

type order struct {
	Verb   verb
	Tunnel uint64
	Seed   uint64
	Size   int64
}

const orderBytes = 1 + 8 + 8 + 8

// verb is what the far end is to do. After speakLast, speakFirst and reset it has
// done its last.
type verb uint8

const (
	exchange   verb = iota + 1 // take size bytes, give as many others
	upload                     // take size bytes, give their checksum
	download                   // give size bytes, and their checksum
	flood                      // take bytes without end, and give one for each flooded
	speakLast                  // wait until the device has finished, then give size bytes, and finish
	speakFirst                 // give size bytes, finish, then take as many until the device finishes
	reset                      // reset the connection
)

// flooded is how much of a flood is acknowledged at a time.
const flooded = 256 << 10

// startFarEnd serves until the test ends.
func startFarEnd(t *testing.T) *farEnd {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f := &farEnd{t: t, port: l.Addr().(*net.TCPAddr).Port, conns: make(map[*net.TCPConn]bool), ends: make(map[uint64]chan error)}
	f.serving.Go(func() {
		for {
			conn, err := l.AcceptTCP()
			if err != nil {
				return
			}
			f.enter(conn, true)
			f.serving.Go(func() { f.attend(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.mu.Lock()
		for conn := range f.conns { // the gateway is gone, one way or another
			_ = conn.Close()
		}
		f.mu.Unlock()
		f.serving.Wait()
	})
	return f
}

func (f *farEnd) enter(conn *net.TCPConn, there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if there {
		f.conns[conn] = true
	} else {
		delete(f.conns, conn)
	}
}

// live is the number of connections that have not ended.
func (f *farEnd) live() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// end gives what receives the end of a tunnel: nil when the device has finished,
// or was to be left, and all it sent was what was expected.
func (f *farEnd) end(tunnel uint64) chan error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ends[tunnel] == nil {
		f.ends[tunnel] = make(chan error, 1)
	}
	return f.ends[tunnel]
}

func (f *farEnd) forget(tunnel uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ends, tunnel)
}

func (f *farEnd) attend(conn *net.TCPConn) {
	tunnel, err := f.obey(conn)
	_ = conn.Close()
	f.enter(conn, false)
	if errors.Is(err, errOtherBytes) {
		f.t.Errorf("the service, tunnel %d: %v", tunnel, err)
	}
	if tunnel != 0 { // else its device was gone before it said anything
		f.end(tunnel) <- err
	}
}

// obey carries out orders until there are no more.
func (f *farEnd) obey(conn *net.TCPConn) (tunnel uint64, err error) {
	var raw [orderBytes]byte
	for {
		if _, err := io.ReadFull(conn, raw[:]); err != nil {
			if err == io.EOF { // between two orders
				err = nil
			}
			return tunnel, err
		}
		var o order
		if _, err := binary.Decode(raw[:], binary.BigEndian, &o); err != nil {
			return tunnel, err
		}
		if tunnel != 0 && o.Tunnel != tunnel || o.Tunnel == 0 {
			return tunnel, fmt.Errorf("%w: an order of tunnel %d", errOtherBytes, o.Tunnel)
		}
		tunnel = o.Tunnel
		if last, err := carryOut(conn, o); last || err != nil {
			return tunnel, err
		}
	}
}

// carryOut does one thing, and tells whether it was the last.
func carryOut(conn *net.TCPConn, o order) (last bool, err error) {
	var sum []byte
	switch o.Verb {
	case exchange:
		if _, err = take(conn, o.Seed, o.Size); err == nil {
			_, err = give(conn, ^o.Seed, o.Size)
		}
	case upload:
		if sum, err = take(conn, o.Seed, o.Size); err == nil {
			_, err = conn.Write(sum)
		}
	case download:
		if sum, err = give(conn, o.Seed, o.Size); err == nil {
			_, err = conn.Write(sum)
		}
	case flood:
		want := stream(o.Seed, o.Size)
		for err == nil {
			if err = compare(conn, want, flooded); err == nil {
				_, err = conn.Write([]byte{1})
			}
		}
	case speakLast:
		if err = wantEnd(conn); err == nil {
			_, err = give(conn, o.Seed, o.Size)
		}
		return true, err
	case speakFirst:
		if _, err = give(conn, o.Seed, o.Size); err == nil {
			err = conn.CloseWrite()
		}
		if err == nil {
			_, err = take(conn, ^o.Seed, o.Size)
		}
		if err == nil {
			err = wantEnd(conn)
		}
		return true, err
	case reset:
		return true, conn.SetLinger(0)
	default:
		err = fmt.Errorf("%w: verb %d", errOtherBytes, o.Verb)
	}
	return false, err
}

// errOtherBytes says that something arrived which nobody sent into this tunnel.
var errOtherBytes = errors.New("other bytes arrived than were sent")

// stream is what follows from a seed.
func stream(seed uint64, n int64) io.Reader {
	if n > block {
		return standin.NewBulk(seed, n)
	}
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return io.LimitReader(rand.NewChaCha8(key), n)
}

// give sends what follows from a seed, and tells its SHA-256.
func give(w io.Writer, seed uint64, n int64) ([]byte, error) {
	sum := sha256.New()
	sent, err := io.CopyBuffer(plainWriter{w}, io.TeeReader(stream(seed, n), sum), make([]byte, min(n, block)))
	if err == nil && sent != n {
		err = io.ErrShortWrite
	}
	return sum.Sum(nil), err
}

// plainWriter keeps io.Copy from its short cuts.
type plainWriter struct{ io.Writer }

// take receives what follows from a seed, and nothing else, and tells the SHA-256
// of what came.
func take(r io.Reader, seed uint64, n int64) ([]byte, error) {
	sum := sha256.New()
	err := compare(io.TeeReader(r, sum), stream(seed, n), n)
	return sum.Sum(nil), err
}

// compare reads n bytes, and compares each.
func compare(r, wanted io.Reader, n int64) error {
	size := min(n, 16<<10)
	got, want := make([]byte, size), make([]byte, size)
	for at := int64(0); at < n; at += size {
		size = min(size, n-at)
		if _, err := io.ReadFull(wanted, want[:size]); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, got[:size]); err != nil {
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
		if !bytes.Equal(got[:size], want[:size]) {
			return fmt.Errorf("%w, after %d", errOtherBytes, at)
		}
	}
	return nil
}

// wantEnd wants the other side to finish without another byte.
func wantEnd(r io.Reader) error {
	switch n, err := r.Read(make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("%w: one where the stream should end", errOtherBytes)
	case err != io.EOF:
		return fmt.Errorf("no clean end: %w", err)
	}
	return nil
}
