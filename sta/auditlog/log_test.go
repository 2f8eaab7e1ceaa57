package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func event(user string) sta.Event {
	return sta.Event{
		Time: time.Date(2026, 3, 1, 9, 15, 4, 120e6, time.UTC), Action: sta.ActionIssue, Result: sta.ResultOK,
		Ticket: "k3", Client: "enrolment", User: user, Device: "d1", App: "Secure Mail", Source: "10.0.0.7:41022",
		Text: `STA ticket generated successfully for user "user2" for app "Secure Mail"`,
	}
}

func openLog(t testing.TB, path string) *Log {
	t.Helper()
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// usersIn gives the users of the lines that Parse reads, and the number of the
// others.
func usersIn(t *testing.T, path string) (users []string, torn int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		t.Errorf("the last line of %s is not ended", path)
	}
	for line := range bytes.Lines(data) {
		if e, err := Parse(line); err == nil {
			users = append(users, e.User)
		} else {
			torn++
		}
	}
	return users, torn
}

func add(t *testing.T, l *Log, user string) {
	t.Helper()
	if err := l.Append(t.Context(), event(user)); err != nil {
		t.Fatal(err)
	}
}

func TestLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "audit.log")
	add(t, openLog(t, path), "jürgen <j€>")
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-03-01T09:15:04.120Z","action":"issue","result":"ok","ticket":"k3","client":"enrolment",` +
		`"user":"jürgen <j€>","device":"d1","app":"Secure Mail","source":"10.0.0.7:41022",` +
		`"text":"STA ticket generated successfully for user \"user2\" for app \"Secure Mail\""}` + "\n"
	if string(got) != want {
		t.Errorf("wrote\n%swant\n%s", got, want)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %04o", info.Mode().Perm())
	}
}

func TestTornLineIsClosedOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	add(t, openLog(t, path), "before")
	data, _ := os.ReadFile(path)
	if err := os.WriteFile(path, append(data, data[:50]...), 0o600); err != nil {
		t.Fatal(err)
	}
	add(t, openLog(t, path), "after")
	if users, torn := usersIn(t, path); strings.Join(users, " ") != "before after" || torn != 1 {
		t.Errorf("lines of %v, and %d torn; want before, after and one torn", users, torn)
	}
}

// slowFile holds every Sync until it is let go, and counts them.
type slowFile struct {
	file
	syncing chan struct{}
	let     chan struct{}
	mu      sync.Mutex
	syncs   int
}

func (f *slowFile) Sync() error {
	f.mu.Lock()
	f.syncs++
	f.mu.Unlock()
	f.syncing <- struct{}{}
	<-f.let
	return f.file.Sync()
}

// While one fsync is under way everybody else gathers, and the next serves them
// together.
func TestConcurrentAppendersShareAnFsync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := openLog(t, path)
	slow := &slowFile{file: l.file, syncing: make(chan struct{}), let: make(chan struct{})}
	l.file = slow
	const others = 50
	var wg sync.WaitGroup
	wg.Go(func() { add(t, l, "first") })
	<-slow.syncing
	g, leads := l.join(mustFormat(t, event("0")))
	if !leads {
		t.Fatal("joined a group that is being written")
	}
	for i := 1; i < others; i++ {
		if other, leads := l.join(mustFormat(t, event(fmt.Sprint(i)))); other != g || leads {
			t.Fatalf("appender %d did not join the group that waits", i)
		}
	}
	wg.Go(func() { l.write(g) })
	slow.let <- struct{}{}
	<-slow.syncing
	slow.let <- struct{}{}
	<-g.done
	wg.Wait()
	if users, torn := usersIn(t, path); len(users) != others+1 || torn != 0 || g.err != nil {
		t.Errorf("%d lines and %d torn (%v), want %d", len(users), torn, g.err, others+1)
	}
	if slow.syncs != 2 {
		t.Errorf("%d fsyncs, want 2", slow.syncs)
	}
}

func mustFormat(t *testing.T, e sta.Event) []byte {
	t.Helper()
	data, err := format(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fullDisk takes some bytes and then no more, as ENOSPC comes.
type fullDisk struct {
	file
	room    int
	syncErr error
}

func (f *fullDisk) Write(p []byte) (int, error) {
	n, err := f.file.Write(p[:min(len(p), f.room)])
	f.room -= n
	if n < len(p) && err == nil {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *fullDisk) Sync() error {
	err := f.syncErr
	f.syncErr = nil
	return errors.Join(err, f.file.Sync())
}

func TestFailedWritesLeaveNothing(t *testing.T) {
	for name, broken := range map[string]*fullDisk{
		"no room":      {room: 0},
		"some room":    {room: 40},
		"no fsync":     {room: 1 << 20, syncErr: syscall.EIO},
		"nearly whole": {room: len(mustFormat(t, event("lost"))) - 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			l := openLog(t, path)
			add(t, l, "before")
			whole := l.file
			broken.file = whole
			l.file = broken
			err := l.Append(t.Context(), event("lost"))
			if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) {
				t.Errorf("error is %v", err)
			}
			l.file = whole
			add(t, l, "after")
			if users, torn := usersIn(t, path); strings.Join(users, " ") != "before after" || torn != 0 {
				t.Errorf("lines of %v, %d torn; want before and after", users, torn)
			}
		})
	}
}

func TestReopenLosesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	l := openLog(t, path)
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				add(t, l, fmt.Sprint(w, i))
			}
		})
	}
	const rotations = 3
	for i := range rotations {
		if err := os.Rename(path, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, name := range []string{"0", "1", "2", "audit.log"} {
		users, torn := usersIn(t, filepath.Join(dir, name))
		for _, user := range users {
			if seen[user] {
				t.Errorf("%s stands twice", user)
			}
			seen[user] = true
		}
		if torn > 0 {
			t.Errorf("%d torn lines in %s", torn, name)
		}
	}
	if len(seen) != writers*each {
		t.Errorf("%d events, want %d", len(seen), writers*each)
	}
}

func TestReopenThatFailsKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	l := openLog(t, path)
	if err := os.Rename(path, filepath.Join(dir, "old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("a folder was opened as a log")
	}
	add(t, l, "still")
	if users, _ := usersIn(t, filepath.Join(dir, "old")); len(users) != 1 {
		t.Errorf("the old file has %v", users)
	}
}

func TestClosedAndCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := openLog(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Append(ctx, event("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Append(t.Context(), event("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := l.Reopen(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if users, torn := usersIn(t, path); len(users)+torn != 0 {
		t.Error("something was written")
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(int64(1772356504120), "user2", "d1", `quoted "app"`, "line\nbreak")
	f.Add(int64(0), "jürgen", "d€1", "<b>&", "\u2028\x00\x7f")
	f.Add(int64(-1), "\xff\xfe", "", "{", "}\r\n{")
	f.Fuzz(func(t *testing.T, ms int64, user, device, app, text string) {
		// Years with four digits, which is what RFC 3339 knows.
		at := time.UnixMilli(ms % 253402300799999).UTC()
		if at.Year() < 0 {
			at = time.UnixMilli(0).UTC()
		}
		e := sta.Event{
			Time: at, Action: sta.ActionRevoke, Result: sta.ResultRefused, Reason: ticket.Forbidden,
			User: valid(user), Device: valid(device), App: valid(app), Text: valid(text),
		}
		data := mustFormat(t, e)
		if bytes.Count(data, []byte("\n")) != 1 || data[len(data)-1] != '\n' {
			t.Fatalf("not one line: %q", data)
		}
		got, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Time.Equal(e.Time) {
			t.Errorf("time %v came back as %v", e.Time, got.Time)
		}
		got.Time = e.Time
		if got != e {
			t.Errorf("got %+v, want %+v", got, e)
		}
	})
}

func valid(s string) string { return strings.ToValidUTF8(s, "?") }

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"time":"2026-03-01T09:15:04.120Z","action":"issue","result":"ok"}`))
	f.Add([]byte(`{"time":"2026-03-01","action":"issue"}`))
	f.Add([]byte(`{"time":"2026-03-01T09:15:04.120Z"}{}`))
	f.Add([]byte(`{"time":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			if len(data) > 30 && strings.Contains(err.Error(), string(data)) {
				t.Error("the error shows the line")
			}
			return
		}
		again, err := Parse(mustFormat(t, e))
		if err != nil || again != e {
			t.Errorf("%+v came back as %+v, %v", e, again, err)
		}
	})
}
