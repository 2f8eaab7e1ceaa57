package gateway

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// All of 127.0.0.0/8 is the machine's, on Linux.
var (
	here   = netip.MustParseAddr("127.0.0.1")
	second = netip.MustParseAddr("127.0.0.2")
	third  = netip.MustParseAddr("127.0.0.3")
	nobody = netip.MustParseAddr("192.0.2.1") // RFC 5737
)

func TestPortsLowIsToldOnce(t *testing.T) {
	at := pair{here, netip.MustParseAddrPort("192.0.2.25:443")}
	other := pair{second, at.to}
	p := ports{size: 10}
	enter := func(n int) (told int) {
		for range n {
			if p.enter(at) {
				told++
			}
		}
		return told
	}
	leave := func(n int) {
		for range n {
			p.leave(at)
		}
	}
	for i, step := range []struct {
		leave, enter, told int
	}{
		{0, 8, 0}, {0, 1, 1}, {0, 1, 0}, // at nine tenths, and not again
		{2, 2, 0}, // eight tenths are not calm
		{3, 3, 1}, // seven are
		{10, 9, 1},
	} {
		if leave(step.leave); enter(step.enter) != step.told {
			t.Errorf("step %d: told otherwise than %d times", i, step.told)
		}
	}
	if p.enter(other) {
		t.Error("told of a source with one connection")
	}
	// There are more ports than there were: it is told when those run out.
	p.resize(20)
	if use, nearlyFull := p.look(at); nearlyFull || use != (PortUse{at.from, at.to, 9, 20}) {
		t.Errorf("%+v, %t", use, nearlyFull)
	}
	if told := enter(8); told != 0 {
		t.Errorf("told %d times with 17 of 20", told)
	}
	if told := enter(3); told != 1 {
		t.Errorf("told %d times with 20 of 20", told)
	}
	unknown := ports{}
	for range 100 {
		if unknown.enter(at) {
			t.Fatal("told, and nobody knows how many ports there are")
		}
	}
}

// What Ports tells are the fullest of all, in order.
func TestFullest(t *testing.T) {
	p := ports{used: make(map[pair]portCount)}
	var all []PortUse
	for i := range 1000 {
		use := PortUse{here, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), uint16(1+i)), 1 + rand.IntN(50), 0}
		all = append(all, use)
		p.used[pair{use.From, use.To}] = portCount{live: use.Live}
	}
	slices.SortStableFunc(all, func(a, b PortUse) int { return a.To.Compare(b.To) })
	slices.SortStableFunc(all, func(a, b PortUse) int { return b.Live - a.Live })
	if got := p.fullest(); !slices.Equal(got, all[:maxPortUses]) {
		t.Errorf("%v", got)
	}
	p = ports{}
	if got := p.fullest(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// Whatever comes and goes at once, the counts are right in the end.
func TestPortsAtOnce(t *testing.T) {
	sources := []netip.Addr{here, second, third}
	p := ports{size: 100}
	var working sync.WaitGroup
	for worker := range 8 {
		working.Go(func() {
			to := netip.AddrPortFrom(here, uint16(1+worker%2))
			var mine []pair
			for range 1000 {
				n, _ := p.enterFewest(sources, 0, to)
				mine = append(mine, pair{sources[n], to})
				if len(mine) > 10 {
					p.leave(mine[0])
					mine = mine[1:]
				}
				_ = p.fullest()
			}
			for _, at := range mine {
				p.leave(at)
			}
		})
	}
	working.Wait()
	if len(p.used) != 0 {
		t.Errorf("left over: %v", p.used)
	}
}

func TestCountPorts(t *testing.T) {
	for _, c := range []struct {
		within, reserved string
		want             int
	}{
		{"32768\t60999\n", "\n", 28232},
		{"40000\t40009\n", "40000,40008-40010,8080\n", 7},
		{"40000\t40009\n", "40000-40009\n", 0},
		{"40000\t40009\n", "40003,40003-40003,40003-40004\n", 8},
		{"1\t65535\n", "", 65535},
		{"40009\t40000\n", "", 0},
		{"40000\t70000\n", "", 0},
		{"40000", "", 0},
		{"", "", 0},
		{"40000\t40009\n", "x,40001-,-,40003-40002,99999,40004\n", 9},
	} {
		if got := countPorts(c.within, c.reserved); got != c.want {
			t.Errorf("%q less %q: %d, want %d", c.within, c.reserved, got, c.want)
		}
	}
}

func FuzzCountPorts(f *testing.F) {
	for _, seed := range [][2]string{
		{"32768\t60999\n", "\n"}, {"0 65535", "0-65535"}, {"40000\t40009\n", "40000,40008-40010,"}, {"1 2 3", "1-2-3"}, {"40000 40001", "0-65535\n"}, {"-1 5", "+1"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, within, reserved string) {
		all, free := countPorts(within, ""), countPorts(within, reserved)
		if free < 0 || free > all || all > 1<<16 {
			t.Errorf("%d of %d", free, all)
		}
		// One more that is reserved takes one, or none.
		for port := range 3 {
			if less := countPorts(within, reserved+","+strconv.Itoa(40000+port)); less > free || less < free-1 {
				t.Errorf("%d, and with one more reserved %d", free, less)
			}
		}
	})
}
