package load

import "time"

// The kinds of scenario.
const (
	Setup       = "setup"
	Idle        = "idle"
	Bulk        = "bulk"
	Requests    = "requests"
	Push        = "push"
	Storm       = "storm"
	Morning     = "morning"
	Revoke      = "revoke"
	Extender    = "extender"
	Attachments = "attachments"
	Day         = "day"
)

// Kinds are all of them.
func Kinds() []string {
	return []string{Setup, Idle, Bulk, Requests, Push, Storm, Morning, Revoke, Extender, Attachments, Day}
}

// Rows are the names that a result of that kind may have in its Operations, as the
// package documentation has them; nil for an unknown kind.
func Rows(kind string) []string {
	switch kind {
	case Setup:
		return []string{"setup", "exchange"}
	case Idle, Requests:
		return []string{"exchange"}
	case Bulk:
		return []string{"transfer"}
	case Push:
		return []string{"poll", "setup"}
	case Storm:
		return []string{"wake", "poll", "setup", "sync", "fetch"}
	case Morning:
		return []string{"morning", "setup", "exchange"}
	case Revoke:
		return []string{"revoke"}
	case Extender:
		return []string{"subscribe", "event", "setup"}
	case Attachments:
		return []string{"attachment"}
	case Day:
		return []string{"poll", "sync", "attachment", "setup", "exchange"}
	}
	return nil
}

// uses says which fields of a Scenario a kind knows.
type uses struct {
	rate, devices, streams, within, heartbeat, warm, trigger, extender bool
	bodies                                                             bool // UpBytes and DownBytes
}

func (s Scenario) uses() (uses, bool) {
	switch s.Kind {
	case Setup:
		return uses{rate: true, bodies: true}, true
	case Idle:
		return uses{devices: true, bodies: true}, true
	case Bulk:
		return uses{streams: true, bodies: true}, true
	case Requests:
		return uses{rate: true, devices: true, bodies: true}, true
	case Attachments:
		return uses{rate: true, devices: true}, true
	case Push:
		return uses{devices: true, heartbeat: true}, true
	case Storm:
		return uses{devices: true, within: true, warm: true, bodies: true}, true
	case Morning:
		return uses{devices: true, within: true, bodies: true}, true
	case Revoke:
		return uses{devices: true, trigger: true}, true
	case Extender:
		return uses{extender: true}, true
	case Day:
		return uses{rate: true, devices: true, heartbeat: true, bodies: true}, true
	}
	return uses{}, false
}

// holds says whether the kind opens tunnels in the ramp, to hold them.
func (s Scenario) holds() bool {
	switch s.Kind {
	case Setup, Bulk, Morning:
		return false
	case Storm:
		return s.Warm > 0
	}
	return true
}

// The long polls of Direct Push: 8 to 59 minutes are usual; the longest is 3,540 s.
const (
	heartbeatMin = 8 * time.Minute
	heartbeatMax = 59 * time.Minute
)

// Default is a scenario of that kind as package documentation has it. It is small
// enough for two hosts of two cores each: a place to begin. An unknown kind gets
// nothing but its name, which Check refuses.
func Default(kind string) Scenario {
	s := Scenario{Kind: kind, Ramp: 5 * time.Second, Sustain: time.Minute, Down: 2 * time.Second, Scale: 1}
	switch kind {
	case Setup:
		s.Rate, s.UpBytes, s.DownBytes = 100, requestUp, requestUp
	case Idle:
		s.Devices, s.Ramp, s.UpBytes, s.DownBytes = 1000, 10*time.Second, requestUp, requestUp
	case Bulk:
		s.Streams, s.Direction, s.UpBytes, s.DownBytes = 4, "down", transferSize, transferSize
	case Requests:
		s.Rate, s.Devices, s.UpBytes, s.DownBytes = 500, 100, requestUp, requestDown
	case Push:
		s.Devices, s.Ramp, s.Sustain = 1000, 10*time.Second, 2*time.Minute
		s.Heartbeat, s.Scale = [2]time.Duration{heartbeatMin, heartbeatMax}, 60
	case Storm:
		s.Devices, s.Ramp, s.Within, s.Warm = 1000, 10*time.Second, 10*time.Second, 0.5
		s.UpBytes, s.DownBytes = syncUp, fetchDown
	case Morning:
		s.Devices, s.Ramp, s.Within = 1000, 0, 30*time.Second
		s.UpBytes, s.DownBytes = syncUp, folderDown
	case Revoke:
		s.Devices, s.Ramp, s.Sustain = 1000, 10*time.Second, 20*time.Second
	case Extender:
		s.Ramp, s.Accounts, s.Mailboxes = 10*time.Second, 12, 1250
		s.Sustain, s.Scale = 2*time.Minute, 10
	case Attachments:
		s.Rate, s.Devices = 5, 50
	case Day:
		s.Rate, s.Devices, s.Ramp, s.Sustain = 20, 500, 10*time.Second, 2*time.Minute
		s.Heartbeat, s.Scale, s.UpBytes, s.DownBytes = [2]time.Duration{heartbeatMin, heartbeatMax}, 60, syncUp, syncDown
	default:
		return Scenario{Kind: kind}
	}
	return s
}
