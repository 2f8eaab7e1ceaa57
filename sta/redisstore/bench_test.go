package redisstore_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

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
