package main

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	// maxLines bounds the text that waits to be written: half a minute of a busy
	// gateway's.
	maxLines = 4 << 20
	// linesGather is how long lines are gathered after some were written.
	linesGather = time.Millisecond
	// linesClose is how long the end waits for the last of them.
	linesClose = time.Second
)

// lines writes a log that nobody waits for: a tunnel's set-up must not take the time
// of a disk, nor stand still while the reader of a pipe does. What is written is
// gathered, and written out by a goroutine. What there is no room for, or what cannot
// be written, is lost, and counted.
type lines struct {
	out     io.Writer
	lost    func(n int) // told of lines that were lost, once there is room again
	wake    chan struct{}
	closing chan struct{}
	closed  chan struct{}

	mu     sync.Mutex // guards the rest
	text   []byte
	missed int
}

// newLines starts to write to out. Close ends it.
func newLines(out io.Writer) *lines {
	l := &lines{out: out, wake: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{})}
	go l.run()
	return l
}

// Write takes whole lines, and never fails. What comes after Close is not written.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.text)+len(p) > maxLines {
		l.missed++
		return len(p), nil
	}
	l.text = append(l.text, p...)
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
	return len(p), nil
}

// Close writes what there is, if that can be done in a second.
func (l *lines) Close() {
	close(l.closing)
	select {
	case <-l.closed:
	case <-time.After(linesClose):
	}
}

func (l *lines) run() {
	defer close(l.closed)
	var spare []byte
	for closing := false; !closing; {
		select {
		case <-l.wake:
		case <-l.closing:
			closing = true
		}
		text, missed := l.take(spare)
		missed += l.put(text)
		if missed > 0 && l.lost != nil {
			l.lost(missed)
		}
		if spare = text[:0]; cap(spare) > maxLines/16 {
			spare = nil // of a burst
		}
		select {
		case <-time.After(linesGather):
		case <-l.closing:
		}
	}
	last, _ := l.take(nil) // what was said of lines that were lost
	l.put(last)
}

// take takes what there is, and leaves a buffer in its place.
func (l *lines) take(spare []byte) (text []byte, missed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, missed = l.text, l.missed
	l.text, l.missed = spare, 0
	return text, missed
}

// put writes lines out, and says how many could not be, whole. One that was begun is
// ended, so that the next is one by itself.
func (l *lines) put(text []byte) (lost int) {
	n, err := l.out.Write(text)
	if err == nil || n >= len(text) {
		return 0
	}
	if n > 0 && text[n-1] != '\n' {
		_, _ = l.out.Write([]byte{'\n'})
	}
	return bytes.Count(text[n:], []byte{'\n'})
}
