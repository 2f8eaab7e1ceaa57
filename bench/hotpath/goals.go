package main

import "time"

// goal is what a figure should be, at most: its median, or the median of its
// ratios to another gateway.
type goal struct {
	figure, gateway string
	times           string  // of which gateway: the naive one, std, or empty for the figure itself
	atMost, stretch float64 // stretch is zero if none is named
}

// goals are those of the project. std is the record layer of crypto/tls, which
// is the default; direct is our own. Of carriers, QUIC has goals, and is held against
// std.
func goals(after time.Duration) []goal {
	set := []goal{
		{relayDown, stdLayer, naiveGateway, 0.87, 0.80},
		{relayDown, directLayer, naiveGateway, 0.80, 0.70},
		{relayUp, stdLayer, naiveGateway, 0.87, 0.80},
		{relayUp, directLayer, naiveGateway, 0.80, 0.70},
		{newTunnel, stdLayer, naiveGateway, 0.90, 0.75},
		{newTunnel, directLayer, naiveGateway, 0.90, 0.75},
		{addedP50, stdLayer, naiveGateway, 1, 0.80},
		{addedP50, directLayer, naiveGateway, 1, 0.80},
	}
	for _, idle := range []struct {
		figure                   string
		std, stdStretch          float64 // KiB
		directMost, directLowest float64
	}{
		{idleBoth, 10, 8, 3, 1},
		{idleUpload, 36, 17, 3, 1},
	} {
		for _, figure := range []string{atOnce(idle.figure), idle.figure, later(idle.figure, after)} {
			set = append(set,
				goal{figure, stdLayer, "", idle.std, idle.stdStretch},
				goal{figure, directLayer, "", idle.directMost, idle.directLowest})
		}
	}
	return append(set,
		goal{byCarrier(relayDown), carrierQUIC, stdLayer, 3.8, 3.2},
		goal{byCarrier(relayUp), carrierQUIC, stdLayer, 3.8, 3.2},
		goal{idleConnection, carrierQUIC, "", 60, 50},
		goal{idleOneMore, carrierQUIC, "", 6, 0})
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
	case g.stretch > 0 && value <= g.stretch:
		return passStretch
	case value <= g.atMost:
		return pass
	}
	return fallsShort
}
