package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

// Objectives are what a run is judged by (SLO).
//
//	latency: {p99: 2s}            # of every operation; p50 p90 p99 p99.9 max
//	operations:
//	  wake: {p50: 800ms, p99: 8s} # of one, in place of the above
//	within_10s: 99.9%             # at least: wakes done within the budget on Android
//	within_30s: 100%              # and on iOS
//	failures: 0.1%                # at most
//	throughput: 900 Mbit/s        # at least, of bodies
//	gateway_rss_per_tunnel: 40 KiB   # at most
//	gateway_cpu: 6                # cores, at most
//
// What is left out is not judged. They are judged by the median of the rounds. A
// percentile of too few operations to know it, such as the p99 of 40, is judged by the
// longest.
type Objectives struct {
	all  []objective
	file string // where they are from, if from a file
}

// objective is one line: which figure, and where its limit is.
type objective struct {
	text   string // as the file says it
	figure string // of report.Figure; see the names in figures.go
	// operation is whose latency is meant; empty for each one that has none of its own.
	operation string
	limit     float64
	unit      string
	atLeast   bool
	at        entry // where its operation is named
}

// Count is how many objectives there are.
func (o *Objectives) Count() int {
	if o == nil {
		return 0
	}
	return len(o.all)
}

// fit says whose operations a scenario of that kind does not have: an objective of one
// would never be met. Of a kind that nobody knows there is nothing to say.
func (o *Objectives) fit(kind string) error {
	rows := load.Rows(kind)
	if o == nil || len(rows) == 0 {
		return nil
	}
	for _, each := range o.all {
		if each.operation != "" && !slices.Contains(rows, each.operation) {
			err := each.at.mistake("%s has no such operation; did you mean %s?", kind, nearest(each.operation, rows))
			if o.file != "" {
				err = fmt.Errorf("%s: %w", o.file, err)
			}
			return err
		}
	}
	return nil
}

// met is whether a value reaches the objective.
func (o objective) met(value float64) bool {
	if o.atLeast {
		return value >= o.limit
	}
	return value <= o.limit
}

// judge holds the figures of one endpoint against the objectives. An objective whose
// figure was not measured is missed, and says so: nobody may take it for met.
func (o *Objectives) judge(endpoint string, figures []report.Figure) []report.Verdict {
	if o == nil {
		return nil
	}
	own := make(map[string]bool)
	for _, each := range o.all {
		if each.operation != "" {
			own[each.figure] = true
		}
	}
	figures = ofEndpoint(endpoint, figures)
	few := ofTooFew(figures)
	var verdicts []report.Verdict
	for _, each := range o.all {
		found := false
		for i, f := range slices.Concat(figures, few) {
			if !each.isOf(f.Name, own) {
				// Where each operation has an objective of its own, nothing is left for
				// that of all, and nothing is missing.
				found = found || each.isOf(f.Name, nil)
				continue
			}
			found = true
			text := each.text
			if f.Name != each.figure { // of every operation: say which one
				text = f.Name + " (" + text + ")"
			}
			if i >= len(figures) {
				text += ", of too few: the longest counts"
			}
			verdicts = append(verdicts, report.Verdict{Endpoint: endpoint, Objective: text, Limit: each.limit,
				Value: f.Median, Unit: each.unit, Met: each.met(f.Median)})
		}
		if !found {
			verdicts = append(verdicts, report.Verdict{Endpoint: endpoint, Objective: each.text + ", which was not measured",
				Limit: each.limit, Unit: each.unit})
		}
	}
	return verdicts
}

func ofEndpoint(name string, figures []report.Figure) []report.Figure {
	return slices.DeleteFunc(slices.Clone(figures), func(f report.Figure) bool { return f.Endpoint != name })
}

// ofTooFew are the percentiles that are not known, of operations that there were too
// few of. The longest stands in: what it meets, they meet.
func ofTooFew(figures []report.Figure) (few []report.Figure) {
	known := make(map[string]bool)
	for _, f := range figures {
		known[f.Name] = true
	}
	for _, f := range figures {
		operation, is := strings.CutSuffix(f.Name, " "+longest)
		if !is {
			continue
		}
		for _, p := range percentiles {
			stand := f
			if stand.Name = latencyFigure(operation, p.name); !known[stand.Name] {
				few = append(few, stand)
			}
		}
	}
	return few
}

// everywhere is whether the objective is of every operation's latency.
func (o objective) everywhere() bool { return strings.HasPrefix(o.figure, " ") }

// isOf is whether a figure is what the objective is about. own are the figures of
// operations that have an objective of their own.
func (o objective) isOf(name string, own map[string]bool) bool {
	if o.everywhere() {
		return strings.HasSuffix(name, o.figure) && !own[name]
	}
	return name == o.figure
}

// missed is the first objective that was missed, in words; empty if all were met.
func missed(verdicts []report.Verdict) string {
	for _, v := range verdicts {
		if !v.Met {
			return fmt.Sprintf("%s: %.4g %s", v.Objective, v.Value, v.Unit)
		}
	}
	return ""
}

// maxObjectives bounds the file.
const maxObjectives = 64 << 10

// ReadObjectives reads the text of an objectives file. Every mistake is an error that
// names the line and, for a key that nobody knows, the nearest one that is known.
func ReadObjectives(r io.Reader) (*Objectives, error) {
	text, err := readAll(r, "an objectives file", maxObjectives)
	if err != nil {
		return nil, err
	}
	return parseObjectives(text)
}

// ReadObjectivesFile reads an objectives file, which is in every error.
func ReadObjectivesFile(path string) (*Objectives, error) {
	f, _, err := openRegular(path, true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	o, err := ReadObjectives(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	o.file = path
	return o, nil
}
