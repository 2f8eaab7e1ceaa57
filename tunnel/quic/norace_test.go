//go:build !race

package quic

// download is how much the tests of migration fetch.
const download = 100 << 20
