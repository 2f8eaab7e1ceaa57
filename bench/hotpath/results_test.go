package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestArithmetic checks what a report makes of samples.
func TestArithmetic(t *testing.T) {
	var r results
	add := func(figure, gateway string, rounds ...float64) {
		for _, value := range rounds {
			r.add(figure, "u", gateway, value)
		}
	}
	add(relayDown, naiveGateway, 2, 4, 1)
	add(relayDown, stdLayer, 1.6, 2, 0.9)
	add(relayUp, naiveGateway, 1, 1, 1)
	add(relayUp, directLayer, 0.75, 0.79, 0.5)
	add(newTunnel, naiveGateway, 1, 2)
	add(newTunnel, stdLayer, 1, 1.84)
	add(idleBoth, naiveGateway, 50)
	add(idleBoth, stdLayer, 10)
	add(idleUpload, stdLayer, 36.1)
	add(delayP50, plain, 20, 30)
	add(delayP50, naiveGateway, 80, 120)
	add(delayP50, stdLayer, 50, 120)
	add(byCarrier(relayUp), stdLayer, 1, 2, 1)
	add(byCarrier(relayUp), carrierQUIC, 3, 7, 4)
	add(idleOneMore, carrierQUIC, 6)
	r.subtract(addedP50, delayP50, plain)

	made := newReport(&r, goals(time.Minute))
	for _, want := range []struct {
		figure, gateway string
		value           spread
		ratio           *spread
		verdict         verdict
	}{
		{relayDown, naiveGateway, spread{1, 2, 4}, nil, unjudged},
		{relayDown, stdLayer, spread{0.9, 1.6, 2}, &spread{0.5, 0.8, 0.9}, passStretch},
		{relayUp, directLayer, spread{0.5, 0.75, 0.79}, &spread{0.5, 0.75, 0.79}, pass},
		{newTunnel, stdLayer, spread{1, 1.42, 1.84}, &spread{0.92, 0.96, 1}, fallsShort},
		{idleBoth, stdLayer, spread{10, 10, 10}, &spread{0.2, 0.2, 0.2}, pass},
		{idleUpload, stdLayer, spread{36.1, 36.1, 36.1}, nil, fallsShort},
		{delayP50, plain, spread{20, 25, 30}, &spread{0.25, 0.25, 0.25}, unjudged},
		{addedP50, naiveGateway, spread{60, 75, 90}, nil, unjudged},
		{addedP50, stdLayer, spread{30, 60, 90}, &spread{0.5, 0.75, 1}, passStretch},
		{byCarrier(relayUp), carrierQUIC, spread{3, 4, 7}, nil, pass},
		{idleOneMore, carrierQUIC, spread{6, 6, 6}, nil, pass},
	} {
		i := slices.IndexFunc(made.Rows, func(r row) bool { return r.Figure == want.figure && r.Gateway == want.gateway })
		if i < 0 {
			t.Errorf("no row of %q for %s", want.figure, want.gateway)
			continue
		}
		got := made.Rows[i]
		if got.Value != want.value || got.Verdict != want.verdict {
			t.Errorf("%q for %s: %v %q, not %v %q", want.figure, want.gateway, got.Value, got.Verdict, want.value, want.verdict)
		}
		if (got.Ratio == nil) != (want.ratio == nil) || got.Ratio != nil && *got.Ratio != *want.ratio {
			t.Errorf("%q for %s: ratio %v, not %v", want.figure, want.gateway, got.Ratio, want.ratio)
		}
	}
	if made.short() != 2 {
		t.Errorf("%d goals are not met, not 2", made.short())
	}
	// Rounds that are as far apart as these are worth a warning.
	if len(made.Warnings) != 4 || !strings.HasPrefix(made.Warnings[0], relayDown+": ") || !strings.Contains(made.Warnings[0], "300 %") {
		t.Errorf("the warnings are %q", made.Warnings)
	}
	var text bytes.Buffer
	if err := made.print(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0.500 – 0.800 – 0.900", "≤ 0.87 × (0.80)", "≤ 36 KiB (17)", "3.000 – 3.500 – 4.000", "≤ 3.80 × std (3.20)", "≤ 6 KiB  ", "\n6 of 8 goals met\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, &text)
		}
	}
}

// TestRatiosNeedBoth makes no ratio of what was not measured.
func TestRatiosNeedBoth(t *testing.T) {
	of := func(rounds ...float64) *column { return &column{rounds: rounds} }
	for name, got := range map[string][]float64{
		"nothing":       ratios(nil, of(1)),
		"by nothing":    ratios(of(1), nil),
		"by zero":       ratios(of(1, 1), of(1, 0)),
		"by a negative": ratios(of(1), of(-1)),
		"other rounds":  ratios(of(1, 2), of(1)),
		"no rounds":     ratios(of(), of()),
	} {
		if got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestEveryGoalCanBeMet(t *testing.T) {
	for _, g := range goals(time.Minute) {
		if g.stretch > 0 && g.judge(g.stretch) != passStretch || g.judge(g.atMost) != pass || g.judge(g.atMost*1.001) != fallsShort {
			t.Errorf("goal %+v is not judged by its bounds", g)
		}
	}
}

func TestQuantile(t *testing.T) {
	delays := make([]time.Duration, 100)
	for i := range delays {
		delays[i] = time.Duration(100 - i)
	}
	if p50, p99 := quantile(delays, 50), quantile(delays, 99); p50 != 50 || p99 != 99 {
		t.Errorf("of 1 to 100: p50 %d, p99 %d", p50, p99)
	}
	if of := quantile(nil, 50); of != 0 {
		t.Errorf("of none: %d", of)
	}
	if of := quantile([]time.Duration{7}, 99); of != 7 {
		t.Errorf("of one: %d", of)
	}
}
