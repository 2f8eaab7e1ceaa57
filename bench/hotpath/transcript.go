package main

import (
	"bytes"
	"sync"
)

// transcript takes what a process writes to standard error, keeps the end of it,
// and shows each line to whoever reads along.
type transcript struct {
	mu     sync.Mutex
	line   []byte // so far
	end    []byte // the last lines
	reader func(line []byte)
}

// Bounds on what is kept: an error message and some of what led to it.
const (
	keptLine = 4 << 10
	keptEnd  = 8 << 10
)

// Write never fails.
func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(b) {
		t.line = append(t.line, line[:min(len(line), max(0, keptLine-len(t.line)))]...)
		if line[len(line)-1] == '\n' {
			t.whole(bytes.TrimSuffix(t.line, []byte("\n")))
			t.line = t.line[:0]
		}
	}
	return len(b), nil
}

func (t *transcript) whole(line []byte) {
	if t.reader != nil {
		t.reader(line)
	}
	t.end = append(append(t.end, line...), '\n')
	if over := len(t.end) - keptEnd; over > 0 {
		t.end = t.end[:copy(t.end, t.end[over:])]
	}
}

// follow shows the lines that were kept, and those that come, to a reader. It
// must not keep them. nil ends it.
func (t *transcript) follow(reader func(line []byte)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reader = reader
	if reader == nil {
		return
	}
	for line := range bytes.Lines(t.end) {
		reader(bytes.TrimSuffix(line, []byte("\n")))
	}
}

func (t *transcript) tail() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end) + string(t.line)
}
