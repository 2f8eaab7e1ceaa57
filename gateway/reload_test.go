package gateway_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// versions are two lists of 10,000 services. What is in both stands in different
// places, so that the rule tells which list decided.
type versions struct {
	list [2]string
	rule [2]map[string]string // by name; what is denied is not there
}

func newVersions(service string) *versions {
	const size = 10_000
	own := [2]string{"a.wild.example.com", "own.example.com"}
	v := &versions{}
	for i := range v.list {
		entries := []string{"mail.example.com:" + service, own[i] + ":" + service}
		for n := len(entries); n < size; n++ {
			entries = append(entries, fmt.Sprintf("h%d.v%d.example.net:443", n, i))
		}
		if i == 1 {
			slices.Reverse(entries)
		}
		v.rule[i] = make(map[string]string)
		for n, entry := range entries {
			name, _, _ := strings.Cut(entry, ":")
			v.rule[i][name] = fmt.Sprintf("default/services[%d]", n+1)
		}
		v.list[i] = strings.Join(entries, ",")
	}
	return v
}

// A policy is replaced whole while tunnels are set up: each is judged by one list
// or the other, what is in both is always allowed, and no live tunnel notices.
func TestReloadUnderLoad(t *testing.T) {
	const swaps, workers = 50, 4
	w := newWorld(t, options{})
	v := newVersions(w.service)
	var released atomic.Int32
	compiled := [2]gateway.Snapshot{w.snapshot(v.list[0], netip.AddrPort{}), w.snapshot(v.list[1], netip.AddrPort{})}
	snapshot := func(i int) gateway.Snapshot {
		s := compiled[i]
		s.Release = func() { released.Add(1) }
		return s
	}
	version := map[string]int{compiled[0].Policies.Snapshot(): 0, compiled[1].Policies.Snapshot(): 1}
	if len(version) != 2 {
		t.Fatal("two lists have one name")
	}
	w.gateway.Use(snapshot(0))
	handle := w.issue(nil).Handle.Reveal()
	var alive []*tls.Conn
	for range 8 {
		alive = append(alive, w.mustOpen(handle, "mail.example.com", w.port))
	}

	stop, progress := make(chan struct{}), make(chan struct{}, 1)
	var opening sync.WaitGroup
	finish := sync.OnceFunc(func() { close(stop); opening.Wait() })
	defer finish()
	for range workers {
		opening.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := []string{"mail.example.com", "a.wild.example.com", "own.example.com"}[i%3]
				conn, err := w.open(handle, name, w.port)
				switch reply := (*socks.ReplyError)(nil); {
				case err == nil:
					conn.Close()
				case name == "mail.example.com", !errors.As(err, &reply), reply.Reply != socks.NotAllowed:
					t.Errorf("%s: %v", name, err)
				}
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	judged, mixed := w.watchJudged(v, version, stop)
	for i := range swaps {
		w.gateway.Use(snapshot(1 - i%2))
		for range 2 {
			next(t, progress, "progress")
		}
		one := alive[i%len(alive)]
		must(t, one.SetDeadline(time.Now().Add(wait)))
		echo(t, one, "alive")
	}
	finish()
	counted := <-judged
	for i := range counted {
		if counted[i] < swaps/4 {
			t.Errorf("version %d decided on %d tunnels only", i, counted[i])
		}
	}
	if text := <-mixed; text != "" {
		t.Error(text)
	}
	for _, conn := range alive {
		must(t, conn.SetDeadline(time.Now().Add(wait)))
		echo(t, conn, "alive")
		conn.Close()
	}
	// Snapshots that were replaced are let go, each once; the last is in force.
	if n := released.Load(); n != swaps {
		t.Errorf("%d snapshots of %d released", n, swaps)
	}
}

// watchJudged sees what decided on each tunnel until stop is closed and nothing is
// left, and counts the decisions by version. mixed is what does not fit together.
func (w *world) watchJudged(v *versions, version map[string]int, stop <-chan struct{}) (<-chan [2]int, <-chan string) {
	judged, mixed := make(chan [2]int, 1), make(chan string, 1)
	go func() {
		var counted [2]int
		wrong := ""
		see := func(a *gateway.Attempt) {
			i, known := version[a.Snapshot]
			rule, listed := v.rule[i][a.Target.Name]
			if !listed {
				rule = "default/deny"
			}
			if !known || a.Decision.Rule != rule || a.Decision.Allow != listed {
				wrong = fmt.Sprintf("version %d (%v) decided on %v by %s, not %s", i, known, a.Target, a.Decision.Rule, rule)
			}
			counted[i]++
		}
		for done := stop; ; {
			select {
			case a := <-w.opened:
				see(a)
			case r := <-w.refused:
				see(r.attempt)
			case <-w.accounts:
			case <-done:
				done = nil
				judged <- counted
				mixed <- wrong
				return
			}
		}
	}()
	return judged, mixed
}
