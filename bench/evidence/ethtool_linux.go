package evidence

import (
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"
)

// offloads are the features whose state a reader of a benchmark asks for, by the
// kernel's names.
var offloads = []string{
	"rx-checksum", "tx-checksum-ipv4", "tx-checksum-ipv6", "tx-checksum-ip-generic", "tx-scatter-gather",
	"tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-generic-segmentation", "tx-udp-segmentation",
	"rx-gro", "rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding", "rx-lro", "rx-hashing",
	"tls-hw-tx-offload", "tls-hw-rx-offload", "tls-hw-record",
}

// describe asks for one thing after the other: drivers offer some and not others.
func (*asked) describe(in *Interface, missing func(what string, err error)) {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		missing("ethtool", err)
		return
	}
	defer tool.Close()
	if driver, err := tool.DriverInfo(in.Name); err == nil {
		in.Driver, in.Version, in.Bus = driver.Driver, driver.Version, driver.BusInfo
		in.Firmware = strings.TrimSpace(driver.FwVersion)
	} else {
		missing("driver", err)
	}
	if ring, err := tool.GetRing(in.Name); err == nil {
		in.Rings = Pair{int(ring.RxPending), int(ring.TxPending)}
		in.RingsMax = Pair{int(ring.RxMaxPending), int(ring.TxMaxPending)}
	} else {
		missing("rings", err)
	}
	if c, err := tool.GetChannels(in.Name); err == nil {
		in.Channels, in.ChannelsMax = int(c.CombinedCount), int(c.MaxCombined)
		if c.MaxCombined == 0 {
			in.Channels, in.ChannelsMax, in.Split = int(max(c.RxCount, c.TxCount)), int(max(c.MaxRx, c.MaxTx)), true
		}
	} else {
		missing("channels", err)
	}
	if pause, err := tool.GetPause(in.Name); err == nil {
		in.Pause = pauseWords(pause)
	} else {
		missing("flow control", err)
	}
	if features, err := tool.Features(in.Name); err == nil {
		in.Offloads = make(map[string]bool)
		for _, name := range offloads {
			if on, known := features[name]; known {
				in.Offloads[name] = on
			}
		}
	} else {
		missing("offloads", err)
	}
	in.Indirection, in.RSSKey, err = rss(func(request []uint32) error {
		return ethtoolIoctl(in.Name, unsafe.Pointer(&request[0]))
	})
	if err != nil {
		missing("RSS", err)
	}
}

func pauseWords(pause ethtool.Pause) string {
	var on []string
	for _, part := range []struct {
		set  uint32
		name string
	}{{pause.RxPause, "rx"}, {pause.TxPause, "tx"}, {pause.Autoneg, "autoneg"}} {
		if part.set != 0 {
			on = append(on, part.name)
		}
	}
	if len(on) == 0 {
		return "off"
	}
	return strings.Join(on, " ")
}

// rss asks for the table that spreads flows over queues, and the key that hashes
// them. Tables have up to some thousand entries, so the kernel is asked for the sizes
// first:
//
//	struct ethtool_rxfh: u32 cmd, context, indir_size, key_size,
//	                     u8 hfunc, input_xfrm, reserved[2], u32 reserved,
//	                     u32 table[indir_size], u8 key[key_size]
func rss(ask func(request []uint32) error) (table []uint32, key string, err error) {
	const header, tableAt, keyAt, largest = 6, 2, 3, 1 << 16
	request := make([]uint32, header)
	request[0] = unix.ETHTOOL_GRSSH
	if err := ask(request); err != nil {
		return nil, "", err
	}
	entries, bytes := request[tableAt], request[keyAt]
	if entries == 0 && bytes == 0 {
		return nil, "", unix.EOPNOTSUPP
	}
	if entries > largest || bytes > largest {
		return nil, "", fmt.Errorf("a table of %d entries and a key of %d bytes", entries, bytes)
	}
	request = make([]uint32, header+entries+(bytes+3)/4)
	request[0], request[tableAt], request[keyAt] = unix.ETHTOOL_GRSSH, entries, bytes
	if err := ask(request); err != nil {
		return nil, "", err
	}
	if request[tableAt] != entries || request[keyAt] != bytes {
		return nil, "", errors.New("it changed while it was read")
	}
	if bytes > 0 {
		raw := unsafe.Slice((*byte)(unsafe.Pointer(&request[header+entries])), bytes)
		key = hex.EncodeToString(raw)
	}
	return request[header : header+entries : header+entries], key, nil
}

// ethtoolIoctl makes one ethtool request of the kernel; data begins with the command.
func ethtoolIoctl(name string, data unsafe.Pointer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request := struct { // struct ifreq, with a pointer in its union
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		rest [16]byte
	}{data: data}
	if len(name) >= len(request.name) {
		return unix.ENODEV
	}
	copy(request.name[:], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(data)
	if errno != 0 {
		return errno
	}
	return nil
}

// statistics are what the kernel copies a driver's counters into. The library wants
// room for as many as any driver could have, over a megabyte, so it is kept.
type statistics struct {
	names  ethtool.EthtoolGStrings
	values ethtool.EthtoolStats
}

// counters are the driver's own. The names are read each time: they change with the
// number of queues.
func (a *asked) counters(name string) (map[string]uint64, error) {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return nil, err
	}
	defer tool.Close()
	if a.room == nil {
		a.room = new(statistics)
	}
	return tool.StatsWithBuffer(name, &a.room.names, &a.room.values)
}
