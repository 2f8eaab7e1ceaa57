package node_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// onEveryWay opens a tunnel to the echo by each way, on a device of its own.
func (c *carriers) onEveryWay(t *testing.T, ticket func(*way) string) (devices []device, tunnels []*heard) {
	t.Helper()
	for _, v := range ways {
		w := c.at(v)
		d := v.connect(t, w.world, v)
		h := granted(t, d, ticket(v), w.to("mail.example.com"), "")
		h.echoes(t, "live")
		devices, tunnels = append(devices, d), append(tunnels, h)
	}
	return devices, tunnels
}

// tickets are one of each node's, for every way.
func (c *carriers) tickets(t *testing.T, lifetime time.Duration) func(*way) string {
	t.Helper()
	std := c.std.issueFor(t, "phone", lifetime).Handle.Reveal()
	direct := c.direct.issueFor(t, "phone", lifetime).Handle.Reveal()
	return func(v *way) string {
		if v.direct {
			return direct
		}
		return std
	}
}

// When a ticket expires its tunnels end, whichever way they came, and nobody else's:
// those of the inside door have no ticket.
func TestCarriersExpire(t *testing.T) {
	c := newCarriers(t)
	marks := map[bool]int{false: c.std.log.mark(), true: c.direct.log.mark()}
	_, tunnels := c.onEveryWay(t, c.tickets(t, 4*time.Second))
	for i, v := range ways {
		t.Run(v.name, func(t *testing.T) {
			if v.free {
				tunnels[i].echoes(t, "still here")
				return
			}
			if err := within(t, "the end", tunnels[i].ends()); err == nil {
				t.Error("a cut tunnel has a good end")
			}
			if line := c.at(v).log.next(t, marks[v.direct], v, tunnels[i].client, "tunnel_closed"); line["reason"] != "expired" || line["up"] != 4.0 || line["down"] != 4.0 {
				t.Errorf("%v", line)
			}
		})
	}
}

// canary is what one device sends, and no other.
func canary(name string) string {
	var b strings.Builder
	for i := range 2048 { // 128 KiB
		sum := sha256.Sum256(fmt.Append(nil, name, i))
		fmt.Fprintf(&b, "%x", sum)
	}
	return b.String()
}

// Some fifty tunnels of two devices, by all ways at once, bring back what was sent on
// each, and nothing else.
func TestCarriersNeverCross(t *testing.T) {
	c := newCarriers(t)
	var sending sync.WaitGroup
	for device := range 2 {
		ticket := c.tickets(t, 0)
		for _, v := range ways {
			d := v.connect(t, c.at(v).world, v)
			for i := range 3 {
				h := granted(t, d, ticket(v), c.at(v).to("mail.example.com"), "")
				name := fmt.Sprintf("%s, device %d, tunnel %d", v.name, device, i)
				sending.Go(func() {
					if err := h.sendAndHear(canary(name)); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
		}
	}
	sending.Wait()
}

// sendAndHear wants back all that it sends, and the end behind it.
func (h *heard) sendAndHear(text string) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(h, text)
		if err == nil {
			err = h.closeWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(h.Reader)
	if sendErr := <-sent; err == nil {
		err = sendErr
	}
	if err == nil && string(got) != text {
		err = fmt.Errorf("%d bytes, and not those that were sent", len(got))
	}
	return err
}

// busyGoroutines are those that are in the gateway or a tunnel.
func busyGoroutines() int {
	buf := make([]byte, 8<<20)
	n := 0
	for one := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		if bytes.Contains(one, []byte("/sallyport/gateway.")) || bytes.Contains(one, []byte("/sallyport/tunnel.")) {
			n++
		}
	}
	return n
}

// An idle tunnel costs no goroutine, over TLS as over HTTP/1.1 and at the inside door.
func TestCarriersPark(t *testing.T) {
	const tunnels = 40
	for _, v := range ways {
		if !v.parks {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			layer := "std"
			if v.direct {
				layer = "direct"
			}
			w := newCarriersWorld(t, layer)
			handle := w.issue().Handle.Reveal()
			d := v.connect(t, w.world, v)
			granted(t, d, handle, w.to("mail.example.com"), "").echoes(t, "warm")
			idle := busyGoroutines()
			for range tunnels {
				granted(t, d, handle, w.to("mail.example.com"), "").echoes(t, "hello")
			}
			// A set-up's goroutine may wait a while for the next one.
			for deadline := time.Now().Add(wait); busyGoroutines() > idle+tunnels/10; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatalf("%d goroutines, and %d beside %d tunnels", idle, busyGoroutines(), tunnels)
				}
			}
			if n := w.Live(); n != tunnels+1 {
				t.Errorf("%d live", n)
			}
		})
	}
}

// takesTCP tells whether the gateway still accepts.
func (w *carriersWorld) takesTCP() bool {
	conn, err := net.Dial("tcp", w.GatewayAddr().String())
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// A draining node lets nobody in, by whichever way, new connection or old; what lives,
// lives on; and it is drained when the last tunnel has ended.
func TestCarriersDrain(t *testing.T) {
	c := newCarriers(t)
	ticket := c.tickets(t, 0)
	devices, tunnels := c.onEveryWay(t, ticket)
	drained := make(chan error, 2)
	for _, w := range c.both() {
		go func() { drained <- w.Drain(t.Context()) }()
		for deadline := time.Now().Add(wait); w.takesTCP(); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("a draining node accepts")
			}
		}
	}
	for i, v := range ways {
		if !v.shared {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			if h := devices[i].ask(t, ticket(v), c.at(v).to("mail.example.com"), ""); h.open {
				t.Error("a draining node opens one more on an old connection")
			}
		})
	}
	select {
	case err := <-drained:
		t.Fatalf("drained beside tunnels: %v", err)
	default:
	}
	for i, v := range ways {
		t.Run(v.name+"/live", func(t *testing.T) { tunnels[i].echoes(t, "still here") })
	}
	for _, h := range tunnels {
		h.abort()
	}
	for range c.both() {
		must(t, within(t, "drained", drained))
	}
}

// A node that ends cuts every tunnel at once and tells of each why.
func TestCarriersShutDown(t *testing.T) {
	c := newCarriers(t)
	_, tunnels := c.onEveryWay(t, c.tickets(t, 0))
	marks := map[bool]int{false: c.std.log.mark(), true: c.direct.log.mark()}
	began := time.Now()
	for _, w := range c.both() {
		w.client.Close() // or the authority waits for it
		must(t, w.Close(context.Background()))
	}
	took := time.Since(began)
	for i, v := range ways {
		t.Run(v.name, func(t *testing.T) {
			if err := within(t, "the end", tunnels[i].ends()); err == nil {
				t.Error("a cut tunnel has a good end")
			}
			if line := c.at(v).log.next(t, marks[v.direct], v, tunnels[i].client, "tunnel_closed"); line["reason"] != "shutdown" {
				t.Errorf("%v", line)
			}
		})
	}
	if took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
