package main

import "time"

// goal is what a figure should be, at most: its median, or the median of its
// ratios to the naive gateway.
type goal struct {
	figure, gateway string
	ratio           bool
	atMost, stretch float64
}

// goals are those of the project. std is the record layer of crypto/tls, which
// is the default; direct is our own.
func goals(after time.Duration) []goal {
	set := []goal{
		{relayDown, stdLayer, true, 0.87, 0.80},
		{relayDown, directLayer, true, 0.80, 0.70},
		{relayUp, stdLayer, true, 0.87, 0.80},
		{relayUp, directLayer, true, 0.80, 0.70},
		{newTunnel, stdLayer, true, 0.90, 0.75},
		{newTunnel, directLayer, true, 0.90, 0.75},
		{addedP50, stdLayer, true, 1, 0.80},
		{addedP50, directLayer, true, 1, 0.80},
	}
	for _, idle := range []struct {
		figure                   string
		std, stdStretch          float64 // KiB
		directMost, directLowest float64
	}{
		{idleBoth, 10, 8, 3, 1},
		{idleUpload, 36, 17, 3, 1},
	} {
		for _, figure := range []string{idle.figure, later(idle.figure, after)} {
			set = append(set,
				goal{figure, stdLayer, false, idle.std, idle.stdStretch},
				goal{figure, directLayer, false, idle.directMost, idle.directLowest})
		}
	}
	return set
}

// verdict is what a row says of its goal.
type verdict string

const (
	passStretch verdict = "pass, and the stretch"
	pass        verdict = "pass"
	fallsShort  verdict = "falls short"
	unjudged    verdict = ""
)

func (g goal) judge(value float64) verdict {
	switch {
	case value <= g.stretch:
		return passStretch
	case value <= g.atMost:
		return pass
	}
	return fallsShort
}
