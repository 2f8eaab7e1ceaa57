package report

import (
	"slices"
	"time"
)

// Difference is what two reports have not in common.
type Difference struct {
	Old, New Side
	// Asked is how the questions differ. Unless it is empty the figures answer
	// different ones: they are shown and not judged.
	Asked []Change
	// Environment is what else differs: versions, hosts and how these are set up. Any
	// of it may be the cause of a change.
	Environment []Change
	Figures     []FigureChange
	Limits      []Change
}

// Side is one of the two reports.
type Side struct {
	ID      string
	Began   time.Time
	Version string
	Commit  string
	Rounds  int // the most that any figure has
	Void    []Cause
	Marks   []string
}

// Change is something that is otherwise in the new report. A side that lacks it
// says so.
type Change struct {
	Where, What string
	Old, New    string
}

// FigureChange is a figure in both reports; a side that lacks it is nil.
type FigureChange struct {
	Endpoint, Name, Unit string
	Old, New             *Figure
	// Percent is how much the median rose, if Known: of 0 there is no per cent.
	Percent  float64
	Known    bool
	Judgment Judgment
}

// Judgment is what may be said of a change.
type Judgment string

// A change is only Better, Worse or Changed (of a figure of which neither can be
// said) if the rounds of the two reports do not overlap at all, there are enough of
// them on both sides, neither report is void and both asked the same question.
const (
	Better      Judgment = "better"
	Worse       Judgment = "worse"
	Changed     Judgment = "changed"
	WithinNoise Judgment = "within noise"
	TooFew      Judgment = "too few rounds"
	IsVoid      Judgment = "void"
	NotTheSame  Judgment = "not the same question"
	OnlyOld     Judgment = "only in the old"
	OnlyNew     Judgment = "only in the new"
)

// Diff compares two reports. Endpoints are paired by name; if each report has but one,
// these two are.
func Diff(old, new *Report) *Difference {
	d := &Difference{Old: old.side(), New: new.side(), Asked: askedOtherwise(old, new), Environment: environment(old, new)}
	paired := func(name string) string { return name }
	if len(old.Endpoints) == 1 && len(new.Endpoints) == 1 {
		paired = func(string) string { return new.Endpoints[0] }
	}
	for i := range old.Figures {
		f := &old.Figures[i]
		d.Figures = append(d.Figures, d.compare(f, new.figure(paired(f.Endpoint), f.Name)))
	}
	for i := range new.Figures {
		f := &new.Figures[i]
		known := func(c FigureChange) bool { return c.New == f }
		if !slices.ContainsFunc(d.Figures, known) {
			d.Figures = append(d.Figures, d.compare(nil, f))
		}
	}
	place := func(c FigureChange) int {
		return slices.Index(slices.Concat(old.Endpoints, new.Endpoints), c.Endpoint)
	}
	slices.SortStableFunc(d.Figures, func(a, b FigureChange) int { return place(a) - place(b) })
	for _, l := range old.Limits {
		for _, m := range new.Limits {
			if paired(l.Endpoint) == m.Endpoint && l.Resource != m.Resource {
				d.Limits = append(d.Limits, Change{Where: m.Endpoint, What: "limit", Old: resource(l.Resource), New: resource(m.Resource)})
			}
		}
	}
	return d
}

func (r *Report) side() Side {
	return Side{ID: r.ID, Began: r.Began, Version: r.Version, Commit: r.Commit, Rounds: r.most(), Void: r.Void, Marks: r.Marks}
}

func (d *Difference) compare(old, new *Figure) FigureChange {
	if old == nil {
		return FigureChange{Endpoint: new.Endpoint, Name: new.Name, Unit: new.Unit, New: new, Judgment: OnlyNew}
	}
	c := FigureChange{Endpoint: old.Endpoint, Name: old.Name, Unit: old.Unit, Old: old, New: new}
	if new == nil {
		c.Judgment = OnlyOld
		return c
	}
	if percent := finite([]float64{100 * (new.Median - old.Median) / old.Median}); len(percent) == 1 && old.Median > 0 {
		c.Percent, c.Known = percent[0], true
	}
	c.Judgment = d.judge(old, new)
	return c
}

func (d *Difference) judge(old, new *Figure) Judgment {
	switch {
	case len(d.Old.Void) > 0 || len(d.New.Void) > 0:
		return IsVoid
	case len(d.Asked) > 0 || old.Unit != new.Unit:
		return NotTheSame
	case len(old.Rounds) < Enough || len(new.Rounds) < Enough:
		return TooFew
	case old.Low <= new.High && new.Low <= old.High:
		return WithinNoise
	}
	higher := new.Median > old.Median
	switch new.Better {
	case "higher":
		return choose(higher, Better, Worse)
	case "lower":
		return choose(higher, Worse, Better)
	}
	return Changed
}

func choose(is bool, yes, no Judgment) Judgment {
	if is {
		return yes
	}
	return no
}

// headline says it in one sentence.
func (d *Difference) headline() string {
	if len(d.Old.Void) > 0 || len(d.New.Void) > 0 {
		which := "The new report is void"
		switch {
		case len(d.New.Void) == 0:
			which = "The old report is void"
		case len(d.Old.Void) > 0:
			which = "Both reports are void"
		}
		return which + ": nothing can be said of a change."
	}
	if len(d.Asked) > 0 {
		return "These two did not ask the same question: their figures stand side by side and are not judged."
	}
	n := make(map[Judgment]int)
	for _, c := range d.Figures {
		n[c.Judgment]++
	}
	var parts []string
	for _, j := range []Judgment{Worse, Better, Changed, WithinNoise, TooFew, OnlyOld, OnlyNew} {
		if n[j] > 0 {
			parts = append(parts, count(int64(n[j]))+" "+string(j))
		}
	}
	if len(parts) == 0 {
		return "There are no figures to compare."
	}
	return "Of " + plural(int64(len(d.Figures)), "figure") + ": " + listed(parts) + "."
}
