package evidence

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Watched is a process to watch. Role is what a reader calls it: gateway, generator,
// sink.
type Watched struct {
	Role string `json:"role"`
	PID  int    `json:"pid"`
}

// Sampler says what happens on this host, from one call of Sample to the next. It is
// for one goroutine, holds nothing open and needs no end.
type Sampler struct {
	place
	watched []Watched
	born    []uint64 // when each began, once seen: its number may go to another
	now     func() time.Time
	before  *state
}

// NewSampler watches these processes beside the host.
func NewSampler(watch ...Watched) *Sampler {
	return &Sampler{place: here(), watched: slices.Clone(watch), born: make([]uint64, len(watch)), now: time.Now}
}

// Sample says what happened since the call before. The first call sets the base: its
// Took is 0, it has no differences, only what is so now. What cannot be read is a Gap
// of the sample, and the run goes on; the error is kept for a host on which sampling
// makes no sense at all, and is always nil today.
func (s *Sampler) Sample() (Sample, error) {
	if s.kernel == nil {
		return Sample{At: s.now(), Gaps: []Gap{notBuilt()}}, nil
	}
	now := s.state()
	before := s.before
	if before == nil {
		before = &now
	}
	s.before = &now
	return between(before, &now), nil
}

// state is what a host has counted by a moment.
type state struct {
	at        time.Time
	cores     map[int]coreTimes
	mhz       map[int]float64
	links     map[int]linkState // by index
	linked    bool              // links were read, all of them
	qdiscs    []qdisc
	stack     map[string]uint64 // of netstat, snmp, snmp6, by their names
	softnet   softnet
	gauges    Network // Conntrack and its limit
	available int64
	watched   []Watched
	processes []processState // of those watched
	missing   gaps
}

// softnet is what the cores counted beneath the protocols.
type softnet struct{ dropped, squeezed uint64 }

type linkState struct {
	name      string
	speedMbit int64 // 0 is unknown
	counters  linkCounters
	driver    map[string]uint64
}

// processState is a watched process. One that could not be read is not there.
type processState struct {
	there   bool
	began   uint64
	cpu     time.Duration
	rss     int64
	threads int
	files   int
	allowed int
	quota   float64
}

// state reads everything. Processes come first: what this takes of them is not to be in
// their share.
func (s *Sampler) state() state {
	now := state{at: s.now(), watched: s.watched}
	for i, w := range s.watched {
		is := s.process(w, s.born[i], &now.missing)
		if is.there {
			s.born[i] = is.began
		}
		now.processes = append(now.processes, is)
	}
	s.counted(&now)
	s.linksNow(&now)
	var err error
	now.qdiscs, err = s.kernel.qdiscs()
	now.missing.add("interfaces", "queueing disciplines", err)
	return now
}

// counted reads what the machine and its network stack counted.
func (p place) counted(now *state) {
	const subject = "host"
	now.cores = read(&now.missing, subject, "cores", p.proc("stat"), sure(parseCores))
	now.mhz = make(map[int]float64)
	for core := range now.cores {
		text, err := word(p.sys("devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", core))
		if kHz, bad := strconv.ParseFloat(text, 64); err == nil && bad == nil {
			now.mhz[core] = kHz / 1000
		}
	}
	memory := read(&now.missing, subject, "memory", p.proc("meminfo"), sure(parsePairs))
	now.available = int64(memory["MemAvailable"])

	now.softnet = read(&now.missing, subject, "softnet", p.proc("net/softnet_stat"), func(text []byte) (s softnet, err error) {
		s.dropped, s.squeezed, err = parseSoftnet(text)
		return s, err
	})
	now.stack = make(map[string]uint64)
	for _, file := range []string{"net/netstat", "net/snmp"} {
		for name, value := range read(&now.missing, subject, file, p.proc("%s", file), sure(parseColumns)) {
			now.stack[name] = value
		}
	}
	// A kernel without IPv6 has no such file, and lacks nothing.
	if text, err := os.ReadFile(p.proc("net/snmp6")); err == nil {
		for name, value := range parsePairs(text) {
			now.stack[name] = value
		}
	}
	now.gauges.Conntrack = p.number("sys/net/netfilter/nf_conntrack_count")
	now.gauges.ConntrackMax = p.number("sys/net/netfilter/nf_conntrack_max")
}

// number is what a file of /proc says, 0 if it is not there.
func (p place) number(file string) uint64 {
	text, _ := word(p.proc("%s", file))
	value, _ := strconv.ParseUint(text, 10, 64)
	return value
}

func (p place) linksNow(now *state) {
	links, err := p.kernel.links()
	now.missing.add("interfaces", "counters", err)
	now.links, now.linked = make(map[int]linkState), err == nil
	for _, l := range links {
		have := linkState{name: l.name, counters: l.counters}
		now.links[l.index] = p.cardNow(l, have, &now.missing)
	}
}

// cardNow adds what only hardware has: the driver's counters, and a line rate that may
// have been negotiated anew since the last sample.
func (p place) cardNow(l link, have linkState, missing *gaps) linkState {
	if l.loopback || l.kind != "" || p.shown(l) != nil {
		return have
	}
	to, err := os.Readlink(p.sys("class/net/%s/device/driver", l.name))
	driver := to[strings.LastIndexByte(to, '/')+1:]
	kind := kindOf(l, err == nil, driver)
	if !card(kind) {
		return have
	}
	if kind == "physical" && l.up {
		have.speedMbit, err = p.speed(l.name)
		missing.add(subjectOf(l.name), "line rate", err)
	}
	have.driver, err = p.kernel.counters(l.name)
	missing.add(subjectOf(l.name), "counters of the driver", err)
	return have
}
