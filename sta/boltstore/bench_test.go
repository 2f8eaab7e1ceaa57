package boltstore_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// Issuing waits for the disk twice, for the store and for the audit log, and
// concurrent clients share both waits. So the number to hold it against is the
// disk's own, measured beside it as fsync/s. Recipe:
//
//	go test -run '^$' -bench . -count 6 ./sta/boltstore | tee new.txt && benchstat new.txt
func BenchmarkIssue(b *testing.B) {
	for _, clients := range []struct {
		name     string
		parallel int
	}{{"clients=2", 1}, {"clients=128", 64}} { // times GOMAXPROCS, on two cores
		b.Run(clients.name, func(b *testing.B) {
			dir := b.TempDir()
			authority, _, _ := newAuthority(b, dir)
			request := sta.IssueRequest{User: "user2", Device: "d1", App: "Secure Mail"}
			b.SetParallelism(clients.parallel)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := authority.Issue(b.Context(), desk, request); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "issue/s")
			b.ReportMetric(fsyncRate(b, dir), "fsync/s")
		})
	}
}

// fsyncRate measures how often a second the disk makes 4 KiB durable.
func fsyncRate(b *testing.B, dir string) float64 {
	b.Helper()
	file, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	block := make([]byte, 4096)
	const turns = 50
	start := time.Now()
	for range turns {
		if _, err := file.WriteAt(block, 0); err != nil {
			b.Fatal(err)
		}
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return turns / time.Since(start).Seconds()
}

// What a gateway's cold redeem costs the authority, out of a hundred tickets.
func BenchmarkRedeem(b *testing.B) {
	authority, store, _ := newAuthority(b, b.TempDir())
	issued, err := authority.Issue(b.Context(), desk, sta.IssueRequest{User: "user2", Device: "d1", App: "Secure Mail"})
	if err != nil {
		b.Fatal(err)
	}
	found, err := store.ByHash(b.Context(), issued.Handle.Hash())
	if err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		other := found.Clone()
		other.ID, other.Hash = found.ID+string(rune('a'+i)), ticket.NewHandle().Hash()
		if err := store.Put(b.Context(), other); err != nil {
			b.Fatal(err)
		}
	}
	hash := issued.Handle.Hash()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := authority.Redeem(b.Context(), hash); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
