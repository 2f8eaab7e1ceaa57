//go:build race

package quic

// Less is done where every access to memory is watched.
const (
	raced    = true
	download = 8 << 20 // what the tests of migration fetch
	scale    = 10      // that by which counts in attacks are divided
)
