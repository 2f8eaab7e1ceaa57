package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/bench/load"
)

// scenarioFlags change what a kind of scenario is by default. A flag that the kind has
// no use for is a mistake, and load says so.
type scenarioFlags struct {
	change    load.Scenario
	heartbeat string
	trigger   string
}

func (f *scenarioFlags) add(cmd *cobra.Command) {
	s, c := cmd.Flags(), &f.change
	s.Float64Var(&c.Rate, "rate", 0, "operations a second")
	s.IntVar(&c.Devices, "devices", 0, "how many devices, or held tunnels")
	s.IntVar(&c.Streams, "streams", 0, "how many bulk transfers at a time")
	s.DurationVar(&c.Ramp, "ramp", 0, "how long the load rises; nothing of it counts")
	s.DurationVar(&c.Sustain, "sustain", 0, "how long it stays; what is scheduled within it counts")
	s.DurationVar(&c.Down, "down", 0, "how long it falls")
	s.DurationVar(&c.Within, "within", 0, "the time in which all devices are woken")
	s.StringVar(&f.heartbeat, "heartbeat", "", "shortest and longest long poll, a `RANGE` such as 8m-59m")
	s.Float64Var(&c.Scale, "scale", 0, "divides the times of a day: 60 makes minutes seconds")
	s.Int64Var(&c.UpBytes, "up-bytes", 0, "bytes that an exchange sends")
	s.Int64Var(&c.DownBytes, "down-bytes", 0, "bytes that it gets")
	s.IntVar(&c.Write, "write", 0, "bytes of one write of the service")
	s.StringVar(&c.Direction, "direction", "", "of bulk, `WAY`: down, up or both")
	s.Float64Var(&c.Warm, "warm", 0, "the share of devices, 0 to 1, that have a tunnel when they are woken")
	s.BoolVar(&c.Poisson, "poisson", false, "arrivals at random, not evenly")
	s.StringVar(&f.trigger, "trigger", "", "the `COMMAND` that revokes, its words parted by blanks; no shell, and no terminal to ask on")
	s.IntVar(&c.Accounts, "accounts", 0, "accounts of a Cloud Extender")
	s.IntVar(&c.Mailboxes, "mailboxes", 0, "mailboxes of an account")
}

// scenario is the kind's default with what was asked for otherwise.
func (f *scenarioFlags) scenario(kind string, asked func(flag string) bool) (load.Scenario, error) {
	s := load.Default(kind)
	c := f.change
	for flag, set := range map[string]func(){
		"rate": func() { s.Rate = c.Rate }, "devices": func() { s.Devices = c.Devices },
		"streams": func() { s.Streams = c.Streams }, "ramp": func() { s.Ramp = c.Ramp },
		"sustain": func() { s.Sustain = c.Sustain }, "down": func() { s.Down = c.Down },
		"within": func() { s.Within = c.Within }, "scale": func() { s.Scale = c.Scale },
		"up-bytes": func() { s.UpBytes = c.UpBytes }, "down-bytes": func() { s.DownBytes = c.DownBytes },
		"write": func() { s.Write = c.Write }, "direction": func() { s.Direction = c.Direction },
		"warm": func() { s.Warm = c.Warm }, "poisson": func() { s.Poisson = c.Poisson },
		"accounts": func() { s.Accounts = c.Accounts }, "mailboxes": func() { s.Mailboxes = c.Mailboxes },
		"trigger": func() { s.Trigger = strings.Fields(f.trigger) },
	} {
		if asked(flag) {
			set()
		}
	}
	if asked("heartbeat") {
		shortest, longest, is := strings.Cut(f.heartbeat, "-")
		if !is {
			longest = shortest
		}
		for i, text := range []string{shortest, longest} {
			d, err := time.ParseDuration(text)
			if err != nil {
				return s, fmt.Errorf("--heartbeat: %q is not a range such as 8m-59m", f.heartbeat)
			}
			s.Heartbeat[i] = d
		}
	}
	return s, nil
}
