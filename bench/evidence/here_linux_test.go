package evidence

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// alone runs the test once more, in namespaces of its own for network and mounts, and
// returns true there, with /sys not yet its own. It needs no privilege where users may
// make namespaces, as on Debian.
func alone(t *testing.T) bool {
	t.Helper()
	const mark = "SALLYPORT_EVIDENCE_ALONE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	again := exec.Command(os.Args[0], "-test.run=^"+regexp.QuoteMeta(t.Name())+"$", "-test.v", "-test.count=1", "-test.timeout=30s")
	again.Env = append(os.Environ(), mark+"="+t.Name())
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// The signal comes when the thread that started it is gone, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := again.CombinedOutput()
	switch exit := (*exec.ExitError)(nil); {
	case err == nil && strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Logf("%s", out)
	case errors.As(err, &exit) || err == nil:
		t.Errorf("in its namespaces: %v\n%s", err, out)
	default:
		t.Errorf("namespaces are needed, which this user may not make here: %v", err)
	}
	return false
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair makes a veth pair, near and far, that neither IPv6 nor anybody else talks on, and
// returns its two ends.
func pair(t *testing.T) (near, far netlink.Link) {
	t.Helper()
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0))
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "near"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far"}))
	near, err := netlink.LinkByName("near")
	must(t, err)
	far, err = netlink.LinkByName("far")
	must(t, err)
	raise(t, near, far)
	return near, far
}

// raise sets the ends of a pair up, and waits until they are: the kernel says so by and
// by, once a carrier has come, and a busy one takes a second for it.
func raise(t *testing.T, ends ...netlink.Link) {
	t.Helper()
	updates, done := make(chan netlink.LinkUpdate), make(chan struct{})
	must(t, netlink.LinkSubscribe(updates, done))
	wait := make(map[string]bool)
	for _, end := range ends {
		must(t, netlink.LinkSetUp(end))
		wait[end.Attrs().Name] = true
	}
	for update := range updates {
		if at := update.Link.Attrs(); at.OperState == netlink.OperUp {
			delete(wait, at.Name)
		}
		if len(wait) == 0 {
			break
		}
	}
	close(done)
	for range updates { // ends when the subscription has
	}
	if len(wait) > 0 {
		t.Fatalf("not up: %v", wait)
	}
}

// neighbour gives near an address, and one beyond it that needs no asking for.
func neighbour(t *testing.T, near, far netlink.Link) *net.UDPAddr {
	t.Helper()
	beyond := net.IPv4(10, 9, 9, 2)
	must(t, netlink.AddrAdd(near, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 9, 9, 1), Mask: net.CIDRMask(24, 32)}}))
	must(t, netlink.NeighAdd(&netlink.Neigh{
		LinkIndex: near.Attrs().Index, State: netlink.NUD_PERMANENT, IP: beyond, HardwareAddr: far.Attrs().HardwareAddr,
	}))
	return &net.UDPAddr{IP: beyond, Port: 9}
}

// A link held to 1 Gbit/s is seen to be, and so is what waits before it.
func TestShapedPair(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	const gigabit = 1_000_000_000
	near, far := pair(t)
	must(t, unix.Mount("sysfs", "/sys", "sysfs", 0, ""))
	must(t, netlink.QdiscAdd(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: near.Attrs().Index, Handle: netlink.MakeHandle(0x10, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       gigabit / 8, Limit: 1 << 20, Buffer: netlink.Xmittime(gigabit/8, 64<<10),
	}))
	h, err := Look(t.Context())
	must(t, err)
	at := slices.IndexFunc(h.Interfaces, func(in Interface) bool { return in.Name == "near" })
	if at < 0 {
		t.Fatalf("interfaces %+v", h.Interfaces)
	}
	in := h.Interfaces[at]
	if in.Kind != "veth" || in.Driver != "veth" || in.SpeedMbit != 0 || !in.Up || in.MTU != 1500 || in.Queues != (Pair{1, 1}) {
		t.Errorf("%+v", in)
	}
	if _, known := in.Offloads["rx-gro"]; !known {
		t.Errorf("offloads %v", in.Offloads)
	}
	if want := []Qdisc{{"tbf", "10:", "root", gigabit}}; !slices.Equal(in.Qdiscs, want) {
		t.Errorf("qdiscs %+v, want %+v", in.Qdiscs, want)
	}

	sampler := NewSampler(Watched{"us", os.Getpid()})
	sample(t, sampler)
	stop, sent := flood(t, neighbour(t, near, far))
	var all QdiscTraffic
	var packets, received uint64
	add := func() (waiting uint64) {
		s := sample(t, sampler)
		for _, q := range s.Qdiscs {
			if q.Interface == "near" {
				all.Bytes, all.Overlimits = all.Bytes+q.Bytes, all.Overlimits+q.Overlimits
				waiting = q.Backlog
			}
		}
		for _, l := range s.Interfaces {
			switch l.Name {
			case "near":
				packets += l.TXPackets
			case "far":
				received += l.RXPackets
			}
		}
		return waiting
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if waiting := add(); waiting > 0 && all.Overlimits > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing waits at a link that is flooded: %+v", all)
		}
	}
	close(stop)
	total := <-sent
	for deadline := time.Now().Add(10 * time.Second); packets < total && time.Now().Before(deadline); {
		add()
	}
	const onLink = payload + 8 + 20 + 14
	if packets != total || received != total || all.Bytes != total*onLink {
		t.Errorf("sent %d packets; the link sent %d and %d came, %d bytes went through the discipline, want %d", total, packets, received, all.Bytes, total*onLink)
	}
}

const payload = 1400

// flood sends as fast as the socket takes it, until stop is closed; then it says how
// many packets it sent.
func flood(t *testing.T, to *net.UDPAddr) (stop chan<- struct{}, sent <-chan uint64) {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, to)
	must(t, err)
	must(t, conn.SetWriteBuffer(64<<10)) // less than the discipline holds: it is to drop nothing
	t.Cleanup(func() { conn.Close() })
	end, said := make(chan struct{}), make(chan uint64, 1)
	go func() {
		packet, count := make([]byte, payload), uint64(0)
		for {
			select {
			case <-end:
				said <- count
				return
			default:
			}
			if _, err := conn.Write(packet); err == nil {
				count++
			}
		}
	}()
	return end, said
}

// A class of htb is held to its ceiling, and is counted by itself.
func TestClass(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	near, _ := pair(t)
	index := near.Attrs().Index
	must(t, netlink.QdiscAdd(netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT})))
	must(t, netlink.ClassAdd(netlink.NewHtbClass(
		netlink.ClassAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0x10), Parent: netlink.MakeHandle(1, 0)},
		netlink.HtbClassAttrs{Rate: 500_000_000, Ceil: 800_000_000},
	)))
	h, err := Look(t.Context())
	must(t, err)
	want := []Qdisc{{"htb", "1:", "root", 0}, {"htb class", "1:10", "root", 800_000_000}}
	for _, in := range h.Interfaces {
		if in.Name == "near" && !slices.Equal(in.Qdiscs, want) {
			t.Errorf("qdiscs %+v, want %+v", in.Qdiscs, want)
		}
	}
	s := NewSampler()
	sample(t, s)
	got := sample(t, s).Qdiscs
	if !slices.ContainsFunc(got, func(q QdiscTraffic) bool { return q.Kind == "htb class" && q.Handle == "1:10" && q.Interface == "near" }) {
		t.Errorf("%+v", got)
	}
}

// /sys is still of the namespace that the test came from: of near it shows nothing, and
// that is said.
func TestSysOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	pair(t)
	h, err := Look(t.Context())
	must(t, err)
	if got := gapOf(h.Gaps, "near: /sys (speed, interrupts, queues)"); got != "this kernel does not show it" {
		t.Errorf("gap %q among %+v", got, h.Gaps)
	}
}

// An interface goes away in the middle of a run, and the run goes on.
func TestInterfaceGoes(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	near, _ := pair(t)
	s := NewSampler()
	sample(t, s)
	must(t, netlink.LinkDel(near))
	got := sample(t, s)
	if why := gapOf(got.Gaps, "interfaces: near, far"); why != "it is gone" && gapOf(got.Gaps, "interfaces: far, near") != "it is gone" {
		t.Errorf("gaps %+v", got.Gaps)
	}
	if len(got.Interfaces) != 1 || got.Interfaces[0].Name != "lo" {
		t.Errorf("%+v", got.Interfaces)
	}
	if again := sample(t, s); slices.ContainsFunc(again.Gaps, func(g Gap) bool { return strings.HasPrefix(g.What, "interfaces") }) {
		t.Errorf("gaps %+v", again.Gaps)
	}
}

// What this machine says of itself, by another way where there is one.
func TestHere(t *testing.T) {
	t.Parallel()
	h, err := Look(t.Context())
	must(t, err)
	name, err := os.Hostname()
	must(t, err)
	if h.Name != name || len(h.Allowed) != runtime.NumCPU() || h.Cores < len(h.Allowed) || h.MemoryKiB == 0 || h.CPU == "" {
		t.Errorf("%+v", h)
	}
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	if h.Files != limit.Max {
		t.Errorf("%d files, want %d", h.Files, limit.Max)
	}
	list, err := net.Interfaces()
	must(t, err)
	for _, want := range list {
		at := slices.IndexFunc(h.Interfaces, func(in Interface) bool { return in.Name == want.Name })
		if at < 0 || h.Interfaces[at].MTU != want.MTU || (h.Interfaces[at].Kind == "loopback") != (want.Flags&net.FlagLoopback != 0) {
			t.Errorf("%s is not what it is, or not there: %+v", want.Name, h.Interfaces)
		}
	}
}

// The processor time of this process lies between what it says itself before and after.
func TestProcessor(t *testing.T) {
	t.Parallel()
	own := func() time.Duration {
		var spent unix.Rusage
		must(t, unix.Getrusage(unix.RUSAGE_SELF, &spent))
		return time.Duration(spent.Utime.Nano() + spent.Stime.Nano())
	}
	const some = 100 * time.Millisecond
	for deadline := time.Now().Add(10 * time.Second); own() < some && time.Now().Before(deadline); {
	}
	before := own()
	got, err := new(asked).processor(os.Getpid())
	after := own()
	const unlike = 20 * time.Millisecond // getrusage adds up threads at different moments
	if err != nil || before < some || got < before-unlike || got > after+unlike {
		t.Errorf("%v, %v; getrusage says %v before and %v after", got, err, before, after)
	}
}

// A process that is watched ends: as long as nobody has waited for it, and afterwards.
func TestRealProcessEnds(t *testing.T) {
	t.Parallel()
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	must(t, err)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	s := NewSampler(Watched{"child", child.Process.Pid})
	if p := sample(t, s).Processes; len(p) != 1 || p[0].RSSKiB == 0 || p[0].Threads != 1 || p[0].Files < 3 {
		t.Errorf("%+v", p)
	}
	must(t, in.Close())
	_, err = io.Copy(io.Discard, out) // ends when it does
	must(t, err)
	must(t, child.Wait())
	got := sample(t, s)
	if len(got.Processes) != 0 || !slices.ContainsFunc(got.Gaps, func(g Gap) bool { return strings.HasPrefix(g.What, "child") && g.Why == "the process has ended" }) {
		t.Errorf("%+v, gaps %+v", got.Processes, got.Gaps)
	}
}

// Cost of a sample, which is taken every second beside what is measured: a few
// milliseconds at most.
//
//	go test -run '^$' -bench Sample -benchmem ./bench/evidence
func BenchmarkSample(b *testing.B) {
	s := NewSampler(Watched{"us", os.Getpid()})
	for b.Loop() {
		if _, err := s.Sample(); err != nil {
			b.Fatal(err)
		}
	}
}
