package evidence

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// errEnded is for a process that is no more, or whose number is another's now.
var errEnded = errors.New("the process has ended")

func watchedSubject(w Watched) string { return fmt.Sprintf("%s (process %d)", plain(w.Role), w.PID) }

// process reads what a watched process has used. born is when it began, in ticks, as
// seen first; 0 if it has not been seen yet.
func (p place) process(w Watched, born uint64, missing *gaps) (now processState) {
	subject := watchedSubject(w)
	text, err := os.ReadFile(p.proc("%d/stat", w.PID))
	if errors.Is(err, fs.ErrNotExist) || w.PID <= 0 {
		err = errEnded
	}
	var stat processStat
	if err == nil {
		stat, err = parseProcess(text)
	}
	if err == nil && (stat.state == 'Z' || stat.state == 'X' || born != 0 && stat.began != born) {
		err = errEnded
	}
	if err == nil {
		now.cpu, err = p.kernel.processor(w.PID)
	}
	if err != nil {
		missing.add(subject, "all of it", err)
		return processState{}
	}
	now.there, now.began, now.threads = true, stat.began, stat.threads
	now.rss, err = p.resident(w.PID)
	missing.add(subject, "resident memory", err)
	now.files, err = p.files(w.PID)
	missing.add(subject, "open files", err)
	now.quota = p.quota(strconv.Itoa(w.PID), subject, missing)
	now.allowed = len(read(missing, subject, "allowed cores", p.proc("%d/status", w.PID), parseAllowed))
	return now
}

// resident is the resident set in KiB. smaps_rollup is exact and may be read by the
// process's owner; the counters in statm are summed lazily and can be some MiB off, and
// everybody may read them.
func (p place) resident(pid int) (int64, error) {
	if text, err := os.ReadFile(p.proc("%d/smaps_rollup", pid)); err == nil {
		if rss, there := parsePairs(text)["Rss"]; there {
			return int64(rss), nil
		}
	}
	text, err := os.ReadFile(p.proc("%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := parseStatm(text)
	return pages * int64(os.Getpagesize()) / 1024, err
}

// files is how many descriptors are open. Kernels from 6.2 on give it as the size of
// the folder; others want it read, which takes a while when there are many.
func (p place) files(pid int) (int, error) {
	folder := p.proc("%d/fd", pid)
	if info, err := os.Stat(folder); err == nil && info.Size() > 0 {
		return int(info.Size()), nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	return len(names), err
}
