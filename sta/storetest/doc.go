// Package storetest is the suite that every store of the authority must pass.
// What [sta.Store] promises in words, it asks for in tests: what is written once
// is there as a whole, also after the process is gone; a page never shows a
// ticket twice, whatever is written meanwhile; of the logs of revocations nothing
// that was acknowledged is lost, however many write at once; and whoever watches
// is told.
package storetest
