package evidence

import (
	"errors"
	"maps"
	"math"
	"slices"
	"testing"
)

func TestParseCores(t *testing.T) {
	t.Parallel()
	// Core 1 is offline; the kernel before steal and guests had fewer columns.
	got := parseCores([]byte("cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 20 30 4000 50 6 7 8 15 2\ncpu2 1 2 3 4\ncpu3 1 1 1 1 1 1 1 1\nintr 5 5\ncpufreq 1 1 1 1 1 1 1 1\n"))
	want := map[int]coreTimes{
		0: {user: 120, system: 30, idle: 4050, irq: 6, softirq: 7, steal: 8},
		3: {user: 2, system: 1, idle: 2, irq: 1, softirq: 1, steal: 1},
	}
	if !maps.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestParseSoftnet(t *testing.T) {
	t.Parallel()
	dropped, squeezed, err := parseSoftnet([]byte("0756bfa6 0000000a 000003b5 00000000\n065f9c12 000000ff 00000001 00000000 00000000\n"))
	if dropped != 0x109 || squeezed != 0x3b6 || err != nil {
		t.Errorf("dropped %d, squeezed %d, %v", dropped, squeezed, err)
	}
	if _, _, err := parseSoftnet([]byte("0756bfa6 zz 0\n")); !errors.Is(err, errNotThere) {
		t.Errorf("a line that is no hex: %v", err)
	}
}

// Columns are found by name: a kernel that has one more in front changes nothing.
func TestParseColumns(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 2 3\nIpExt: A\nIpExt: 7\n",
		"TcpExt: New SyncookiesSent Newer ListenOverflows ListenDrops\nTcpExt: 9 1 9 2 3\nIpExt: A\nIpExt: 7\n",
		"Tcp: MaxConn\nTcp: -1\nTcpExt: ListenOverflows ListenDrops Missing\nTcpExt: 2 3\n",
	} {
		got := parseColumns([]byte(text))
		if got["TcpExt ListenOverflows"] != 2 || got["TcpExt ListenDrops"] != 3 {
			t.Errorf("%q: %v", text, got)
		}
		for _, absent := range []string{"Tcp MaxConn", "TcpExt Missing"} {
			if value, there := got[absent]; there {
				t.Errorf("%q: %s is %d", text, absent, value)
			}
		}
	}
}

func TestParseInterrupts(t *testing.T) {
	t.Parallel()
	x86 := "           CPU0       CPU1\n  0:  9  0  IO-APIC   2-edge      timer\n 41:  19797  0 PCI-MSIX-0000:3b:00.0   1-edge      mlx5_comp0@pci:0000:3b:00.0\n 42: 1 2 IR-PCI-MSI 524289-edge      eth0-TxRx-1, usb 2\n 43: 0 0 PCI-MSI 5-edge\nNMI: 1 2 Non-maskable interrupts\nERR: 0\n"
	arm := "      CPU0  CPU1  CPU2\n 13: 1 2 3 GICv3  27 Level     arch_timer\n 52: 0 7 0 ITS-MSI 524289 Edge      eth0-rx-1\n"
	if got, want := parseInterrupts([]byte(x86)), (map[int]string{0: "timer", 41: "mlx5_comp0@pci:0000:3b:00.0", 42: "eth0-TxRx-1, usb 2"}); !maps.Equal(got, want) {
		t.Errorf("x86: %v", got)
	}
	if got, want := parseInterrupts([]byte(arm)), (map[int]string{13: "arch_timer", 52: "eth0-rx-1"}); !maps.Equal(got, want) {
		t.Errorf("arm: %v", got)
	}
}

func TestParseList(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]int{
		"0-3,8\n": {0, 1, 2, 3, 8}, "5": {5}, "": {}, "\n": {}, "4,0-1,1": {0, 1, 4},
	} {
		if got, err := parseList(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"3-1", "-1", "a", "0-99999999", "0-60000,0-60000", "1-", "0x3"} {
		if got, err := parseList(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestParseProcess(t *testing.T) {
	t.Parallel()
	rest := " 1 7 7 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 12 0 57055 1000 200 18446744073709551615"
	for _, name := range []string{"(sallyport)", "(a b)", "(x) S 1 (y)", "()) R)"} {
		got, err := parseProcess([]byte("42 " + name + " S" + rest))
		if want := (processStat{state: 'S', threads: 12, began: 57055}); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, text := range []string{"", "42 (a) S", "42 a S" + rest, "42 (a) S 1 7 7 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 x 0 57055"} {
		if got, err := parseProcess([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestParseSmallThings(t *testing.T) {
	t.Parallel()
	if model, virtual := parseProcessor([]byte("processor : 0\nmodel name\t: Xeon: Gold\nflags\t\t: fpu hypervisor aes\nmodel name\t: second\n")); model != "Xeon: Gold" || !virtual {
		t.Errorf("x86: %q, %v", model, virtual)
	}
	if model, virtual := parseProcessor([]byte("CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n")); model != "implementer 0x41, part 0xd0c" || virtual {
		t.Errorf("arm: %q, %v", model, virtual)
	}
	for text, want := range map[string]uint64{"Max open files            1024       20000     files\n": 20000, "Max open files  5  unlimited files": math.MaxUint64} {
		if got, err := parseFiles([]byte(text)); got != want || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]float64{"150000 100000\n": 1.5, "max 100000\n": 0} {
		if got, err := parseQuota([]byte(text)); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "1 0", "x 5"} {
		if got, err := parseQuota([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// FuzzProc feeds every parser. None may panic, run away, or find what cannot be.
func FuzzProc(f *testing.F) {
	for _, seed := range []string{
		"cpu0 100 20 30 4000 50 6 7 8 15 2\ncpu99999999999 1", "0756bfa6 0000000a 000003b5\n",
		"TcpExt: A B\nTcpExt: 1\nTcpExt: 2 3\nno colon\nTcpExt: 4\n", "MemTotal:  24 kB\nUdp6RcvbufErrors \t3\n:",
		" CPU0\n 1: 2 IO-APIC 3 Edge name\n99: 1\n", "0-3,8,,65535", "model name : x\nflags: hypervisor\n",
		"Max open files  1 2 files", "7 (a) b) S 1 7 7 0 -1 4 1 0 0 0 5 6 0 0 20 0 12 0 57055 1", "9 8 7", "max 1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for id := range parseCores(text) {
			if id < 0 || id > lastCore {
				t.Errorf("core %d", id)
			}
		}
		if list, err := parseList(string(text)); err == nil {
			if len(list) > lastCore+1 || !slices.IsSorted(list) || len(list) > 0 && (list[0] < 0 || list[len(list)-1] > lastCore) {
				t.Errorf("list of %d cores", len(list))
			}
		}
		if p, err := parseProcess(text); err == nil && p.state == 0 {
			t.Error("a process in no state")
		}
		if cores, err := parseQuota(text); err == nil && (cores < 0 || math.IsNaN(cores) || math.IsInf(cores, 0)) {
			t.Errorf("a quota of %v", cores)
		}
		for number, name := range parseInterrupts(text) {
			if number < 0 || name == "" {
				t.Errorf("interrupt %d %q", number, name)
			}
		}
		_, _, _ = parseSoftnet(text)
		parseColumns(text)
		parsePairs(text)
		parseProcessor(text)
		_, _ = parseFiles(text)
		_, _ = parseStatm(text)
	})
}
