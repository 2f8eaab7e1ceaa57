package report

import (
	"strings"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	five := func(better string, values ...float64) *Figure {
		f := NewFigure("a", "f", "ms", better, values)
		return &f
	}
	for name, c := range map[string]struct {
		old, new *Figure
		want     Judgment
	}{
		"lower and apart":      {five("lower", 5, 6, 7, 8, 9), five("lower", 1, 2, 3, 4, 4.9), Better},
		"higher and apart":     {five("lower", 1, 2, 3, 4, 5), five("lower", 6, 7, 8, 9, 9), Worse},
		"more is better":       {five("higher", 1, 2, 3, 4, 5), five("higher", 6, 7, 8, 9, 9), Better},
		"neither is better":    {five("", 1, 2, 3, 4, 5), five("", 6, 7, 8, 9, 9), Changed},
		"they touch":           {five("lower", 1, 2, 3, 4, 5), five("lower", 5, 6, 7, 8, 9), WithinNoise},
		"one within the other": {five("lower", 1, 2, 3, 4, 50), five("lower", 20, 21, 22, 23, 24), WithinNoise},
		"four rounds":          {five("lower", 1, 2, 3, 4), five("lower", 6, 7, 8, 9, 9), TooFew},
		"another unit":         {five("lower", 1, 2, 3, 4, 5), &Figure{Endpoint: "a", Name: "f", Unit: "s", Rounds: []float64{6, 7, 8, 9, 9}, Low: 6, High: 9}, NotTheSame},
	} {
		old, new := &Report{Endpoints: []string{"a"}, Figures: []Figure{*c.old}}, &Report{Endpoints: []string{"a"}, Figures: []Figure{*c.new}}
		if got := Diff(old, new).Figures; len(got) != 1 || got[0].Judgment != c.want {
			t.Errorf("%s: %+v, not %s", name, got, c.want)
		}
		new.Void = []Cause{{What: "sink"}}
		if got := Diff(old, new).Figures[0].Judgment; got != IsVoid {
			t.Errorf("%s, but void: %s", name, got)
		}
		new.Void = nil
		new.Plan.Scenario.Rate = 1
		if got := Diff(old, new).Figures[0].Judgment; got != NotTheSame {
			t.Errorf("%s, but another rate: %s", name, got)
		}
	}
}

// TestAskedOtherwise: whatever a scenario has, a change of it is seen, and what makes
// no difference to the question is none.
func TestAskedOtherwise(t *testing.T) {
	for name, change := range map[string]func(*Report){
		"rate":      func(r *Report) { r.Plan.Scenario.Rate = 7 },
		"heartbeat": func(r *Report) { r.Plan.Scenario.Heartbeat[1] = time.Hour },
		"trigger":   func(r *Report) { r.Plan.Scenario.Trigger = []string{"revoke"} },
		"kind":      func(r *Report) { r.Plan.Scenario.Kind = "morning" },
		"patience":  func(r *Report) { r.Plan.Patience *= 2 },
		"curve":     func(r *Report) { r.Plan.Endpoint.Curve = "P-256" },
		"of":        func(r *Report) { r.Plan.Of = 2 },
	} {
		r := &Report{Plan: madeStorm().Plan}
		change(r)
		d := Diff(&Report{Plan: madeStorm().Plan}, r)
		if len(d.Asked) != 1 || d.Asked[0].What != name || d.Asked[0].Old == d.Asked[0].New {
			t.Errorf("%s: %+v", name, d.Asked)
		}
		if !strings.Contains(d.headline(), "not judged") {
			t.Errorf("%s: %s", name, d.headline())
		}
	}
	r := &Report{Plan: madeStorm().Plan}
	r.Plan.Seed, r.Plan.Begin, r.Plan.Endpoint.Tickets = 99, time.Now(), []string{"[secret]"}
	if d := Diff(&Report{Plan: madeStorm().Plan}, r); len(d.Asked)+len(d.Environment) > 0 {
		t.Errorf("%+v, %+v", d.Asked, d.Environment)
	}
}

func TestOnlyOneSide(t *testing.T) {
	figures := madeStorm().Figures
	old, new := &Report{Figures: figures[2:]}, &Report{Figures: figures[:len(figures)-2]}
	n := make(map[Judgment]int)
	for _, c := range Diff(old, new).Figures {
		n[c.Judgment]++
	}
	if n[OnlyOld] != 2 || n[OnlyNew] != 2 {
		t.Errorf("%v", n)
	}
}

// TestOneEndpointEach: two gateways that were measured apart are compared, and the
// report says that they are two.
func TestOneEndpointEach(t *testing.T) {
	rename := func(name string) *Report {
		f := NewFigure(name, "f", "ms", "lower", []float64{1, 2, 3, 4, 5})
		return &Report{Endpoints: []string{name}, Figures: []Figure{f}, Limits: []Limit{{Endpoint: name, Resource: name}}}
	}
	d := Diff(rename("a"), rename("b"))
	if len(d.Figures) != 1 || d.Figures[0].Judgment != WithinNoise || len(d.Environment) != 1 || len(d.Limits) != 1 {
		t.Errorf("%+v", d)
	}
}
