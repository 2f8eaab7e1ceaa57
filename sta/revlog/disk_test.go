package revlog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// plays are what this test's program does when it is started again by itself.
var plays = map[string]func(path string) int{"full disk": playFullDisk, "other process": playOtherProcess}

func playAgain(t *testing.T, play, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "REVLOG_TEST_PLAYS="+play, "REVLOG_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// A disk that takes no more: what is revoked is in force, and written when there
// is room again. A limit on the size of files stands for it, and because a limit
// is one of a whole process, another process has it.
func TestFullDisk(t *testing.T) {
	path := file(t)
	if out, err := playAgain(t, "full disk", path).Output(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l := open(t, path, "")
	if got := l.Positions().String(); got != "own:10,peer:3" {
		t.Errorf("positions %s", got)
	}
	checkEnds(t, l, 2, 10) // what was forgotten meanwhile did not come back
	for i := range 3 {
		if !l.ends(fmt.Sprint("peer ", i)) {
			t.Errorf("peer %d is not ended", i)
		}
	}
	if l.ends("user 1") {
		t.Error("user 1 is ended")
	}
}

func playFullDisk(path string) (code int) {
	t := &testing.T{} // for what the tests use; a Fatal would end this program in a panic
	check := func(ok bool, what string, args ...any) {
		if !ok {
			fmt.Printf(what+"\n", args...)
			code = 1
		}
	}
	signal.Ignore(syscall.SIGXFSZ)
	a := newAuthority(t)
	l, err := Open(path, "own")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fill(t, a, l, 1, 3)
	peer, _ := Open("", "peer")
	for i := range 3 {
		_, _ = peer.Append(a.signer, ofUser(fmt.Sprint("peer ", i), 1000))
	}

	var old syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old) == nil, "no limit to be read")
	check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: old.Max}) == nil, "no limit to be set")
	var unsaved *UnsavedError
	for i := 4; i <= 8; i++ {
		e, err := l.Append(a.signer, ofUser(fmt.Sprint("user ", i), i))
		check(errors.As(err, &unsaved) && errors.Is(err, syscall.EFBIG), "append %d to a full disk: %v", i, err)
		check(e.Position == uint64(i) && l.ends(fmt.Sprint("user ", i)), "entry %d is not in force", i)
	}
	added, err := l.Take(a.keys, peer.After(nil, 100))
	check(errors.As(err, &unsaved) && len(added) == 3 && l.ends("peer 2"), "took %d onto a full disk: %v", len(added), err)
	check(errors.As(l.Save(), &unsaved), "saved onto a full disk")
	check(l.Note("n", []byte("x")) != nil, "noted on a full disk")
	_, err = l.Forget(epoch.Add(time.Hour + time.Minute))
	check(err != nil, "forgot on a full disk")

	check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old) == nil, "the limit stays")
	if err := l.Save(); err != nil {
		check(false, "saving when there is room again: %v", err)
	}
	fill(t, a, l, 9, 10)
	_, err = l.Forget(epoch.Add(time.Hour + time.Minute))
	check(err == nil, "forgetting: %v", err)
	check(l.Close() == nil, "close")
	// The disk could not be shortened then; it is, by whoever opens it next.
	again, err := Open(path, "")
	if err != nil {
		check(false, "opening again: %v", err)
		return code
	}
	_, err = again.Forget(epoch.Add(time.Hour + time.Minute))
	check(err == nil && again.Close() == nil, "forgetting once more: %v", err)
	return code
}

func TestLockedByAnotherProcess(t *testing.T) {
	path := file(t)
	other := playAgain(t, "other process", path)
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "open\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	if _, err := Open(path, ""); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that another process has open: %v", err)
	}
	if err := errors.Join(in.Close(), other.Wait()); err != nil {
		t.Fatal(err)
	}
	open(t, path, "")
}

func playOtherProcess(path string) int {
	l, err := Open(path, "other")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("open")
	_, _ = os.Stdin.Read(make([]byte, 1))
	if l.Close() != nil {
		return 1
	}
	return 0
}

func TestClosedDisk(t *testing.T) {
	a := newAuthority(t)
	l := open(t, file(t), "own")
	fill(t, a, l, 1, 2)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var unsaved *UnsavedError
	if _, err := l.Append(a.signer, ofUser("user 3", 3)); !errors.As(err, &unsaved) || !l.ends("user 3") {
		t.Errorf("append after the file was closed: %v", err)
	}
}

func TestModes(t *testing.T) {
	a, path := newAuthority(t), file(t)
	l := open(t, path, "own")
	fill(t, a, l, 1, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): os.ModeDir | 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o602} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if l, err := Open(path, ""); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v, %v", mode, l, err)
		}
	}
	if _, err := Open(filepath.Dir(path), ""); err == nil {
		t.Error("a folder was opened")
	}
	// Where the folder's place is taken by a file, nothing can be made.
	if _, err := Open(filepath.Join(path, "x", "revocations.db"), ""); err == nil {
		t.Error("a log below a file was made")
	}
}

// contents is all that a log knows.
func contents(t testing.TB, l *Log) []any {
	t.Helper()
	noted, err := l.Noted("head")
	if err != nil {
		t.Fatal(err)
	}
	return []any{l.Tips(), l.After(nil, 1<<30), noted, l.ends("user 41"), l.writers["peer"].forgot}
}

// damaged makes a file whose pages are of every kind.
func wholeFile(t *testing.T) (data []byte, want []any) {
	t.Helper()
	a := newAuthority(t)
	l, peer := open(t, file(t), "own"), open(t, "", "peer")
	l.disk.db.NoSync = true
	fill(t, a, l, 1, 60)
	fill(t, a, peer, 1, 3)
	give(t, a, peer, l)
	if err := l.Note("head", bytes.Repeat([]byte("head "), 1500)); err != nil { // over one page
		t.Fatal(err)
	}
	if _, err := l.Forget(epoch.Add(10 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	want = contents(t, l)
	path := l.disk.db.Path()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data, want
}

// judge opens damaged bytes: they must be refused as such, or hold everything.
func judge(t *testing.T, data []byte, want []any, what string) (refused bool) {
	t.Helper()
	// Each time another file: where bbolt gave way, its lock stays with its memory
	// until the process ends.
	path := filepath.Join(t.TempDir(), "damaged.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path, "")
	if err != nil {
		var damage *DamagedError
		if !errors.As(err, &damage) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", what, err)
		}
		return true
	}
	if got := contents(t, l); !reflect.DeepEqual(got, want) {
		t.Errorf("%s: something was lost in silence", what)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	return false
}

func TestDamagedFiles(t *testing.T) {
	data, want := wholeFile(t)
	if judge(t, data, want, "whole") {
		t.Fatal("a whole file is refused")
	}
	inUse := int(native.Uint64(newest(t, data)[40:])) * os.Getpagesize()
	for _, size := range []int{0, 1, 80, 4095, 4096, 8192, inUse / 2, inUse - 4096, inUse - 1} {
		if !judge(t, data[:size], want, fmt.Sprintf("cut off at %d", size)) {
			t.Errorf("cut off at %d of %d: not noticed", size, inUse)
		}
	}
	for name, c := range map[string]func(b []byte){
		"zeros in place of a page": func(b []byte) { clear(b[inUse-4096 : inUse]) },
		"two pages swapped": func(b []byte) {
			one, two := bytes.Clone(b[4*4096:5*4096]), bytes.Clone(b[5*4096:6*4096])
			copy(b[4*4096:], two)
			copy(b[5*4096:], one)
		},
		"rubbish": func(b []byte) { copy(b, strings.Repeat("rubbish ", len(b)/8)) },
		"zeros":   func(b []byte) { clear(b) },
	} {
		bad := bytes.Clone(data)
		c(bad)
		judge(t, bad, want, name)
	}
	// One bit: of all that bbolt goes by at the beginning of each page, and of
	// what comes by chance, the same every time.
	random := rand.New(rand.NewPCG(1, 2))
	refused, tried := 0, 0
	flip := func(bit int) {
		bad := bytes.Clone(data)
		bad[bit/8] ^= 1 << (bit % 8)
		tried++
		if judge(t, bad, want, fmt.Sprintf("bit %d of byte %d of page %d", bit%8, bit/8%4096, bit/8/4096)) {
			refused++
		}
	}
	for page := range inUse / 4096 {
		for range 4 {
			flip(page*4096*8 + random.IntN(80*8))
		}
	}
	for range 80 {
		flip(random.IntN(inUse * 8))
	}
	if refused == 0 || refused == tried {
		t.Errorf("%d of %d flips were refused: they tell nothing", refused, tried)
	}
}

func newest(t *testing.T, data []byte) []byte {
	t.Helper()
	m, _, err := newestMeta(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What was changed by somebody who knows bbolt, but not this log.
func TestChangedRecords(t *testing.T) {
	data, want := wholeFile(t)
	last := place("own", 60)
	for name, edit := range map[string]func(tx *bolt.Tx) error{
		"the last entry gone":  func(tx *bolt.Tx) error { return tx.Bucket(entries).Delete(last) },
		"one in the midst":     func(tx *bolt.Tx) error { return tx.Bucket(entries).Delete(place("own", 30)) },
		"a whole writer gone":  func(tx *bolt.Tx) error { return tx.Bucket(from).Delete([]byte("peer")) },
		"a writer's from":      func(tx *bolt.Tx) error { return tx.Bucket(from).Put([]byte("own"), []byte("short")) },
		"the note gone":        func(tx *bolt.Tx) error { return tx.Bucket(notes).Delete([]byte("head")) },
		"another note":         func(tx *bolt.Tx) error { return tx.Bucket(notes).Put([]byte("head"), []byte("old")) },
		"a bucket gone":        func(tx *bolt.Tx) error { return tx.DeleteBucket(notes) },
		"another schema":       func(tx *bolt.Tx) error { return tx.Bucket(meta).Put(schemaKey, []byte("2")) },
		"the sum gone":         func(tx *bolt.Tx) error { return tx.Bucket(meta).Delete(sumKey) },
		"an entry that is not": func(tx *bolt.Tx) error { return tx.Bucket(entries).Put(place("own", 61), []byte("x")) },
		"an entry elsewhere": func(tx *bolt.Tx) error {
			return tx.Bucket(entries).Put(place("zzz", 1), bytes.Clone(tx.Bucket(entries).Get(last)))
		},
	} {
		path := filepath.Join(t.TempDir(), "changed.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(edit), db.Close()); err != nil {
			t.Fatal(err)
		}
		changed, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !judge(t, changed, want, name) {
			t.Errorf("%s: not noticed", name)
		}
	}
}
