//go:build !linux

package main

import "net"

// takeMerged is for kernels that merge packets, and whose calls we know.
func takeMerged(socket *net.UDPConn) net.PacketConn { return socket }
