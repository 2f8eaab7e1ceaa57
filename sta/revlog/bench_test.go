package revlog

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// What a revocation costs the node that makes it, beside the two fsyncs that its
// write consists of; what following costs; and what a start does. Run with
//
//	go test -run '^$' -bench . -count 5 ./sta/revlog > new.txt && benchstat old.txt new.txt
func BenchmarkAppend(b *testing.B) {
	a := newAuthority(b)
	b.Run("two fsyncs", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "file"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		page := make([]byte, 4096)
		for b.Loop() {
			for at := range int64(2) {
				if _, err := f.WriteAt(page, at*4096); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	for _, path := range []string{file(b), ""} {
		name := "disk"
		if path == "" {
			name = "memory"
		}
		b.Run(name, func(b *testing.B) {
			l, n := open(b, path, "w"), 0
			for b.Loop() {
				n++
				if _, err := l.Append(a.signer, ofUser(fmt.Sprint("user ", n), 1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTake(b *testing.B) {
	a, w := newAuthority(b), open(b, "", "w")
	fill(b, a, w, 1, 10_000)
	logs := w.After(nil, 10_000)
	for b.Loop() {
		b.StopTimer()
		l, err := Open(filepath.Join(b.TempDir(), "log.db"), "")
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if added, err := l.Take(a.keys, logs); err != nil || len(added) != 10_000 {
			b.Fatal(len(added), err)
		}
		b.StopTimer()
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkOpen(b *testing.B) {
	a, w, path := newAuthority(b), open(b, "", "w"), file(b)
	fill(b, a, w, 1, 100_000)
	l := open(b, path, "")
	if _, err := l.Take(a.keys, w.After(nil, 100_000)); err != nil {
		b.Fatal(err)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := Open(path, "")
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
