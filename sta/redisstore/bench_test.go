package redisstore_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/auditlog"
	"github.com/sallyport/sallyport/sta/redisstore/redistest"
)

// callers is how many call at once, for each processor.
const callers = 32

// What issuing and a cold redeem cost, beside the least that the same client can
// do: one SET, one GET of as many bytes. Server and callers share the machine.
// Recipe:
//
//	go test -run '^$' -bench . -count 6 ./sta/redisstore | tee new.txt && benchstat new.txt
func BenchmarkPut(b *testing.B) {
	server := redistest.Start(b, redistest.Options{})
	s := opened(b, configOf(server))
	parallel(b, func() error { return s.Put(b.Context(), newRecord()) })
}

// The whole of it: sign, store, audit on the disk. The audit file's fsync, which
// concurrent clients share, is measured beside it; HTTP and TLS are not in it.
func BenchmarkIssue(b *testing.B) {
	server, dir := redistest.Start(b, redistest.Options{}), b.TempDir()
	store := opened(b, configOf(server))
	files := sta.KeyFiles{Root: filepath.Join(dir, "root.key"), Signing: filepath.Join(dir, "sta.key")}
	_, err := sta.Init(b.Context(), store, "STA01", files, time.Now())
	must(b, err)
	keys, err := sta.OpenKeys(b.Context(), store, "STA01", files.Signing)
	must(b, err)
	audit, err := auditlog.Open(filepath.Join(dir, "audit.log"))
	must(b, err)
	defer audit.Close()
	authority, err := sta.New(sta.Config{
		ID: "STA01", Audience: []string{"gateway3.example.com"}, Signer: keys.Signer, Keys: keys.Set, Pin: keys.Pin,
		Store: store, Audit: audit,
	})
	must(b, err)
	enrolment := &sta.Client{Name: "enrolment", May: sta.MayIssue}
	request := sta.IssueRequest{User: "user2", Device: "d1", App: "Secure Mail"}
	parallel(b, func() error { _, err := authority.Issue(b.Context(), enrolment, request); return err })
	b.ReportMetric(fsyncRate(b, dir), "fsync/s")
}

// fsyncRate measures how often a second the disk makes 4 KiB durable.
func fsyncRate(b *testing.B, dir string) float64 {
	b.Helper()
	file, err := os.Create(filepath.Join(dir, "fsync"))
	must(b, err)
	defer file.Close()
	block := make([]byte, 4096)
	const turns = 50
	start := time.Now()
	for range turns {
		_, err := file.WriteAt(block, 0)
		must(b, err)
		must(b, file.Sync())
	}
	return turns / time.Since(start).Seconds()
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkPutWithReplica(b *testing.B) {
	master := redistest.Start(b, redistest.Options{})
	redistest.StartReplica(b, master)
	c := configOf(master)
	c.Replicas = 1
	s := opened(b, c)
	parallel(b, func() error { return s.Put(b.Context(), newRecord()) })
}

func BenchmarkByHash(b *testing.B) {
	server := redistest.Start(b, redistest.Options{})
	s := opened(b, configOf(server))
	hash := put(b, s).Hash
	parallel(b, func() error { _, err := s.ByHash(b.Context(), hash); return err })
}

func BenchmarkRaw(b *testing.B) {
	server := redistest.Start(b, redistest.Options{})
	client := redis.NewClient(&redis.Options{Addr: server.Addr, PoolSize: 128, Protocol: 2, ContextTimeoutEnabled: true})
	defer client.Close()
	value := make([]byte, 1400)
	b.Run("Set", func(b *testing.B) {
		parallel(b, func() error { return client.Set(b.Context(), newRecord().ID, value, 0).Err() })
	})
	b.Run("Get", func(b *testing.B) {
		if err := client.Set(b.Context(), "key", value, 0).Err(); err != nil {
			b.Fatal(err)
		}
		parallel(b, func() error { return client.Get(b.Context(), "key").Err() })
	})
}

func parallel(b *testing.B, call func() error) {
	b.Helper()
	b.SetParallelism(callers)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := call(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
