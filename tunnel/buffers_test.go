package tunnel

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stock counts the buffers that are not in a pool: those that the collector
// finds in somebody's hands.
type stock struct{ wait, record, bulk, batch, load, part, made atomic.Int64 }

// takeStock counts from here on, until the test is over.
func takeStock(t *testing.T) *stock {
	s := new(stock)
	stocked[[waitSize]byte](t, &waitBuffers, &s.wait, nil)
	stocked[[recordSize]byte](t, &recordBuffers, &s.record, nil)
	stocked[[bulkSize]byte](t, &bulkBuffers, &s.bulk, &s.made)
	stocked[[batchSize]byte](t, &batches, &s.batch, &s.made)
	stockParked(t, s)
	emptyPools()
	return s
}

func stocked[T any](t *testing.T, pool *sync.Pool, out, made *atomic.Int64) {
	before := pool.New
	t.Cleanup(func() { pool.New = before })
	pool.New = func() any {
		b := new(T)
		out.Add(1)
		if made != nil {
			made.Add(1)
		}
		runtime.AddCleanup(b, func(int) { out.Add(-1) }, 0)
		return b
	}
}

// emptyPools lets go of all buffers that nobody holds: a pool keeps what it has
// through one collection.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}

// none waits until no buffer is out.
func (s *stock) none(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; {
		emptyPools()
		wait, record, bulk, batch := s.wait.Load(), s.record.Load(), s.bulk.Load(), s.batch.Load()
		load, part := s.load.Load(), s.part.Load()
		switch {
		case wait+record+bulk+batch+load+part == 0:
			return
		case time.Now().After(deadline):
			t.Errorf("held while idle: %d small, %d middle, %d large buffers, %d batches, %d loads, %d parts",
				wait, record, bulk, batch, load, part)
			return
		}
	}
}

// TestIdleTunnelsHoldNoBuffer: whatever a tunnel has earned by a large
// exchange, it waits for the next byte with nothing in hand.
func TestIdleTunnelsHoldNoBuffer(t *testing.T) {
	for _, k := range kinds() {
		if !k.parked {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			s := takeStock(t)
			block := noise(400<<10, 4)
			rigs := make([]*rig, 8)
			for i := range rigs {
				rigs[i] = startRig(t, k, Limits{})
				swap(t, rigs[i], block)
			}
			if s.made.Load() == 0 {
				t.Error("no large buffer was ever used: this test measures nothing")
			}
			s.none(t)
			for _, r := range rigs {
				swap(t, r, block) // they are as good as before
			}
		})
	}
}

// swap sends block both ways at once, and waits for both.
func swap(t *testing.T, r *rig, block []byte) {
	t.Helper()
	var work sync.WaitGroup
	for _, ends := range [][2]Stream{{r.client, r.service}, {r.service, r.client}} {
		work.Go(func() {
			if _, err := ends[0].Write(block); err != nil {
				t.Error(err)
			}
		})
		work.Go(func() {
			got := make([]byte, len(block))
			if _, err := io.ReadFull(ends[1], got); err != nil {
				t.Error(err)
			} else if string(got) != string(block) {
				t.Error("other bytes arrived")
			}
		})
	}
	work.Wait()
}

// TestStrangersGetNoLargeBuffer: neither a handshake without end nor a flood
// behind a good one has us hold more than a few KiB before Succeed.
func TestStrangersGetNoLargeBuffer(t *testing.T) {
	s := takeStock(t)
	hooks, refused := refusals(1)
	asked, granted := make(chan struct{}), make(chan struct{})
	early := noise(300<<10, 6)
	server := newTestServer(t, Config{Hooks: hooks, Handler: handlerFunc(func(ctx context.Context, n Negotiation) {
		_, err := n.Credential(ctx)
		if err == nil {
			_, err = n.Destination(ctx)
		}
		if err != nil {
			t.Error(err)
			return
		}
		asked <- struct{}{}
		<-granted
		client, err := n.Succeed()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		got := make([]byte, len(early))
		if _, err := io.ReadFull(client, got); err != nil || string(got) != string(early) {
			t.Errorf("what was sent early did not arrive: %v", err)
		}
	})})
	addr := serve(t, server, listenLoopback(t))

	// The beginning of a ClientHello of 60,000 bytes, in records of 16 KiB. It
	// stays open, and silent.
	hello := make([]byte, 18<<10)
	copy(hello, "\x16\x03\x01\x40\x00\x01\x00\xea\x60\x03\x03")
	copy(hello[5+recordSize:], "\x16\x03\x01\x40\x00")
	stranger, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Write(hello); err != nil {
		t.Fatal(err)
	}
	if r := <-refused; r.Label != LabelTooMuch {
		t.Errorf("refused as %q: %v", r.Label, r)
	}

	client, err := tls.Dial("tcp", addr, testClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(append([]byte(greeting+userPass+connect), early...))
		sent <- err
	}()
	<-asked
	if n := s.made.Load(); n != 0 {
		t.Errorf("%d large buffers were used before Succeed", n)
	}
	close(granted)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(client); err != nil {
		t.Error(err)
	}
}
