package tunnel

import "time"

// Defaults of Limits.
const (
	DefaultIdle       = 3900 * time.Second
	DefaultHalfClose  = 2 * time.Minute
	DefaultWriteStall = 5 * time.Minute
)

// Limits bound a tunnel in time. In each field zero means the default, and a
// negative value no limit.
type Limits struct {
	// Idle is how long no byte may move in either direction. The default is
	// above the 3,540 s that a device's Direct Push request may hang.
	Idle time.Duration
	// HalfClose is how long no byte may move after one side has finished.
	HalfClose time.Duration
	// WriteStall is how long up to 256 KiB that were read from one side may
	// take to be accepted by the other. The default outlasts a phone's few
	// minutes without coverage.
	WriteStall time.Duration
}

// never is a limit that does not pass: 292 years.
const never = time.Duration(1<<63 - 1)

func (l Limits) withDefaults() Limits {
	set := func(d *time.Duration, normal time.Duration) {
		switch {
		case *d == 0:
			*d = normal
		case *d < 0:
			*d = never
		}
	}
	set(&l.Idle, DefaultIdle)
	set(&l.HalfClose, DefaultHalfClose)
	set(&l.WriteStall, DefaultWriteStall)
	return l
}

// moments are what limits go by, on a clock that only goes forward. Zero means
// that it has not happened.
type moments struct {
	last    time.Duration    // a byte moved
	writing [2]time.Duration // the write under way in each direction began
	half    time.Duration    // a direction ended
}

// look returns the limit that has passed, or how long none can.
func (l *Limits) look(now time.Duration, m moments) (CloseReason, time.Duration) {
	wait := never
	for _, began := range m.writing {
		if began == 0 {
			began = now // a write may begin any time
		}
		left := l.WriteStall - (now - began)
		if left <= 0 {
			return Stall, 0
		}
		wait = min(wait, left)
	}
	if m.half != 0 {
		left := l.HalfClose - (now - max(m.last, m.half))
		if left <= 0 {
			return HalfClose, 0
		}
		wait = min(wait, left)
	}
	left := l.Idle - (now - m.last)
	if left <= 0 {
		return Idle, 0
	}
	return "", min(wait, left)
}
