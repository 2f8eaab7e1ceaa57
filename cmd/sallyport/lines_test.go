package main

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Lines come out whole and in order, the last ones at the end.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	l := newLines(&out)
	var want strings.Builder
	for range 1000 {
		want.WriteString("a line\n")
		_, _ = io.WriteString(l, "a line\n")
	}
	l.Close()
	if out.String() != want.String() {
		t.Errorf("%d bytes, want %d", out.Len(), want.Len())
	}
}

// full is a disk with room for so many bytes.
type full struct {
	room int
	text bytes.Buffer
}

func (f *full) Write(p []byte) (int, error) {
	if len(p) <= f.room {
		f.room -= len(p)
		return f.text.Write(p)
	}
	n, _ := f.text.Write(p[:f.room])
	f.room = 100 // somebody made some
	return n, io.ErrShortWrite
}

// What cannot be written is counted, and spoils no other line.
func TestLinesOnAFullDisk(t *testing.T) {
	out := &full{room: 12}
	l := newLines(out)
	told := make(chan int, 1)
	l.lost = func(n int) { told <- n }
	_, _ = io.WriteString(l, "first line\nsecond line\nthird line\n")
	if n := <-told; n != 2 {
		t.Errorf("%d lines lost", n)
	}
	_, _ = io.WriteString(l, "fourth line\n")
	l.Close()
	if want := "first line\ns\nfourth line\n"; out.text.String() != want {
		t.Errorf("%q, want %q", out.text.String(), want)
	}
}

// blocking is a reader that stands still until it is let go.
type blocking struct {
	free chan struct{}
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *blocking) Write(p []byte) (int, error) {
	<-b.free
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// Nobody waits for a reader that stands still: what there is room for is kept, the
// rest counted and told. Nor does the end.
func TestLinesThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &blocking{free: make(chan struct{})}
		l := newLines(out)
		told := 0
		l.lost = func(n int) { told += n }
		line := []byte(strings.Repeat("x", 1023) + "\n")
		const written = 3 * maxLines >> 10
		for range written {
			if n, err := l.Write(line); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
		synctest.Wait()
		began := time.Now()
		l.Close()
		if waited := time.Since(began); waited != linesClose {
			t.Errorf("the end waited %v", waited)
		}
		close(out.free)
		synctest.Wait()
		if kept := out.text.Len() >> 10; kept+told != written || kept < maxLines>>10 || told == 0 {
			t.Errorf("%d lines kept and %d told lost, of %d", kept, told, written)
		}
	})
}
