package evidence

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A table of more entries than some libraries have room for comes back whole, with the
// key behind it.
func TestRSS(t *testing.T) {
	t.Parallel()
	key := []byte("a key of 52 bytes, as some cards of 100 Gbit/s have")
	table := make([]uint32, 2048)
	for i := range table {
		table[i] = uint32(i % 63)
	}
	card := func(request []uint32) error {
		if request[0] != unix.ETHTOOL_GRSSH || request[1] != 0 {
			t.Fatalf("asked for %x", request)
		}
		entries, bytes := request[2], request[3]
		request[2], request[3] = uint32(len(table)), uint32(len(key))
		if entries == 0 && bytes == 0 {
			return nil // it was asked for the sizes
		}
		copy(request[6:], table)
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&request[6+entries])), bytes), key)
		return nil
	}
	got, gotKey, err := rss(card)
	if err != nil || !slices.Equal(got, table) || gotKey != hex.EncodeToString(key) {
		t.Errorf("%d entries, key %s, %v", len(got), gotKey, err)
	}
	for what, bad := range map[string]func([]uint32) error{
		"none":   func([]uint32) error { return nil },
		"huge":   func(request []uint32) error { request[2] = 1 << 30; return nil },
		"grows":  func(request []uint32) error { request[2] += 128; return nil },
		"refuse": func([]uint32) error { return unix.EOPNOTSUPP },
	} {
		if got, _, err := rss(bad); err == nil {
			t.Errorf("%s: %d entries", what, len(got))
		}
	}
}

// The kernel is asked by a request that it understands: of loopback it says that there
// is none, of nobody that there is no such interface.
func TestEthtoolIoctl(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{"lo": unix.EOPNOTSUPP, "nobody": unix.ENODEV, "longer-than-any-name": unix.ENODEV} {
		_, _, err := rss(func(request []uint32) error { return ethtoolIoctl(name, unsafe.Pointer(&request[0])) })
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	// A request whose answer can be checked: the length of a set of names, here of features.
	request := []uint32{unix.ETHTOOL_GSSET_INFO, 0, 1 << 4, 0, 0}
	if err := ethtoolIoctl("lo", unsafe.Pointer(&request[0])); err != nil || request[2] != 1<<4 || request[4] < 40 {
		t.Errorf("features: %v, %v", request, err)
	}
}
