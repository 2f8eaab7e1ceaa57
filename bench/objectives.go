package bench

import (
	"fmt"
	"io"
	"maps"
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
// What is left out is not judged. They are judged by the median of the rounds. What
// failed counts as longer than any limit: with 2 % of the wakes failed no p99 is met. A
// percentile of too few operations to know it, such as the p99 of 40, is judged by the
// longest.
type Objectives struct {
	all  []objective
	file string // where they are from, if from a file
}

// objective is one line: which figure, and where its limit is.
type objective struct {
	text string // as the file says it
	// figure is of report.Figure, see the names in figures.go; empty for a latency.
	figure string
	// percentile is of a latency, and operation whose; an empty one is each that has no
	// objective of its own. beyond is the share that may take longer.
	percentile, operation string
	beyond                float64

	limit   float64
	unit    string
	atLeast bool
	at      position // where its operation is named
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

// needs is how many operations there must be for the percentiles to be known, and not to
// depend on a few that fail: twice as many as the outermost needs.
func (o *Objectives) needs() (n float64) {
	if o == nil {
		return 0
	}
	for _, each := range o.all {
		if each.beyond > 0 {
			n = max(n, 2/each.beyond)
		}
	}
	return n
}

// met is whether a value reaches the objective.
func (o objective) met(value float64) bool {
	if o.atLeast {
		return value >= o.limit
	}
	return value <= o.limit
}

// judge holds the figures of one endpoint against the objectives, and how much of each
// kind of operation failed: it took longer than any limit. An objective whose figure was
// not measured is missed, and says so: nobody may take it for met.
func (o *Objectives) judge(endpoint string, figures []report.Figure, failed map[string]float64) []report.Verdict {
	if o == nil {
		return nil
	}
	figures = ofEndpoint(endpoint, figures)
	few := ofTooFew(figures)
	var verdicts []report.Verdict
	for _, each := range o.all {
		found := false
		for i, f := range slices.Concat(figures, few) {
			operation, is := each.isOf(f.Name)
			if !is {
				continue
			}
			// Where each operation has an objective of its own, nothing is left for that of
			// all, and nothing is missing.
			found = true
			if each.operation == "" && o.hasOwn(operation, each.percentile) {
				continue
			}
			v := report.Verdict{Endpoint: endpoint, Objective: each.text, Limit: each.limit, Value: f.Median, Unit: each.unit, Met: each.met(f.Median)}
			if each.percentile != "" && each.operation == "" { // of every operation: say which one
				v.Objective = f.Name + " (" + each.text + ")"
			}
			if i >= len(figures) {
				v.Objective += ", of too few: the longest counts"
			}
			if share := failed[operation]; operation != "" && share > each.beyond {
				v.Objective += fmt.Sprintf(", and %.3g %% failed", 100*share)
				v.Met = false
			}
			verdicts = append(verdicts, v)
		}
		if !found {
			verdicts = append(verdicts, report.Verdict{Endpoint: endpoint, Objective: each.text + ", which was not measured",
				Limit: each.limit, Unit: each.unit})
		}
		verdicts = append(verdicts, o.ofNothing(each, endpoint, figures, failed)...)
	}
	return verdicts
}

// ofNothing are the verdicts of an objective of every operation on those of which none
// was done, which have no figures.
func (o *Objectives) ofNothing(each objective, endpoint string, figures []report.Figure, failed map[string]float64) (verdicts []report.Verdict) {
	if each.percentile == "" || each.operation != "" {
		return nil
	}
	for _, operation := range slices.Sorted(maps.Keys(failed)) {
		has := slices.ContainsFunc(figures, func(f report.Figure) bool { return f.Name == latencyFigure(operation, longest) })
		if failed[operation] == 1 && !has && !o.hasOwn(operation, each.percentile) {
			verdicts = append(verdicts, report.Verdict{Endpoint: endpoint, Limit: each.limit, Unit: each.unit,
				Objective: latencyFigure(operation, each.percentile) + " (" + each.text + "), which all failed"})
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

// hasOwn is whether an operation's percentile has an objective of its own.
func (o *Objectives) hasOwn(operation, percentile string) bool {
	return slices.ContainsFunc(o.all, func(each objective) bool {
		return each.operation == operation && operation != "" && each.percentile == percentile
	})
}

// isOf is whether a figure is what the objective is about, and of which operation, if it
// is a latency.
func (o objective) isOf(figure string) (operation string, is bool) {
	if o.percentile == "" {
		return "", figure == o.figure
	}
	operation, is = strings.CutSuffix(figure, " "+o.percentile)
	return operation, is && (o.operation == "" || o.operation == operation)
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
