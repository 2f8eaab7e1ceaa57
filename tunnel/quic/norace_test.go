//go:build !race

package quic

const (
	raced    = false
	download = 100 << 20 // what the tests of migration fetch
	scale    = 1         // that by which counts in attacks are divided
)
