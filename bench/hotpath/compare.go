package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// comparison holds a run against the baseline of the same machine.
type comparison struct {
	File   string   `json:"file,omitempty"` // empty: there is none
	Of     string   `json:"of,omitempty"`   // when, and what was measured
	Why    string   `json:"why_not,omitempty"`
	Rows   []change `json:"rows,omitempty"`
	Gone   []string `json:"not_in_this_run,omitempty"`
	Fresh  []string `json:"not_in_the_baseline,omitempty"`
	NoBase []string `json:"not_judged,omitempty"` // ratios that one of the two could not make
}

// change is one figure in both.
type change struct {
	Figure  string   `json:"figure"`
	Gateway string   `json:"gateway"`
	Unit    string   `json:"unit,omitempty"`
	Before  spread   `json:"baseline"`
	Now     spread   `json:"now"`
	Ratio   *shifted `json:"times_naive,omitempty"` // nil is for what is shown, not judged
}

// shifted is what became of a ratio to the naive gateway.
type shifted struct {
	Before float64 `json:"baseline"` // median
	Now    float64 `json:"now"`
	Change float64 `json:"change"` // 0.1 is a tenth more
	Bound  float64 `json:"bound"`  // up to which it may differ in any case
	Mark   mark    `json:"mark,omitempty"`
}

type mark string

const (
	better mark = "better"
	worse  mark = "worse"
)

// How far a ratio may move in any case. Processor time is the less steady.
const (
	steady     = 0.10
	processing = 0.15
)

// width is how far the furthest round is from the median, as a share of it. There
// is none of a median that is not above zero.
func (s spread) width() (share float64, is bool) {
	if s.Median <= 0 {
		return 0, false
	}
	return max(s.Max-s.Median, s.Median-s.Min) / s.Median, true
}

// compare gives what is to be said at the end of a report. before is nil if there
// is no baseline of this machine.
func (r report) compare(before *baseline) *comparison {
	is := r.Machine.fingerprint()
	switch {
	case before == nil && !is.tells():
		return &comparison{Why: "this machine cannot be told from others: " + is.String()}
	case before == nil:
		return &comparison{Why: "none for this machine (" + is.String() + "); make bench-baseline, or -save-baseline, writes one"}
	}
	c := &comparison{File: before.file, Of: before.Date.Format("2006-01-02") + ", " + before.Sallyport}
	if was, now := before.Sizes, r.Plan.sizes(); was != now {
		c.Why = "not compared: other amounts were measured: " + now.differ(was)
		return c
	}
	for _, k := range before.Figures {
		at := func(made row) bool { return made.Figure == k.Figure && made.Gateway == k.Gateway }
		i := slices.IndexFunc(r.Rows, at)
		if i < 0 {
			c.Gone = append(c.Gone, named(k.Figure, k.Gateway))
			continue
		}
		c.hold(k, r.Rows[i])
	}
	for _, made := range r.Rows {
		if !slices.ContainsFunc(before.Figures, func(k kept) bool { return k.Figure == made.Figure && k.Gateway == made.Gateway }) {
			c.Fresh = append(c.Fresh, named(made.Figure, made.Gateway))
		}
	}
	return c
}

func named(figure, gateway string) string { return figure + " of " + gateway }

// hold adds a row. Neither the naive gateway nor a connection without one is
// judged: they are what the machine does.
func (c *comparison) hold(was kept, now row) {
	made := change{Figure: was.Figure, Gateway: was.Gateway, Unit: now.Unit, Before: was.Value, Now: now.Value}
	if was.Gateway != naiveGateway && was.Gateway != plain {
		if was.Unit == now.Unit {
			made.Ratio = shift(was.Ratio, now.Ratio, now.Unit)
		}
		if made.Ratio == nil {
			c.NoBase = append(c.NoBase, named(was.Figure, was.Gateway))
		}
	}
	c.Rows = append(c.Rows, made)
}

// shift gives nil if there is nothing to hold against one another.
func shift(was, now *spread, unit string) *shifted {
	if was == nil || now == nil {
		return nil
	}
	if was.Median <= 0 || now.Median <= 0 {
		return nil
	}
	least := steady
	if strings.HasPrefix(unit, "CPU-") {
		least = processing
	}
	s := &shifted{Before: was.Median, Now: now.Median, Change: now.Median/was.Median - 1, Bound: least}
	// A round that is far out on one side does not hide what all others show on the other.
	if apart := now.Min > was.Max || now.Max < was.Min; apart && math.Abs(s.Change) > s.Bound {
		s.Mark = worse
		if more := s.Change > 0; more == (unit == "MiB/s") { // of all else less is better
			s.Mark = better
		}
	}
	return s
}

func (c *comparison) print(w io.Writer) error {
	if c.File == "" {
		_, err := fmt.Fprintf(w, "\nbaseline   %s\n", c.Why)
		return err
	}
	fmt.Fprintf(w, "\nbaseline   %s, of %s\n", c.File, c.Of)
	if c.Why != "" {
		_, err := fmt.Fprintf(w, "           %s\n", c.Why)
		return err
	}
	fmt.Fprintf(w, "\nmedians; judged by the ratio to the naive gateway of the same run: beyond the bound, and where no round of one run is among those of the other\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "figure\tgateway\t× naive: baseline\tnow\tchange\tbound\t\tabsolute: baseline\tnow\tchange")
	last := ""
	for _, made := range c.Rows {
		name := made.Figure
		if name == last {
			name = ""
		}
		last = made.Figure
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", name, made.Gateway, made.Ratio.cells(), made.absolute())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, list := range []struct {
		said string
		of   []string
	}{{"in the baseline, not in this run", c.Gone}, {"in this run, not in the baseline", c.Fresh}, {"shown, not judged, for want of a ratio in both", c.NoBase}} {
		if len(list.of) > 0 {
			fmt.Fprintf(w, "\n%s\n  %s\n", list.said, strings.Join(list.of, "\n  "))
		}
	}
	return c.conclude(w)
}

func (c *comparison) conclude(w io.Writer) error {
	judged := 0
	counts := make(map[mark]int)
	for _, made := range c.Rows {
		if made.Ratio != nil {
			judged++
			counts[made.Ratio.Mark]++
		}
	}
	_, err := fmt.Fprintf(w, "\nof %d ratios, %d are worse than in the baseline and %d are better\n", judged, counts[worse], counts[better])
	return err
}

func (s *shifted) cells() string {
	if s == nil {
		return "–\t–\t–\t–\t"
	}
	return fmt.Sprintf("%.3f\t%.3f\t%s\t± %.0f %%\t%s", s.Before, s.Now, percent(s.Change), 100*s.Bound, s.Mark)
}

// percent has no -0.
func percent(share float64) string {
	whole := math.Round(100 * share)
	if whole == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%+.0f %%", whole)
}

func (made change) absolute() string {
	median := func(s spread) string { return digits(spread{s.Median, s.Median, s.Median}) }
	moved := "–"
	if made.Before.Median > 0 {
		moved = percent(made.Now.Median/made.Before.Median - 1)
	}
	return fmt.Sprintf("%s\t%s %s\t%s", median(made.Before), median(made.Now), made.Unit, moved)
}
