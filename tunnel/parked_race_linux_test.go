//go:build race

package tunnel

// poolMisses is how many allocations a load costs on average because the race
// detector has each sync.Pool, ours and crypto/tls's, drop one of four.
const poolMisses = 3
