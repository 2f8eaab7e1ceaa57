package tunnel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestChurn opens and ends so many tunnels, in so many ways, that their descriptors'
// numbers and their places with the poller are used again all the time, and looks
// for a byte of one in another. Built with the tag soak there is a longer one.
func TestChurn(t *testing.T) { runChurn(t, uint64(time.Now().UnixNano()), 20_000) }

func runChurn(t *testing.T, seed uint64, tunnels int) {
	const workers = 8
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed) // for the order of ways; the kernel has its own
		}
	}()
	c := &churn{relays: relaysOf(t), aborts: make(chan Tunnel, workers)}
	descriptorsBefore, goroutinesBefore := descriptors(t), runtime.NumGoroutine()
	var aborters, running sync.WaitGroup
	for range 2 {
		aborters.Go(func() {
			for tunnel := range c.aborts {
				tunnel.Abort()
			}
		})
	}
	for worker := range workers {
		running.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(worker)))
			dial := newDialler(t)
			defer dial.Close()
			for i := range tunnels / workers {
				c.one(t, dial, random, uint64(worker)<<32|uint64(i))
			}
		})
	}
	running.Wait()
	close(c.aborts)
	aborters.Wait()
	eventually(t, "every tunnel has told its end", func() bool { return c.ended.Load() == int64(tunnels) })
	if c.cut.Load() == 0 || c.idle.Load() == 0 || c.failed.Load() == 0 || c.clean.Load() == 0 {
		t.Errorf("%d cut, %d idle, %d failed, %d clean: not what this is for",
			c.cut.Load(), c.idle.Load(), c.failed.Load(), c.clean.Load())
	}
	if n := c.relays.poller.Len() + c.relays.due.Len(); n != 0 {
		t.Errorf("%d entries left", n)
	}
	if after := descriptors(t); after != descriptorsBefore {
		t.Errorf("%d descriptors before, %d after", descriptorsBefore, after)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutinesBefore })
}

// churn is what the workers share. It is the Ender of all their tunnels.
type churn struct {
	relays *Relays
	aborts chan Tunnel // for somebody else to abort

	ended, clean, cut, idle, failed atomic.Int64
}

// Joined and Ended satisfy Ender.
func (c *churn) Joined(Tunnel) {}

func (c *churn) Ended(r Result) {
	switch r.Reason {
	case ClientClosed, ServiceClosed:
		c.clean.Add(1)
	case Cut:
		c.cut.Add(1)
	case Idle:
		c.idle.Add(1)
	default:
		c.failed.Add(1)
	}
	c.ended.Add(1)
}

// one is the life of one tunnel. The far ends send nothing but their marker, over
// and over.
func (c *churn) one(t *testing.T, dial *dialler, random *rand.Rand, id uint64) {
	var client Stream
	var near Stream
	if id%256 == 255 { // a handshake takes as long as twenty tunnels
		k := parkedKinds()[1+random.IntN(3)]
		client, near = k.pair(t)
	} else {
		client, near = dial.pair()
	}
	service, nearService := dial.pair()
	defer client.Close()
	defer service.Close()
	limits := Limits{}
	way := random.IntN(6)
	if way == 0 {
		limits.Idle = time.Duration(random.IntN(2000)) * time.Microsecond
	}
	tunnel := c.relays.join(near, nearService, limits)
	if _, ok := tunnel.(*parked); !ok {
		t.Errorf("a %T", tunnel)
	}
	tunnel.run(c)

	size := 1 + random.IntN(3000)
	up, down := marked(id, 'U', size), marked(id, 'D', size)
	_, _ = client.Write(up)
	_, _ = service.Write(down)
	switch way {
	case 0, 1, 2: // both end well, unless it was idle
		_ = client.CloseWrite()
		atService, err := io.ReadAll(service)
		_ = service.(*net.TCPConn).CloseWrite()
		atClient, clientErr := io.ReadAll(client)
		if way != 0 && (err != nil || clientErr != nil || len(atService) != size || len(atClient) != size) {
			t.Errorf("%x: %d and %d bytes of %d; %v, %v", id, len(atService), len(atClient), size, err, clientErr)
		}
		c.compare(t, id, atService, up)
		c.compare(t, id, atClient, down)
		return
	case 3:
		_ = below(client).SetLinger(0)
		_ = below(client).Close()
	case 4:
		_ = below(service).SetLinger(0)
		_ = below(service).Close()
	case 5:
		c.aborts <- tunnel
	}
	atService, _ := io.ReadAll(service)
	atClient, _ := io.ReadAll(client)
	c.compare(t, id, atService, up)
	c.compare(t, id, atClient, down)
}

func (c *churn) compare(t *testing.T, id uint64, got, sent []byte) {
	if !bytes.HasPrefix(sent, got) {
		t.Errorf("%x: %d bytes that were not for it", id, len(got))
	}
}

// marked is n bytes of a tunnel's marker.
func marked(id uint64, direction byte, n int) []byte {
	marker := binary.BigEndian.AppendUint64([]byte{direction}, id*0x9e3779b97f4a7c15)
	return bytes.Repeat(marker, n/len(marker)+1)[:n]
}

// dialler makes pairs of connections for one goroutine, over one listener.
type dialler struct{ net.Listener }

func newDialler(t testing.TB) *dialler { return &dialler{listenLoopback(t)} }

func (d *dialler) pair() (far, near Stream) {
	dialled, err := net.DialTCP("tcp", nil, d.Addr().(*net.TCPAddr))
	if err != nil {
		panic(fmt.Sprint("dial: ", err)) // no test could go on
	}
	accepted, err := d.Accept()
	if err != nil {
		panic(fmt.Sprint("accept: ", err))
	}
	_ = dialled.SetDeadline(time.Now().Add(bound))
	return dialled, accepted.(Stream)
}
