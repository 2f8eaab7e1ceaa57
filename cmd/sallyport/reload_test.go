package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// longList is a list of 10,000 services beside the echo server, which stands in
// front of them or behind.
func longList(echo int, front bool) string {
	var list strings.Builder
	if front {
		fmt.Fprintf(&list, "echo.example.com:%d,", echo)
	}
	for i := range 10_000 {
		fmt.Fprintf(&list, "host-%d.site-%d.example.com:443,", i, i%100)
	}
	if front {
		return strings.TrimSuffix(list.String(), ",")
	}
	return list.String() + fmt.Sprintf("echo.example.com:%d", echo)
}

// TestReloadUnderLoad swaps policies of 10,000 entries while tunnels are open and
// others open: none is dropped, none is refused that both policies allow, and each
// is decided by one of the two as a whole. A file with a mistake in between changes
// nothing, and says so.
func TestReloadUnderLoad(t *testing.T) {
	const reloads, held = 4, 100
	c := startCluster(t, plan{nodes: 1, gateways: 1})
	gateway := c.gateways[0]
	file := filepath.Join(gateway.dir, "sallyport.yaml")
	text, err := os.ReadFile(file)
	c.check(err)
	old := fmt.Sprintf("mail.example.com:%d,echo.example.com:%d", c.mail.port, c.echo)
	reload := func(list, event string, n int) {
		t.Helper()
		c.check(os.WriteFile(file, bytes.Replace(text, []byte(old), []byte(list), 1), 0o600))
		c.check(gateway.cmd.Process.Signal(syscall.SIGHUP))
		c.await(gateway, `"event":"`+event+`"`, n)
	}
	reload(longList(c.echo, true), "policy_in_force", 1)
	ticket := c.issue("user2", "iPhone")
	tunnels := c.open(gateway, held, ticket)

	done := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				tunnel, err := c.dial(t.Context(), gateway, ticket.Handle.Reveal())
				if err != nil {
					t.Errorf("refused during a reload: %v", err)
					return
				}
				if err := tunnel.pass(); err != nil {
					t.Errorf("broken during a reload: %v", err)
				}
				_ = tunnel.Close()
			}
		})
	}
	for i := range reloads {
		reload(longList(c.echo, i%2 == 1), "policy_in_force", i+2)
		if i == reloads/2 {
			reload(longList(c.echo, i%2 == 0)+", and a blank", "reload_failed", 1)
		}
	}
	close(done)
	load.Wait()
	for _, tunnel := range tunnels {
		if err := tunnel.pass(); err != nil {
			t.Fatalf("a live tunnel was dropped: %v", err)
		}
	}

	// Each tunnel has the rule that its snapshot gives to the echo server.
	rules := make(map[string]map[string]bool)
	opened := 0
	for line := range strings.Lines(gateway.stderr.String()) {
		var event struct{ Event, Snapshot, Rule string }
		if json.Unmarshal([]byte(line), &event) == nil && event.Event == "tunnel_opened" {
			opened++
			if rules[event.Snapshot] == nil {
				rules[event.Snapshot] = make(map[string]bool)
			}
			rules[event.Snapshot][event.Rule] = true
		}
	}
	if opened <= held || len(rules) != 2 {
		t.Fatalf("%d tunnels by %d policies", opened, len(rules))
	}
	for snapshot, by := range rules {
		if len(by) != 1 || !by["default/services[1]"] && !by["default/services[10001]"] {
			t.Errorf("snapshot %s decided by %v", snapshot, by)
		}
	}
	t.Logf("%d tunnels opened during %d reloads", opened-held, reloads)
}
