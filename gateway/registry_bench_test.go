package gateway

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// Ending the tunnels of one user, each of another device, among those of many:
// by the registry's index, and beside it by a walk over all tunnels. Closing is
// that of pipes, which costs next to nothing.
//
//	go test -run '^$' -bench 'Cut$' -count 6 ./gateway | tee new.txt
//	benchstat -col /by new.txt
func BenchmarkCut(b *testing.B) {
	for _, size := range []struct{ of, all int }{{50, 2_000}, {2_000, 200_000}} {
		for _, way := range []struct {
			by  string
			end func(*registry, string, *ticket.Revocation, time.Time) int
		}{{"index", (*registry).end}, {"walk", endByWalking}} {
			b.Run(fmt.Sprintf("cut=%d/live=%d/by=%s", size.of, size.all, way.by), func(b *testing.B) {
				var r registry
				idle, _ := net.Pipe()
				for i := range size.all - size.of {
					mustEnter(b, &r, benchClaims("other", i), pipe{idle})
				}
				for b.Loop() {
					b.StopTimer()
					var cut []*live
					for i := range size.of {
						service, _ := net.Pipe()
						cut = append(cut, mustEnter(b, &r, benchClaims("victim", i), pipe{service}))
					}
					v := &ticket.Revocation{User: "victim", Cut: benchTime}
					b.StartTimer()
					if n := way.end(&r, "STA01", v, benchTime); n != size.of {
						b.Fatalf("%d ended", n)
					}
					b.StopTimer()
					for _, l := range cut {
						r.leave(l)
					}
					b.StartTimer()
				}
			})
		}
	}
}

// Ending tunnels that are: over TCP, with their relays, until the last relay has
// returned. "cut" is when Cut has: a gateway reports then.
//
//	go test -run '^$' -bench CutLoopback -count 6 ./gateway
func BenchmarkCutLoopback(b *testing.B) {
	for _, n := range []int{50, 2_000} {
		b.Run(fmt.Sprintf("cut=%d", n), func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer listener.Close()
			relays, err := tunnel.NewRelays(tunnel.RelaysHooks{})
			if err != nil {
				b.Fatal(err)
			}
			defer relays.Close()
			var cut time.Duration
			for b.Loop() {
				b.StopTimer()
				var r registry
				var running sync.WaitGroup
				var far []net.Conn
				for i := range n {
					service, away := tcpPair(b, listener)
					client, device := tcpPair(b, listener)
					far = append(far, away, device)
					l := mustEnter(b, &r, benchClaims("victim", i), service)
					running.Add(1)
					relays.Run(client, service, tunnel.Limits{}, onEnd{l, func() {
						r.leave(l)
						running.Done()
					}})
				}
				began := time.Now()
				b.StartTimer()
				if ended := r.end("STA01", &ticket.Revocation{User: "victim", Cut: benchTime}, benchTime); ended != n {
					b.Fatalf("%d ended", ended)
				}
				cut += time.Since(began)
				running.Wait()
				b.StopTimer()
				for _, conn := range far {
					_ = conn.Close()
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(cut.Nanoseconds())/float64(b.N), "cut-ns/op")
		})
	}
}

type onEnd struct {
	live  *live
	ended func()
}

func (e onEnd) Joined(t tunnel.Tunnel) { e.live.join(t) }
func (e onEnd) Ended(tunnel.Result)    { e.ended() }

// endByWalking is what a registry without an index would do.
func endByWalking(r *registry, authority string, v *ticket.Revocation, now time.Time) int {
	r.mu.Lock()
	found := tunnelsOf(r.all(), coveredBy(authority, v, now))
	r.mu.Unlock()
	return endEach(found, EndedRevoked)
}

var benchTime = time.Unix(1_800_000_000, 0)

func benchClaims(user string, i int) *ticket.Claims {
	device := fmt.Sprintf("%s-device-%d", user, i)
	if user == "other" {
		user = fmt.Sprintf("user-%d", i/2)
	}
	return &ticket.Claims{
		Authority: "STA01", ID: "t-" + device, Family: "f-" + device, User: user, Device: device,
		Issued: benchTime, KeyID: "k",
	}
}

// tcpPair gives both ends of a connection over loopback.
func tcpPair(tb testing.TB, listener net.Listener) (near, far *net.TCPConn) {
	tb.Helper()
	far, err := net.DialTCP("tcp", nil, listener.Addr().(*net.TCPAddr))
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	return conn.(*net.TCPConn), far
}

func mustEnter(tb testing.TB, r *registry, c *ticket.Claims, service tunnel.Stream) *live {
	tb.Helper()
	l, err := r.enter(c, service)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}
