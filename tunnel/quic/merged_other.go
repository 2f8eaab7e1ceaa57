//go:build !linux

package quic

import "net"

// mergeOn is for kernels that merge packets, and whose calls we know.
func mergeOn(*net.UDPConn, int, *allowances) (net.PacketConn, bool) { return nil, false }
