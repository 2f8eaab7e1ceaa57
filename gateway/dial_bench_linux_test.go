package gateway

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// What a dial costs, in a storm of tunnels to one service, beside what package net
// takes for the bare connection. Each connection is reset, so that no port is held
// back; the service's side of it is in every figure.
//
//	go test -run '^$' -bench Dial -count 10 ./gateway | benchstat -col /by -
func BenchmarkDial(b *testing.B) {
	to := service(b)
	setUp, cancel := context.WithTimeout(b.Context(), time.Hour) // as a tunnel's is bounded
	defer cancel()
	reset := func(conn net.Conn) {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	b.Run("by=net", func(b *testing.B) {
		b.ReportAllocs()
		address := to.String()
		for b.Loop() {
			conn, err := new(net.Dialer).DialContext(setUp, "tcp", address)
			if err != nil {
				b.Fatal(err)
			}
			reset(conn)
		}
	})
	for _, ours := range []struct {
		by string
		up UpstreamConfig
	}{
		{"by=gateway", UpstreamConfig{UserTimeout: 2 * time.Minute}},
		{"by=sources", UpstreamConfig{UserTimeout: 2 * time.Minute, Sources: []netip.Addr{second, third}}},
	} {
		b.Run(ours.by, func(b *testing.B) {
			g, on := dialling(newUpstream(b, ours.up), to.Port(), here)
			b.ReportAllocs()
			for b.Loop() {
				conn, err := g.dial(setUp, on)
				if err != nil {
					b.Fatal(err)
				}
				reset(conn)
				g.hungUp(addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr()))
			}
		})
	}
}
