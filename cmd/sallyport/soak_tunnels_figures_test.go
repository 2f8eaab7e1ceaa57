package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figures are what a cycle came to.
type figures struct {
	standing footprint // with all idle tunnels, before anything else
	quiet    footprint // when everybody had gone
	tunnels  int64
	bytes    int64
	cuts     []time.Duration // how long each tunnel of a revoked user lived
	took     time.Duration
}

func (f figures) String() string {
	return fmt.Sprintf("%.1f s, %d tunnels, %.1f MiB, %d cut in %.1f ms (p99 %.1f); standing %v; quiet %v",
		f.took.Seconds(), f.tunnels, float64(f.bytes)/mib, len(f.cuts), ms(part(f.cuts, 50)), ms(part(f.cuts, 99)), f.standing, f.quiet)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// part is what so many of a hundred are not above.
func part(of []time.Duration, percent int) time.Duration {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[(len(sorted)*percent-1)/100]
}

// footprint is what the gateway's process has of the system.
type footprint struct {
	descriptors, threads int
	memory               int64 // resident and its own, in bytes: no file's pages
}

func (f footprint) String() string {
	return fmt.Sprintf("%d descriptors, %d threads, %.1f MiB", f.descriptors, f.threads, float64(f.memory)/mib)
}

var residentPattern = regexp.MustCompile(`RssAnon:\s+(\d+) kB`)

// footprint looks at the gateway's process from outside.
func (c *crowd) footprint() (f footprint) {
	c.t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(c.serve.cmd.Process.Pid))
	count := func(folder string) int {
		entries, err := os.ReadDir(filepath.Join(proc, folder))
		c.check(err)
		return len(entries)
	}
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	c.check(err)
	found := residentPattern.FindSubmatch(status)
	if found == nil {
		c.t.Fatalf("no RssAnon in %s", status)
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	c.check(err)
	return footprint{count("fd"), count("task"), kib << 10}
}

// awaitQuiet waits until nothing is left of the devices at the gateway, and, if
// asked to, until its memory has settled.
func (c *crowd) awaitQuiet(settle bool) footprint {
	c.t.Helper()
	c.check(c.giveUp())
	c.api.Close()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	f := c.footprint()
	for f.descriptors != c.base.descriptors || c.far.live() > 0 {
		select {
		case <-late.C:
			c.t.Fatalf("nobody is left, but at first there was %v, and now %v: %s; %d connections at the service",
				c.base, f, c.descriptors(), c.far.live())
		case <-again.C:
		}
		f = c.footprint()
	}
	if !settle {
		return f
	}
	// What the runtime gives back it gives back bit by bit.
	for since := time.Now(); time.Since(since) < calm; <-again.C {
		now := c.footprint()
		if now.memory < f.memory-f.memory/100 || now.memory > f.memory+f.memory/100 {
			since, f = time.Now(), now
		}
		select {
		case <-late.C:
			return now
		default:
		}
	}
	return c.footprint()
}

// calm is how long a process's memory must not have changed by more than 1 %.
const calm = 3 * time.Second

// descriptors tells what the gateway has open.
func (c *crowd) descriptors() (open []string) {
	folder := filepath.Join("/proc", strconv.Itoa(c.serve.cmd.Process.Pid), "fd")
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		if what, err := os.Readlink(filepath.Join(folder, entry.Name())); err == nil {
			open = append(open, what)
		}
	}
	return open
}

// sum is what all groups have done.
type sum struct{ tunnels, bytes int64 }

func (c *crowd) total() (s sum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.groups {
		s.tunnels += g.opened.Load()
		s.bytes += g.up.Load() + g.down.Load()
	}
	return s
}

// tally is what the log says of a group.
type tally struct {
	opened, closed, up, down int64
	reasons                  map[string]int
}

// checkLog wants no complaint in the gateway's log, an end for each tunnel that was
// opened, and in the accounts what devices and service have counted.
func (c *crowd) checkLog() {
	c.t.Helper()
	tallies := make(map[string]*tally)
	for line := range strings.Lines(c.serve.stderr.String()) {
		var a struct {
			account
			Level string
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			c.t.Errorf("no line for programs: %s", line)
		}
		if a.Level != "info" && a.Event != "lines_held_back" && a.Event != "files_low" {
			c.t.Errorf("the gateway complains: %s", line)
		}
		t := tallies[a.Device]
		if t == nil {
			t = &tally{reasons: make(map[string]int)}
			tallies[a.Device] = t
		}
		switch a.Event {
		case "tunnel_opened":
			t.opened++
		case "tunnel_closed":
			t.closed++
			t.up += a.Up
			t.down += a.Down
			t.reasons[a.Reason]++
		}
	}
	for name, g := range c.groups {
		c.compare(g, tallies[name])
	}
}

// compare holds a group's own counts against the log.
func (c *crowd) compare(g *group, t *tally) {
	c.t.Helper()
	if t == nil || t.opened != g.opened.Load() || t.closed != t.opened {
		c.t.Errorf("%s: %d tunnels, by the log %+v", g.name, g.opened.Load(), t)
		return
	}
	for reason := range t.reasons {
		if !slices.Contains(g.reasons, reason) {
			c.t.Errorf("%s: ended by %v, not %v", g.name, t.reasons, g.reasons)
		}
	}
	if g.exact && (t.up != g.up.Load() || t.down != g.down.Load()) {
		c.t.Errorf("%s: %d bytes up and %d down, by the accounts %d and %d", g.name, g.up.Load(), g.down.Load(), t.up, t.down)
	}
}

// checkGrowth wants the last cycle to leave no more memory behind than the second:
// the first is what fills pools and caches. What is in use when the collector runs
// differs from cycle to cycle, so a sixth and 16 MiB may. What a tunnel leaves
// behind adds up: of thousands a cycle, 2 KiB each are above that after three.
//
// The race detector has memory of its own for all memory that was ever in use, and
// gives none back: with it no more than a gross growth is seen.
func (c *crowd) checkGrowth() {
	c.t.Helper()
	if len(c.cycles) < 3 {
		return
	}
	second, last := c.cycles[1].quiet.memory, c.cycles[len(c.cycles)-1].quiet.memory
	most := second + second/6 + 16*mib
	if detectsRaces() {
		most = 2*second + 64*mib
	}
	if last > most {
		c.t.Errorf("after the last cycle the gateway has %d MiB, after the second %d: it grows", last/mib, second/mib)
	}
}

// detectsRaces tells of this program, which is the gateway's as well.
func detectsRaces() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// report sums up.
func (c *crowd) report() {
	c.t.Helper()
	var cuts []time.Duration
	for _, f := range c.cycles {
		cuts = append(cuts, f.cuts...)
	}
	all := c.total()
	c.t.Logf("seed %d: %d cycles, %d tunnels, %.1f MiB, every byte checked; %d tunnels of revoked users cut, p50 %.1f ms, p99 %.1f ms, at most %.1f ms; before %v",
		c.seed, len(c.cycles), all.tunnels, float64(all.bytes)/mib, len(cuts),
		ms(part(cuts, 50)), ms(part(cuts, 99)), ms(part(cuts, 100)), c.base)
}
