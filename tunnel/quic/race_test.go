//go:build race

package quic

// download is how much the tests of migration fetch: less where every access to
// memory is watched.
const download = 8 << 20
