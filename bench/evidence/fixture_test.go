package evidence

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// lay puts the files of an archive into a folder of their own, links where a name ends
// in @, and returns the place that they make.
func lay(t *testing.T, archive string, k kernel) place {
	t.Helper()
	files, err := txtar.ParseFile(filepath.Join("testdata", archive))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, file := range files.Files {
		put(t, filepath.Join(root, file.Name), string(file.Data))
	}
	return place{procRoot: root + "/proc", sysRoot: root + "/sys", kernel: k}
}

// put writes a file, or a link if its name ends in @.
func put(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if link, is := strings.CutSuffix(path, "@"); err == nil && is {
		err = os.Symlink(strings.TrimSpace(text), link)
	} else if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// made is a kernel that answers what a test wants. What it was not told it does not
// offer.
type made struct {
	linkList  []link
	qdiscList []qdisc
	cards     map[string]func(*Interface)
	drivers   map[string]map[string]uint64
	spent     map[int]time.Duration
	err       error // of links and qdiscs
}

func (m *made) links() ([]link, error)   { return m.linkList, m.err }
func (m *made) qdiscs() ([]qdisc, error) { return m.qdiscList, m.err }

func (m *made) describe(in *Interface, missing func(string, error)) {
	if fill := m.cards[in.Name]; fill != nil {
		fill(in)
		return
	}
	for _, what := range []string{"driver", "rings", "channels"} {
		missing(what, syscall.EOPNOTSUPP)
	}
}

func (m *made) counters(name string) (map[string]uint64, error) {
	if all := m.drivers[name]; all != nil {
		return all, nil
	}
	return nil, syscall.EOPNOTSUPP
}

func (m *made) processor(pid int) (time.Duration, error) {
	if spent, known := m.spent[pid]; known {
		return spent, nil
	}
	return 0, errors.New("no clock")
}

// loopback is the interface that every host has.
var loopback = link{index: 1, name: "lo", loopback: true, up: true, mtu: 65536, queues: Pair{1, 1}}

// mlx5 is the kernel beneath testdata/mlx5.txtar: a card with two of sixteen channels in
// its table, rings a quarter of what they could be, a veth pair that says 10 Gbit/s, and
// a class of htb.
func mlx5() *made {
	return &made{
		linkList: []link{
			loopback,
			{index: 2, name: "ens1f0np0", address: "b8:3f:d2:00:00:01", bus: "pci", mtu: 1500, up: true, queues: Pair{126, 1024}},
			{index: 3, name: "veth0", address: "02:00:00:00:00:03", kind: "veth", mtu: 1500, up: true, queues: Pair{1, 1}},
		},
		qdiscList: []qdisc{
			{link: 2, kind: "htb", handle: "1:", parent: "root"},
			{link: 2, kind: "htb class", handle: "1:10", parent: "root", rateBit: 40e9},
			{link: 3, kind: "cake", handle: "8003:", parent: "root", unread: true},
		},
		cards: map[string]func(*Interface){"ens1f0np0": func(in *Interface) {
			in.Driver, in.Version, in.Firmware, in.Bus = "mlx5_core", "6.8.0-45-generic", "22.36.1010 (MT_0000000359)", "0000:3b:00.0"
			in.Rings, in.RingsMax = Pair{1024, 1024}, Pair{8192, 8192}
			in.Channels, in.ChannelsMax, in.Pause = 4, 16, "rx tx"
			in.RSSKey = "6d5a56da255b0ec2"
			in.Indirection = []uint32{0, 1, 0, 1, 0, 1, 0, 1}
			in.Offloads = map[string]bool{"tx-tcp-segmentation": false, "tx-generic-segmentation": true, "rx-gro": false, "rx-lro": true, "tls-hw-tx-offload": false}
		}},
		drivers: map[string]map[string]uint64{"ens1f0np0": {"rx_out_of_buffer": 5, "rx0_packets": 1000, "rx_pause_ctrl_phy": 1, "rx_prio0_pause": 1}},
	}
}

// ixgbe is the kernel beneath testdata/ixgbe.txtar, where nothing is to be mended.
func ixgbe() *made {
	return &made{
		linkList: []link{loopback, {index: 2, name: "eth2", address: "90:e2:ba:00:00:01", bus: "pci", mtu: 9000, up: true, queues: Pair{63, 63}}},
		qdiscList: []qdisc{
			{link: 2, kind: "mq", handle: "0:", parent: "root"},
			{link: 2, kind: "fq_codel", handle: "0:", parent: "0:1"}, {link: 2, kind: "fq_codel", handle: "0:", parent: "0:2"},
		},
		cards: map[string]func(*Interface){"eth2": func(in *Interface) {
			in.Driver, in.Firmware, in.Bus = "ixgbe", "0x800006da", "0000:01:00.0"
			in.Rings, in.RingsMax = Pair{512, 512}, Pair{4096, 4096}
			in.Channels, in.ChannelsMax, in.Pause = 4, 63, "off"
			in.Indirection = []uint32{0, 1, 2, 3, 0, 1, 2, 3}
			in.Offloads = map[string]bool{"tx-tcp-segmentation": true, "tx-generic-segmentation": true, "rx-gro": true, "rx-lro": false}
		}},
		drivers: map[string]map[string]uint64{"eth2": {"rx_packets": 1}},
	}
}
