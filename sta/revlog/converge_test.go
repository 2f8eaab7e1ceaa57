package revlog

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Writers append, and hand entries on in pieces and in any order, forget, and
// begin again from the disk, each at its own time: whatever came before, when
// each has asked each other, all know the same.
func TestLogsConverge(t *testing.T) {
	a := newAuthority(t)
	folder := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		logs := make([]*Log, 4)
		openDisk := func() {
			l, err := Open(filepath.Join(folder, fmt.Sprint(runs), "log.db"), "w0")
			if err != nil {
				t.Fatal(err)
			}
			l.disk.db.NoSync = true
			logs[0] = l
		}
		openDisk()
		defer func() { _ = logs[0].Close() }()
		for i := 1; i < len(logs); i++ {
			name := fmt.Sprint("w", i)
			if i == len(logs)-1 {
				name = "" // a gateway
			}
			logs[i], _ = Open("", name)
		}
		exchange := func(from, to *Log, limit int) int {
			h := head(from)
			lacks, err := to.Lacks(h)
			if err != nil {
				t.Fatal(err)
			}
			added, err := to.Take(a.keys, from.After(to.Positions(), limit), h)
			if err != nil {
				t.Fatal(err)
			}
			if lacks != nil && len(added) == 0 {
				t.Fatalf("lacks %v, and was given nothing", lacks)
			}
			return len(added)
		}
		var until []int // when each user's entry may be forgotten, in hours
		hours := 0
		index := rapid.IntRange(0, len(logs)-1)
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				l := logs[rapid.IntRange(0, len(logs)-2).Draw(t, "writer")]
				lives := rapid.IntRange(1, 100).Draw(t, "hours to live")
				until = append(until, hours+lives)
				if _, err := l.Append(a.signer, ofUser(fmt.Sprint("user ", len(until)), hours+lives)); err != nil {
					t.Fatal(err)
				}
			case 2, 3:
				exchange(logs[index.Draw(t, "from")], logs[index.Draw(t, "to")], rapid.IntRange(1, 4).Draw(t, "page"))
			case 4:
				hours += rapid.IntRange(0, 60).Draw(t, "hours pass")
				if _, err := logs[index.Draw(t, "forgets")].Forget(epoch.Add(time.Duration(hours) * time.Hour)); err != nil {
					t.Fatal(err)
				}
			case 5:
				if err := logs[0].Close(); err != nil {
					t.Fatal(err)
				}
				openDisk()
			}
		}
		for again := true; again; {
			again = false
			for _, from := range logs {
				for _, to := range logs {
					again = exchange(from, to, 3) > 0 || again
				}
			}
		}
		agree(t, logs, until, hours)
	})
}

func agree(t *rapid.T, logs []*Log, until []int, hours int) {
	t.Helper()
	for _, l := range logs {
		// A log remembers what is past until it is told to forget; then all are alike.
		if _, err := l.Forget(epoch.Add(time.Duration(hours) * time.Hour)); err != nil {
			t.Fatal(err)
		}
		for i := range until {
			if user := fmt.Sprint("user ", i+1); l.ends(user) != (until[i] >= hours) {
				t.Fatalf("%s, to be forgotten after %d h, is ended after %d h: %v", user, until[i], hours, l.ends(user))
			}
		}
	}
	for _, l := range logs {
		for name, tip := range l.Tips() {
			for _, other := range logs {
				if there := other.Tips()[name]; tip.From < tip.Position && there != tip {
					t.Fatalf("%s is %+v here and %+v there", name, tip, there)
				}
			}
		}
	}
}
