package tunnel

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel/record"
)

// What it costs to keep tunnels that wait:
//
//	go test ./tunnel -run '^$' -bench 'BenchmarkParked|BenchmarkFullGC' -benchtime 1x
//
// heap-B/tunnel is Go's memory only; the kernel has some 4.5 KiB for each socket.

// BenchmarkParked is the heap that a tunnel keeps after an exchange, and once its
// ciphers rest. Far ends are bare descriptors: they would weigh more than it does.
func BenchmarkParked(b *testing.B) {
	const tunnels = 500
	for _, k := range parkedKinds() {
		b.Run(k.name, func(b *testing.B) {
			for b.Loop() {
				relaysOf(b)
				parts := make([]Tunnel, 0, tunnels)
				ended := make(chan Result, tunnels)
				fars := make([]Stream, 0, 2*tunnels)
				before := heap()
				for range tunnels {
					client, near := k.pair(b)
					service, nearService := tcpPair(b)
					tunnel := relaysOf(b).join(near, nearService, Limits{})
					tunnel.run(enderFunc(func(r Result) { ended <- r }))
					fars = append(fars, below(client), service)
					parts = append(parts, tunnel)
				}
				far := uint64(2*tunnels) * farWeight(b)
				for _, tunnel := range parts {
					inside(tunnel, func(p *parked) {
						p.last = p.relays.now() - restAfter
						p.check()
					})
				}
				b.ReportMetric((float64(heap())-float64(before)-float64(far))/tunnels, "heap-B/tunnel")
				for _, far := range fars {
					_ = far.Close()
				}
				for range tunnels {
					<-ended
				}
				runtime.KeepAlive(parts)
			}
		})
	}
}

// farWeight is what one TCP connection of the runtime's weighs.
func farWeight(b *testing.B) uint64 {
	const n = 200
	conns := make([]Stream, 0, 2*n)
	before := heap()
	for range n {
		x, y := tcpPair(b)
		conns = append(conns, x, y)
	}
	weight := (heap() - before) / (2 * n)
	for _, c := range conns {
		_ = c.Close()
	}
	return weight
}

// heap is what is reachable.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // pools keep theirs through one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkFullGC is the processor time of a collection that has been forced, in
// a process that does nothing else: with 50,000 tunnels of our own record layer
// that rest and have no descriptors, and with 4,000 that have them.
func BenchmarkFullGC(b *testing.B) {
	b.Run("tunnels=0", measureGC)
	b.Run("tunnels=50000/descriptors=none", func(b *testing.B) {
		relays := relaysOf(b)
		tunnels := make(map[int]*parked, 50_000)
		for i := range 50_000 {
			tunnels[i] = restingTunnel(b, relays)
		}
		measureGC(b)
		for _, t := range tunnels {
			relays.due.Clear(&t.due)
		}
	})
	b.Run("tunnels=4000/descriptors=real", func(b *testing.B) {
		var fars []Stream
		ended := make(chan Result, 4000)
		for range 4000 {
			client, near := tcpPair(b)
			service, nearService := tcpPair(b)
			relaysOf(b).join(near, nearService, Limits{}).run(enderFunc(func(r Result) { ended <- r }))
			fars = append(fars, client, service)
		}
		measureGC(b)
		for _, far := range fars {
			_ = far.Close()
		}
		for range cap(ended) {
			<-ended
		}
	})
}

// restingTunnel is one after restAfter, but for its descriptors.
func restingTunnel(b *testing.B, relays *Relays) *parked {
	codec := new(directCodec)
	secret := noise(32, 1)
	if err := codec.layer.Start(record.Server, 0x1301, secret, secret, 0); err != nil {
		b.Fatal(err)
	}
	t := &parked{relays: relays, limits: Limits{}.withDefaults(), codec: codec}
	t.client.fd, t.service.fd = -1, -1
	t.up.isUp = true
	t.last = relays.now() - restAfter
	t.check()
	return t
}

func measureGC(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC()
	runtime.GC()
	var wall time.Duration
	before := processCPU(b)
	for b.Loop() {
		began := time.Now()
		runtime.GC()
		wall += time.Since(began)
	}
	spent := processCPU(b) - before
	b.ReportMetric(spent.Seconds()*1e3/float64(b.N), "cpu-ms/gc")
	b.ReportMetric(wall.Seconds()*1e3/float64(b.N), "ms/gc")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
}
