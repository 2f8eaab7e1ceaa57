//go:build !race

package tunnel

// poolMisses is how many allocations a load costs because a pool was empty.
const poolMisses = 0
