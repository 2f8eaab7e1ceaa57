package quic

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// Attacks on QUIC, by strangers and by a client that has a ticket, each on a gateway
// in a process of its own: what that holds is bounded at the attack's height and given
// back after it, the answer is the right one, and a device is served all the while.
// go test -v prints the table:
//
//	attack | KiB of heap and stacks before, at, after; (resident) | answer | the device
func TestAttacks(t *testing.T) {
	attacks := append(attacksOfStrangers(), attacksOfClients()...)
	if os.Getenv(attackedMark) != "" {
		for i := range attacks {
			t.Run(attacks[i].name, func(t *testing.T) { beAttacked(t, &attacks[i]) })
		}
		return
	}
	t.Parallel()
	const atOnce = 4 // since most of them wait for most of their time
	next := make(chan *attack)
	var running sync.WaitGroup
	for range atOnce {
		running.Go(func() {
			for a := range next {
				t.Run(a.name, a.test)
			}
		})
	}
	for i := range attacks {
		next <- &attacks[i]
	}
	close(next)
	running.Wait()
}

func (a *attack) test(t *testing.T) {
	gateway := startAttacked(t)
	s := &siege{attacked: gateway, device: startDevice(t, gateway)}
	t.Cleanup(s.device.stop)
	before := gateway.now(t, true)
	answer := a.make(t, s)
	if s.peak == nil {
		t.Fatal("nobody looked")
	}
	// Tables do not shrink, and goroutines leave a descriptor: so much is nobody's.
	const spare = 6 << 20
	gateway.until(t, false, func(c condition) bool { return c.Connections <= 1 && c.Unproven == 0 })
	after := gateway.until(t, true, func(c condition) bool { return c.Held-before.Held < spare })
	s.device.more(t)
	s.device.stop()
	at := *s.peak
	kib := func(bytes int64) int64 { return bytes >> 10 }
	t.Logf("%-32s %5d %+6d %+6d  (%6d %+6d %+6d)  %s | %v", a.name,
		kib(before.Held), kib(at.Held-before.Held), kib(after.Held-before.Held),
		kib(before.Resident), kib(at.Resident-before.Resident), kib(after.Resident-before.Resident),
		answer, s.device)
	if held := kib(at.Held - before.Held); held > a.most {
		t.Errorf("%d KiB are held at its height, and %d are right", held, a.most)
	}
	if taken := kib(at.Resident - before.Resident); !raced && taken > 2*a.most+8<<10 {
		t.Errorf("%d KiB are resident at its height", taken)
	}
}

// siege is an attack under way.
type siege struct {
	*attacked
	device *device
	peak   *condition
}

// look measures, when the attack is at its height, and sees whether a device that
// comes now is served beside those that are there.
func (s *siege) look(t *testing.T) condition {
	t.Helper()
	c := s.now(t, true)
	s.peak = &c
	s.device.more(t)
	return c
}

// dial is a client whose gateway's certificate is another process's.
func (s *attacked) dial(ctx context.Context) (*Conn, error) {
	return (&Dialer{TLS: &tls.Config{InsecureSkipVerify: true}}).Dial(ctx, s.addr)
}

func openTo(ctx context.Context, conn *Conn, host string) (tunnel.Stream, error) {
	s, err := conn.Open(ctx)
	if err != nil {
		return nil, err
	}
	return s, socks.ClientHandshake(ctx, s, socks.Auth{User: "u", Password: password}, host, 443)
}

// device is an honest client: it has a tunnel, and says something every 5 ms.
type device struct {
	gateway *attacked
	conn    *Conn
	quit    chan struct{}
	running sync.WaitGroup
	stopped sync.Once

	mu      sync.Mutex // guards the rest
	echoes  int
	longest time.Duration
	late    int // devices that came during and after the attack
	err     error
}

func startDevice(t *testing.T, gateway *attacked) *device {
	t.Helper()
	d := &device{gateway: gateway, quit: make(chan struct{})}
	var err error
	if d.conn, err = gateway.dial(within(t)); err != nil {
		t.Fatal(err)
	}
	s, err := openTo(within(t), d.conn, "echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := echoed(s); err != nil {
		t.Fatal(err)
	}
	d.running.Go(func() { d.run(s) })
	return d
}

func (d *device) run(s tunnel.Stream) {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-d.quit:
			return
		case <-again.C:
		}
		began := time.Now()
		err := echoed(s)
		d.mu.Lock()
		d.echoes++
		d.longest = max(d.longest, time.Since(began))
		d.err = err
		d.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// echoed says something and hears it.
func echoed(s tunnel.Stream) error {
	const words = "still here"
	_ = s.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(s, words); err != nil {
		return err
	}
	heard := make([]byte, len(words))
	if _, err := io.ReadFull(s, heard); err != nil {
		return err
	}
	if string(heard) != words {
		return fmt.Errorf("%q came back", heard)
	}
	return nil
}

// more is another device, that comes, is served and goes.
func (d *device) more(t *testing.T) {
	t.Helper()
	conn, err := d.gateway.dial(within(t))
	if err != nil {
		t.Fatalf("a device that comes now: %v", err)
	}
	defer conn.Close()
	s, err := openTo(within(t), conn, "echo")
	if err == nil {
		err = echoed(s)
	}
	if err != nil {
		t.Fatalf("a device that comes now: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.late++
	if d.err != nil {
		t.Errorf("the device's tunnel: %v", d.err)
	}
}

func (d *device) stop() {
	d.stopped.Do(func() { close(d.quit) })
	d.running.Wait()
	_ = d.conn.Close()
}

func (d *device) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("%d echoes, longest %v, %d newcomers served", d.echoes, d.longest.Round(time.Millisecond), d.late)
}

// happened tells of some of what is in the tally.
func happened(c condition, kinds ...string) string {
	var parts []string
	for _, kind := range kinds {
		if n := c.Tally[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	return strings.Join(parts, ", ")
}
