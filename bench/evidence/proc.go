package evidence

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// coreTimes is a line of /proc/stat: where a core's time went since the machine
// began, in ticks.
type coreTimes struct {
	user, system, softirq, irq, steal, idle uint64
}

func (c coreTimes) all() uint64 {
	return c.user + c.system + c.softirq + c.irq + c.steal + c.idle
}

// parseCores reads the lines of /proc/stat that are of one core each:
//
//	cpu3 user nice system idle iowait irq softirq steal guest guest_nice
//
// Guests are in user and nice already. A core that was taken offline has no line.
func parseCores(stat []byte) map[int]coreTimes {
	const fields = 8
	cores := make(map[int]coreTimes)
	for line := range bytes.Lines(stat) {
		name, rest, _ := strings.Cut(string(line), " ")
		id, err := strconv.Atoi(strings.TrimPrefix(name, "cpu"))
		if err != nil || id < 0 || id > lastCore || !strings.HasPrefix(name, "cpu") {
			continue
		}
		n, ok := numbers(strings.Fields(rest), 10)
		if !ok || len(n) < fields {
			continue
		}
		cores[id] = coreTimes{user: n[0] + n[1], system: n[2], idle: n[3] + n[4], irq: n[5], softirq: n[6], steal: n[7]}
	}
	return cores
}

// parseSoftnet sums /proc/net/softnet_stat over the cores: packets that the backlog
// had no room for, and how often a core used up its budget. The columns are hex:
//
//	processed dropped time_squeeze …
func parseSoftnet(text []byte) (dropped, squeezed uint64, err error) {
	for line := range bytes.Lines(text) {
		n, ok := numbers(strings.Fields(string(line)), 16)
		if !ok || len(n) < 3 {
			return 0, 0, fmt.Errorf("a line of softnet_stat with %d columns: %w", len(n), errNotThere)
		}
		dropped += n[1]
		squeezed += n[2]
	}
	return dropped, squeezed, nil
}

// parseColumns reads /proc/net/netstat and /proc/net/snmp, where a line of names is
// followed by a line of values. The key is "TcpExt ListenDrops". New kernels add
// columns anywhere, so only the name counts. What is negative (no limit) is left out.
func parseColumns(text []byte) map[string]uint64 {
	values := make(map[string]uint64)
	var group string
	var names []string
	for line := range bytes.Lines(text) {
		of, rest, found := strings.Cut(string(line), ":")
		if !found {
			group, names = "", nil
			continue
		}
		if of != group {
			group, names = of, strings.Fields(rest)
			continue
		}
		for i, field := range strings.Fields(rest) {
			if value, err := strconv.ParseUint(field, 10, 64); err == nil && i < len(names) {
				values[group+" "+names[i]] = value
			}
		}
		group, names = "", nil
	}
	return values
}

// parsePairs reads a name and a number a line, as /proc/meminfo, /proc/PID/status and
// /proc/net/snmp6 have them; a colon and a unit are taken off.
func parsePairs(text []byte) map[string]uint64 {
	values := make(map[string]uint64)
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 {
			continue
		}
		if value, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
			values[strings.TrimSuffix(fields[0], ":")] = value
		}
	}
	return values
}

// parseInterrupts reads the names of /proc/interrupts by number. Behind a count for
// each core stand the controller, the line and how it triggers, in two fields on x86
// and in three elsewhere:
//
//	41:  19797  0  PCI-MSIX-0000:00:04.0  1-edge  eth0-rx-0
//	52:  0      7  ITS-MSI 524289 Edge            eth0-rx-1
func parseInterrupts(text []byte) map[int]string {
	names := make(map[int]string)
	cores := -1
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if cores < 0 {
			cores = len(fields) // the heading
			continue
		}
		if len(fields) < 1+cores {
			continue
		}
		number, err := strconv.Atoi(strings.TrimSuffix(fields[0], ":"))
		if err != nil || number < 0 {
			continue // NMI, LOC and the others have no number
		}
		behind := fields[1+cores:]
		skip := 2
		if len(behind) > 2 && slices.Contains([]string{"Level", "Edge", "None"}, behind[2]) {
			skip = 3
		}
		if len(behind) > skip {
			names[number] = strings.Join(behind[skip:], " ")
		}
	}
	return names
}

// lastCore is more than Linux can be built for.
const lastCore = 1<<16 - 1

// parseList reads a list as cpusets have it, "0-3,8"; nothing is an empty one.
func parseList(text string) ([]int, error) {
	list := []int{}
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		if part == "" {
			continue
		}
		low, high, spans := strings.Cut(part, "-")
		if !spans {
			high = low
		}
		from, err := strconv.Atoi(low)
		if err != nil {
			return nil, fmt.Errorf("list of cores: %w", err)
		}
		to, err := strconv.Atoi(high)
		if err != nil {
			return nil, fmt.Errorf("list of cores: %w", err)
		}
		if from < 0 || to < from || to > lastCore || len(list)+to-from > lastCore {
			return nil, fmt.Errorf("list of cores: from %d to %d", from, to)
		}
		for core := from; core <= to; core++ {
			list = append(list, core)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// parseProcessor reads /proc/cpuinfo: the model, and whether the processor says that
// it is a virtual one. Arm names parts by number.
func parseProcessor(cpuinfo []byte) (model string, virtual bool) {
	var implementer, part string
	for line := range bytes.Lines(cpuinfo) {
		key, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "model name", "Model":
			model = value
		case "CPU implementer":
			implementer = value
		case "CPU part":
			part = value
		case "flags":
			return model, slices.Contains(strings.Fields(value), "hypervisor")
		}
	}
	if model == "" && implementer != "" {
		model = "implementer " + implementer + ", part " + part
	}
	return model, false
}

// parseFiles reads how many descriptors a process may have out of /proc/PID/limits:
// the hard limit, to which Go's runtime raises the soft one.
func parseFiles(limits []byte) (uint64, error) {
	for line := range bytes.Lines(limits) {
		rest, found := strings.CutPrefix(string(line), "Max open files")
		fields := strings.Fields(rest)
		if !found || len(fields) < 2 {
			continue
		}
		if fields[1] == "unlimited" {
			return math.MaxUint64, nil
		}
		return strconv.ParseUint(fields[1], 10, 64)
	}
	return 0, errNotThere
}

// processStat is what /proc/PID/stat says.
type processStat struct {
	state   byte // R, S, D, Z …
	threads int
	began   uint64 // ticks since the machine began; with the number, names a process
}

// parseAllowed reads /proc/PID/status: the cores that the process may run on.
func parseAllowed(status []byte) ([]int, error) {
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "Cpus_allowed_list:"); found {
			return parseList(rest)
		}
	}
	return nil, errNotThere
}

// parseProcess reads /proc/PID/stat. The name of the program, in brackets, is its own
// choice and may hold blanks and brackets; the last bracket ends it.
func parseProcess(stat []byte) (processStat, error) {
	const state, threads, began = 0, 17, 19 // of what follows the name
	end := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if end < 0 || len(fields) <= began {
		return processStat{}, errNotThere
	}
	p := processStat{state: fields[state][0]}
	var err error
	if p.threads, err = strconv.Atoi(fields[threads]); err != nil {
		return processStat{}, err
	}
	p.began, err = strconv.ParseUint(fields[began], 10, 64)
	return p, err
}

// parseStatm is the resident set in pages.
func parseStatm(statm []byte) (int64, error) {
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, errNotThere
	}
	return strconv.ParseInt(fields[1], 10, 64)
}

// parseQuota reads cpu.max, "200000 100000" or "max 100000", as cores; 0 is no quota.
func parseQuota(text []byte) (float64, error) {
	fields := strings.Fields(string(text))
	if len(fields) != 2 {
		return 0, errNotThere
	}
	if fields[0] == "max" {
		return 0, nil
	}
	n, ok := numbers(fields, 10)
	if !ok || n[1] == 0 {
		return 0, errNotThere
	}
	return float64(n[0]) / float64(n[1]), nil
}

func numbers(fields []string, base int) ([]uint64, bool) {
	n := make([]uint64, len(fields))
	for i, field := range fields {
		var err error
		if n[i], err = strconv.ParseUint(field, base, 64); err != nil {
			return nil, false
		}
	}
	return n, true
}
