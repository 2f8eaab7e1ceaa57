package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/sallyport/sallyport/sta"
)

var _ sta.AuditLog = (*Log)(nil)

// ErrClosed is returned by Append and Reopen after Close.
var ErrClosed = errors.New("the audit log is closed")

// Log is an audit log in a file. It is safe for concurrent use.
type Log struct {
	path string

	mu      sync.Mutex // guards waiting
	waiting *group     // collects lines while the disk is busy, or nil

	disk sync.Mutex // held while the file is written or exchanged; guards file
	file file       // nil when closed
}

// file is what a Log needs of an *os.File.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
	Stat() (os.FileInfo, error)
}

// group is the lines that share an fsync. Its first member writes them.
type group struct {
	lines []byte
	done  chan struct{} // closed when err is set
	err   error
}

// Open opens the log at path for appending, or makes it, mode 0600, and its
// folder, 0700.
func Open(path string) (*Log, error) {
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Log{path: path, file: f}, nil
}

func open(path string) (_ *os.File, err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if err := closeOff(f, info.Size()); err != nil {
		return nil, err
	}
	// The file's own name must survive, too.
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return f, errors.Join(d.Sync(), d.Close())
}

// closeOff ends a last line that a crash left torn.
func closeOff(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], size-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	if _, err := f.Write([]byte("\n")); err != nil {
		return err
	}
	return f.Sync()
}

// Append writes the event and returns when it is on the disk. Once it has joined
// a group it no longer heeds ctx: a caller that gave up on a line which was then
// written would take back what the log says was done.
func (l *Log) Append(ctx context.Context, e sta.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	data, err := format(e)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	g, first := l.join(data)
	if first {
		l.write(g)
	}
	<-g.done
	return g.err
}

// join adds lines to the group that waits for the disk. Whoever is its first
// member must call write.
func (l *Log) join(lines []byte) (g *group, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = l.waiting == nil
	if first {
		l.waiting = &group{done: make(chan struct{})}
	}
	l.waiting.lines = append(l.waiting.lines, lines...)
	return l.waiting, first
}

// write waits for the disk, closes the group to newcomers and writes it.
func (l *Log) write(g *group) {
	l.disk.Lock()
	defer l.disk.Unlock()
	l.mu.Lock()
	l.waiting = nil
	l.mu.Unlock()
	if g.err = l.commit(g.lines); g.err != nil {
		g.err = fmt.Errorf("audit log: %w", g.err)
	}
	close(g.done)
}

// commit writes lines and syncs, or leaves the file as long as it was. The
// caller holds disk.
func (l *Log) commit(lines []byte) error {
	if l.file == nil {
		return ErrClosed
	}
	// Asked each time: a log rotation may have cut the file short meanwhile.
	before, err := l.file.Stat()
	if err != nil {
		return err
	}
	if _, err = l.file.Write(lines); err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		err = errors.Join(err, l.file.Truncate(before.Size()), l.file.Sync())
	}
	return err
}

// Reopen goes on in a file newly opened at the path, for a log rotation that
// moved the old one away. No event is lost or written twice. On an error the
// old file stays in use.
func (l *Log) Reopen() error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if l.file == nil {
		return ErrClosed
	}
	f, err := open(l.path)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	old := l.file
	l.file = f
	return old.Close() // every line in it was synced when it was written
}

// Close waits for what is being written and closes the file.
func (l *Log) Close() error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}
