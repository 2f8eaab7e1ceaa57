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

// Why nothing is written; Append's errors wrap them.
var (
	// ErrClosed: after Close. Reopen returns it, too.
	ErrClosed = errors.New("the audit log is closed")
	// ErrRemoved: the file has no name any more. Its lines would be gone with
	// the process, so it takes none until Reopen, and no ticket leaves.
	ErrRemoved = errors.New("the file was removed: no ticket is issued until it is made anew (SIGHUP, or a restart)")
)

// Log is an audit log in a file. It is safe for concurrent use.
type Log struct {
	path string

	mu      sync.Mutex // guards waiting
	waiting *group     // collects lines while the disk is busy, or nil

	disk sync.Mutex // held while the file is written or exchanged; guards the rest
	file file       // nil when closed
	// torn is set when a group could not be written and could not be cut off
	// either; whole is the length to cut at before anything else is written.
	torn  bool
	whole int64
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
// folder, 0700. A file that others may write is refused.
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
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return nil, fmt.Errorf("others may write %s (mode %04o): it would prove nothing; chmod go-w it", path, mode)
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

// commit writes lines and syncs, or leaves the file as long as it was. Should it
// not even be able to do that, nothing more is written before it has: what comes
// next must not stand on the same line, and what was refused must not stand
// there at all. The caller holds disk.
func (l *Log) commit(lines []byte) error {
	if l.file == nil {
		return ErrClosed
	}
	if err := l.mend(); err != nil {
		return fmt.Errorf("what was written last is torn and cannot be cut off: %w", err)
	}
	// Asked each time: a log rotation may have cut the file short meanwhile.
	before, err := l.file.Stat()
	if err != nil {
		return err
	}
	if removed(before) {
		return ErrRemoved
	}
	if _, err = l.file.Write(lines); err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.torn, l.whole = true, before.Size()
		err = errors.Join(err, l.mend())
	}
	return err
}

// mend cuts off what could not be written whole, if there is any. The caller
// holds disk.
func (l *Log) mend() error {
	if !l.torn {
		return nil
	}
	now, err := l.file.Stat()
	if err != nil {
		return err
	}
	// A rotation that cut it shorter already must not see it grow again.
	if now.Size() > l.whole {
		if err := l.file.Truncate(l.whole); err != nil {
			return err
		}
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.torn = false
	return nil
}

// removed tells whether a file that is open has lost its last name.
func removed(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
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
	// While the file is torn, it may be this very one that is opened again.
	mended := l.mend()
	f, same, err := l.another()
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if same && mended != nil {
		return errors.Join(fmt.Errorf("audit log: %w", mended), f.Close())
	}
	old := l.file
	l.file, l.torn = f, false
	return old.Close() // every line in it was synced when it was written
}

// another opens what is at the path now, and tells whether it is the file that
// is in use. The caller holds disk.
func (l *Log) another() (f *os.File, same bool, err error) {
	if f, err = open(l.path); err != nil {
		return nil, false, err
	}
	// A file in use that does not even say what it is had better be left.
	before, unknown := l.file.Stat()
	after, err := f.Stat()
	if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	return f, unknown == nil && os.SameFile(before, after), nil
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
