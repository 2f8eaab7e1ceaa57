package tunnel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sallyport/sallyport/tunnel/record"
)

func stockParked(t *testing.T, s *stock) {
	stocked[[record.MaxRecord]byte](t, &parts, &s.part, nil)
	for pool, made := range map[*sync.Pool]*atomic.Int64{&smallLoads: nil, &largeLoads: &s.made} {
		before := pool.New
		t.Cleanup(func() { pool.New = before })
		pool.New = func() any {
			l := before()
			s.load.Add(1)
			if made != nil {
				made.Add(1)
			}
			runtime.AddCleanup(l.(*load), func(int) { s.load.Add(-1) }, 0)
			return l
		}
	}
}
