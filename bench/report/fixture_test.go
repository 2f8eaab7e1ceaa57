package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/exchange"
	"github.com/sallyport/sallyport/bench/load"
)

// The fixture is a benchmark that never was: 1,500 devices are woken within 40 s
// through two gateways in turns, five rounds, with a gateway that spends its
// processor and another that is a fifth slower. It is the same each time.

var fixtureBegan = time.Date(2026, 11, 22, 22, 45, 1, 0, time.UTC)

const (
	fixtureRamp    = 5
	fixtureSustain = 50
	fixtureDown    = 5
	fixtureDevices = 1500
)

// storm is a copy that its caller may change.
func storm() *Report {
	return copied(reflect.ValueOf(madeStorm())).Interface().(*Report)
}

// copied copies all that can be reached by exported fields. Times and histograms are
// shared: nobody changes them.
func copied(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		out.Set(copied(v.Elem()).Addr())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && holdsMore(v.Field(i).Kind()) {
				out.Field(i).Set(copied(v.Field(i)))
			}
		}
	case reflect.Slice:
		out.Set(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v))
		for i := range v.Len() {
			if holdsMore(v.Type().Elem().Kind()) {
				out.Index(i).Set(copied(v.Index(i)))
			}
		}
	case reflect.Map:
		out.Set(reflect.MakeMap(v.Type()))
		for k, e := range v.Seq2() {
			out.SetMapIndex(k, e)
		}
	}
	return out
}

func holdsMore(k reflect.Kind) bool {
	return k == reflect.Struct || k == reflect.Slice || k == reflect.Map
}

var madeStorm = sync.OnceValue(makeStorm)

func makeStorm() *Report {
	random := rand.New(rand.NewPCG(7, 7))
	r := &Report{
		Format: Format, ID: "20261122T224501Z-3f9a", Began: fixtureBegan, Version: "0.9.0", Commit: "1099efe",
		Command: []string{"sallyport", "bench", "run", "storm", "--to", "socks5+tls://gw.example.com:443?name=sallyport&tickets=[secret]",
			"--compare", "tls://gw.example.com:8443?name=haproxy", "--sink", "10.0.0.9:7400", "--devices", "1500", "--within", "40s"},
		Endpoints: []string{"sallyport", "haproxy"},
		Plan: load.Plan{
			Scenario: load.Scenario{Kind: "storm", Devices: fixtureDevices, Ramp: fixtureRamp * time.Second,
				Sustain: fixtureSustain * time.Second, Down: fixtureDown * time.Second, Within: 40 * time.Second,
				Warm: 0.25, UpBytes: 1024, DownBytes: 20 << 10, Poisson: true},
			Endpoint: load.Endpoint{Name: "sallyport", Way: "socks", Address: "gw.example.com:443"},
			Service:  "10.0.0.9:7401", Of: 1, Seed: 7, MaxInFlight: 10000, Patience: time.Minute,
		},
		Marks: []string{"virtual devices: eth0 of client 1 is virtio, so its line rate is unknown"},
	}
	began := fixtureBegan.Add(10 * time.Second)
	for n := 1; n <= 5; n++ {
		for i, endpoint := range r.Endpoints {
			r.Rounds = append(r.Rounds, fixtureRound(random, n, endpoint, 1+0.22*float64(i), began))
			began = began.Add(75 * time.Second)
		}
	}
	r.Ended = began
	fixtureHosts(random, r)
	fixtureFigures(r)
	fixtureConclusions(r)
	return r
}

func fixtureRound(random *rand.Rand, number int, endpoint string, slower float64, began time.Time) Round {
	round := Round{Number: number, Endpoint: endpoint, Load: fixtureDevices, Began: began,
		Sustain: began.Add(fixtureRamp * time.Second), Ended: began.Add(60 * time.Second),
		Service: exchange.Account{Connections: 1130, Asks: 3000, Up: 4 << 20, Down: 33 << 20, Busy: 3 * time.Second, Waited: 19 * time.Second},
		Limit:   Limit{Endpoint: endpoint, Resource: "gateway CPU", Says: "The gateway's cores were busy."},
	}
	wobble := slower * (0.95 + 0.1*random.Float64())
	ops := []load.Operation{{Name: "setup"}, {Name: "wake"}}
	result := &round.Result
	for s := range fixtureRamp + fixtureSustain + fixtureDown {
		second := fixtureSecond(random, s, wobble, began, ops, result)
		result.Seconds = append(result.Seconds, second)
	}
	result.Scheduled = fixtureDevices
	result.Failures = map[string]uint64{"timeout": uint64(number % 3), "reset": uint64(float64(2) * slower * random.Float64() * 2)}
	for _, n := range result.Failures {
		result.Failed += n
	}
	result.Done = result.Scheduled - result.Failed
	result.Operations = ops
	result.Handshakes, result.Resumed = 1130, 1130/3
	result.Sustain = fixtureSustain * time.Second
	result.Up, result.Down = 1500<<10, 33<<20
	return round
}

// fixtureSecond has the wave come, queue up and ebb away.
func fixtureSecond(random *rand.Rand, s int, wobble float64, began time.Time, ops []load.Operation, result *load.Result) load.Second {
	second := load.Second{At: began.Add(time.Duration(s) * time.Second)}
	wave := 0.0
	if s >= fixtureRamp && s < fixtureRamp+40 {
		wave = fixtureDevices / 40.
	}
	if wave > 0 {
		// Two seconds that follow each other have two waves together, unevenly.
		second.Scheduled = []uint64{35, 40, 38, 37}[(s-fixtureRamp)%4]
		second.Done = second.Scheduled - random.Uint64N(2)
	}
	if s%17 == 3 && wave > 0 {
		second.Failed = 1
	}
	queue := 1 + 6*math.Exp(-math.Pow(float64(s-22)/6, 2))
	var all []time.Duration
	for range second.Scheduled {
		d := time.Duration(float64(38*time.Millisecond) * queue * wobble * math.Exp(0.55*random.NormFloat64()))
		if random.Float64() < 0.006 {
			d *= 12
		}
		all = append(all, d)
		ops[1].Latency.Record(d)
		ops[1].Service.Record(d / 30)
		slip := time.Duration(60+40*random.Float64()) * time.Microsecond
		ops[1].Slip.Record(slip)
		if random.Float64() < 0.75 {
			ops[0].Latency.Record(d / 3)
			ops[0].Slip.Record(slip)
			ops[0].Within10s++
			ops[0].Within30s++
		}
		if d <= 10*time.Second {
			ops[1].Within10s++
		}
		if d <= 30*time.Second {
			ops[1].Within30s++
		}
		second.Slip = max(second.Slip, slip)
	}
	if slices.Sort(all); len(all) > 0 {
		second.P50, second.P99, second.Max = all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
	}
	second.InFlight = int64(wave * queue * wobble * 0.08)
	second.Tunnels = 375 + int64(28*max(0, min(s-fixtureRamp, 40)))
	second.Up, second.Down = second.Done<<10, second.Done*22<<10
	return second
}

func fixtureHosts(random *rand.Rand, r *Report) {
	sysctls := map[string]string{"net.core.somaxconn": "4096", "net.core.rmem_max": "212992",
		"net.ipv4.tcp_congestion_control": "cubic", "net.ipv4.ip_local_port_range": "32768 60999"}
	host := func(role, name string, cores int, kind string, speed int64) Host {
		h := Host{Role: role, Offset: 1300 * time.Microsecond, Uncertain: 90 * time.Microsecond, Host: evidence.Host{
			Name: name, Kernel: "6.8.0-45-generic", CPU: "AMD EPYC 7443P 24-Core Processor", Cores: cores, Nodes: 1,
			MemoryKiB: 32 << 20, Governor: "performance", Files: 1 << 20, Sysctls: sysctls,
			Interfaces: []evidence.Interface{{Name: "eth0", Kind: kind, Driver: map[string]string{"physical": "mlx5_core", "virtio": "virtio_net"}[kind],
				MTU: 1500, Up: true, SpeedMbit: speed, Duplex: "full", Node: 0, Queues: evidence.Pair{RX: cores, TX: cores},
				Rings: evidence.Pair{RX: 1024, TX: 1024}, RingsMax: evidence.Pair{RX: 8192, TX: 8192}, Channels: cores, ChannelsMax: 48,
				Offloads: map[string]bool{"tx-tcp-segmentation": true, "rx-gro": true, "rx-lro": false, "tx-udp-segmentation": kind == "physical"},
				Qdiscs:   []evidence.Qdisc{{Kind: "fq", Handle: "8001:", Parent: "root"}}}},
		}}
		for c := range cores {
			h.Allowed = append(h.Allowed, c)
		}
		return h
	}
	r.Hosts = []Host{host("client 1", "load-1", 4, "virtio", 0), host("sink", "sink-1", 2, "physical", 10000), host("gateway", "gw-1", 4, "physical", 10000)}
	r.Hosts[0].Gaps = []evidence.Gap{{What: "driver counters of eth0", Why: "not known to this driver"}}
	r.Hosts[2].Advice = []evidence.Advice{{Interface: "eth0", Finding: "receive ring 1,024 of 8,192", Why: "A burst that does not fit the ring is dropped before the kernel sees it.", Command: "ethtool -G eth0 rx 8192"}}
	for i := range r.Hosts {
		for _, round := range r.Rounds {
			for s := range 60 {
				r.Hosts[i].Samples = append(r.Hosts[i].Samples, fixtureSample(random, &r.Hosts[i], &round, s))
			}
		}
	}
}

func fixtureSample(random *rand.Rand, h *Host, round *Round, s int) evidence.Sample {
	second := round.Result.Seconds[s]
	busy := map[string]float64{"client 1": 0.1, "sink": 0.08, "gateway": 0.85}[h.Role] * float64(second.Done) / 40
	sample := evidence.Sample{At: round.Began.Add(time.Duration(s)*time.Second + h.Offset + 400*time.Millisecond), Took: time.Second, MemoryFree: 20 << 20}
	for c := range h.Cores {
		b := min(busy*(0.9+0.2*random.Float64()), 0.99)
		core := evidence.Core{ID: c, User: b * 0.55, System: b * 0.3, SoftIRQ: b * 0.1, Steal: 0.01}
		if c == 0 {
			core.SoftIRQ += 0.12 * busy
		}
		core.Idle = max(0, 1-core.User-core.System-core.SoftIRQ-core.Steal)
		sample.Cores = append(sample.Cores, core)
	}
	bits := second.Down * 8 * 106 / 100
	sample.Interfaces = []evidence.Traffic{{Name: "eth0", RXBytes: bits / 8, TXBytes: bits / 80, WireRX: bits, WireTX: bits / 9, RXPackets: bits / 12000, TXPackets: bits / 24000}}
	if h.Role == "gateway" {
		rss := 61000 + 9*second.Tunnels
		sample.Processes = []evidence.Process{
			{Role: "gateway", PID: 4711, Cores: 4 * min(busy, 0.99), RSSKiB: rss, Threads: 14, Files: int(2 * second.Tunnels)},
			{Role: "gateway haproxy", PID: 4712, Cores: 4 * min(busy, 0.99), RSSKiB: rss + 9000, Threads: 4, Files: int(2 * second.Tunnels)},
		}
		if s > 18 && s < 28 {
			sample.Qdiscs = []evidence.QdiscTraffic{{Interface: "eth0", Kind: "fq", Handle: "8001:", Overlimits: uint64(random.IntN(40)), Backlog: uint64(random.IntN(90000))}}
		}
	}
	return sample
}

func fixtureFigures(r *Report) {
	figures := func(name, unit, better string, of func(*load.Result) float64) {
		var both []Figure
		for _, endpoint := range r.Endpoints {
			var values []float64
			for i := range r.Rounds {
				if r.Rounds[i].Endpoint == endpoint {
					values = append(values, of(&r.Rounds[i].Result))
				}
			}
			both = append(both, NewFigure(endpoint, name, unit, better, values))
		}
		r.Figures = append(r.Figures, both...)
		r.Ratios = append(r.Ratios, NewRatio(both[0], both[1]))
	}
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999} {
		figures(fmt.Sprintf("wake p%v", 100*q), "ms", "lower", func(l *load.Result) float64 { return milliseconds(l.Operations[1].Latency.Quantile(q)) })
	}
	figures("wake max", "ms", "lower", func(l *load.Result) float64 { return milliseconds(l.Operations[1].Latency.Max()) })
	figures("setup p99", "ms", "lower", func(l *load.Result) float64 { return milliseconds(l.Operations[0].Latency.Quantile(0.99)) })
	figures("done", "/s", "higher", func(l *load.Result) float64 { return float64(l.Done) / l.Sustain.Seconds() })
	figures("failed", "%", "lower", func(l *load.Result) float64 { return 100 * float64(l.Failed) / float64(l.Scheduled) })
	figures("throughput of bodies", "Mbit/s", "higher", func(l *load.Result) float64 { return float64(l.Up+l.Down) * 8e-6 / l.Sustain.Seconds() })
	figures("gateway memory per tunnel", "KiB", "lower", func(l *load.Result) float64 {
		return 8 + milliseconds(l.Operations[1].Latency.Quantile(0.5))/50
	})
}

func fixtureConclusions(r *Report) {
	r.Verdicts = []Verdict{
		{Endpoint: "sallyport", Objective: "99 % done within 10 s", Limit: 99, Value: 99.93, Unit: "%", Met: true},
		{Endpoint: "sallyport", Objective: "wake p99 at most 2 s", Limit: 2000, Value: r.figure("sallyport", "wake p99").Median, Unit: "ms", Met: true},
		{Endpoint: "haproxy", Objective: "wake p99 at most 400 ms", Limit: 400, Value: r.figure("haproxy", "wake p99").Median, Unit: "ms"},
	}
	r.Limits = []Limit{
		{Endpoint: "sallyport", Resource: "gateway CPU", Says: "The gateway's four cores were busy while the wave was at its height.",
			Evidence: []string{"gateway process 3.6 of 4 cores, median of seconds 18–28 (/proc/4711)", "core 0: 21 % softirq (/proc/stat)"}},
		{Endpoint: "haproxy", Resource: "schedule", Says: "The load asked for was served: raise it.", Evidence: []string{"started 1,500 of 1,500 within 1 ms"}},
	}
	r.Knees = []Knee{
		{Endpoint: "sallyport", Load: 2250, Unit: "devices", Above: 2500, Tries: fixtureTries(2250, 66, 1500, 3000, 2250, 2500)},
		{Endpoint: "haproxy", Load: 1800, Unit: "devices", Above: 1900, Tries: fixtureTries(1800, 80, 1500, 3000, 1800, 1900)},
	}
	r.Sizing = []Size{
		{What: "devices per node within a 10 s budget", Value: 16800, Reckoned: "60 syncs per processor second × 4 cores × 10 s × 0.7 in reserve × 10"},
		{What: "idle tunnels in 16 GiB", Value: 1.9e6, Reckoned: "16 GiB ÷ 8.8 KiB per tunnel (median of 5 rounds), nothing in reserve"},
	}
	r.Calibration = []Calibration{
		{Name: "generator alone", Value: 48000, Unit: "/s", Says: "An operation that does nothing; slip p99 0.2 ms."},
		{Name: "direct run", Value: 2.1, Unit: "ms", Says: "p50 of an exchange without gateway."},
	}
}

// fixtureTries get slower with the square of the load.
func fixtureTries(knee, p50 float64, loads ...float64) []Try {
	var out []Try
	for _, load := range loads {
		slower := (load / fixtureDevices) * (load / fixtureDevices)
		t := Try{Load: load, Met: load <= knee, P50: time.Duration(p50 * slower * 1e6), P99: time.Duration(p50 * slower * 14e6)}
		if !t.Met {
			t.Reason = fmt.Sprintf("wake p99 %.1f s, over 2 s", t.P99.Seconds())
		}
		out = append(out, t)
	}
	return out
}
