package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// report is what is printed, for people or for programs.
type report struct {
	Machine  machine     `json:"machine"`
	Plan     plan        `json:"plan"`
	Warnings []string    `json:"warnings,omitempty"`
	Rows     []row       `json:"rows"`
	Missing  []missing   `json:"not_measured,omitempty"`
	Against  *comparison `json:"baseline,omitempty"`
}

// row is one figure of one gateway.
type row struct {
	Figure  string    `json:"figure"`
	Gateway string    `json:"gateway"`
	Unit    string    `json:"unit,omitempty"`
	Rounds  []float64 `json:"rounds"`
	Value   spread    `json:"value"`
	Ratio   *spread   `json:"times_naive,omitempty"`
	OverStd *spread   `json:"times_std,omitempty"` // of carriers
	Goal    *target   `json:"goal,omitempty"`
	Verdict verdict   `json:"verdict,omitempty"`
}

// target is a goal as a row shows it.
type target struct {
	Times   string  `json:"times,omitempty"` // of which gateway; empty: of none
	AtMost  float64 `json:"at_most"`
	Stretch float64 `json:"stretch,omitempty"`
}

// noisy is how far the rounds of the naive gateway may be apart before a warning.
const noisy = 1.3

// newReport holds the results against the goals.
func newReport(r *results, set []goal) report {
	var made report
	for _, f := range r.figures {
		base := f.column(naiveGateway)
		if base != nil {
			if s := spreadOf(base.rounds); s.Min > 0 && s.Max/s.Min > noisy {
				made.Warnings = append(made.Warnings,
					fmt.Sprintf("%s: the naive gateway itself differs by %.0f %% between rounds; the machine was not quiet", f.name, 100*(s.Max/s.Min-1)))
			}
		}
		for _, c := range f.columns {
			made.Rows = append(made.Rows, newRow(f, c, base, set))
		}
	}
	made.Missing = r.missing
	return made
}

func newRow(f *figure, c, base *column, set []goal) row {
	made := row{Figure: f.name, Gateway: c.gateway, Unit: f.unit, Rounds: c.rounds, Value: spreadOf(c.rounds)}
	if c != base {
		made.Ratio = over(c, base)
	}
	if slices.Contains(carriers(), c.gateway) {
		made.OverStd = over(c, f.column(stdLayer))
	}
	for _, g := range set {
		if g.figure != f.name || g.gateway != c.gateway {
			continue
		}
		made.Goal = &target{g.times, g.atMost, g.stretch}
		judged := map[string]*spread{"": &made.Value, naiveGateway: made.Ratio, stdLayer: made.OverStd}[g.times]
		if judged != nil {
			made.Verdict = g.judge(judged.Median)
		}
	}
	return made
}

// over sums the ratios up, and gives nil if there are none.
func over(c, base *column) *spread {
	quotients := ratios(c, base)
	if quotients == nil {
		return nil
	}
	s := spreadOf(quotients)
	return &s
}

// short counts the goals that are not met.
func (r report) short() (n int) {
	for _, made := range r.Rows {
		if made.Verdict == fallsShort {
			n++
		}
	}
	return n
}

func (r report) print(w io.Writer) error {
	r.Machine.print(w)
	if slices.Contains(r.Plan.Only, "carriers") {
		fmt.Fprintf(w, "carriers   client's receive windows: %d KiB a stream, %d KiB a connection, but h1's, which are TCP's\n",
			streamWindow>>10, connectionWindow>>10)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning    %s\n", warning)
	}
	fmt.Fprintf(w, "\nmin – median – max over rounds; ratios are made within a round, and judged by their median\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "figure\tgateway\tvalue\t× naive\t× std\tgoal (stretch)\tverdict")
	last := ""
	for _, made := range r.Rows {
		name := made.Figure
		if name == last {
			name = ""
		}
		last = made.Figure
		fmt.Fprintf(table, "%s\t%s\t%s %s\t%s\t%s\t%s\t%s\n",
			name, made.Gateway, digits(made.Value), made.Unit, ratioText(made.Ratio), ratioText(made.OverStd), made.goalText(), made.Verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for i, m := range r.Missing {
		if i == 0 {
			fmt.Fprintln(w, "\nnot measured")
		}
		fmt.Fprintf(w, "  %s: %s\n", m.What, m.Why)
	}
	if err := r.conclude(w); err != nil || r.Against == nil {
		return err
	}
	return r.Against.print(w)
}

func (r report) conclude(w io.Writer) error {
	judged := 0
	for _, made := range r.Rows {
		if made.Verdict != unjudged {
			judged++
		}
	}
	if judged == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%d of %d goals met\n", judged-r.short(), judged)
	return err
}

func ratioText(of *spread) string {
	if of == nil {
		return ""
	}
	return of.text("%.3f")
}

func (made row) goalText() string {
	switch g := made.Goal; {
	case g == nil:
		return ""
	case g.Times == naiveGateway:
		return fmt.Sprintf("≤ %.2f × (%.2f)", g.AtMost, g.Stretch)
	case g.Times != "":
		return fmt.Sprintf("≤ %.2f × %s (%.2f)", g.AtMost, g.Times, g.Stretch)
	case g.Stretch == 0:
		return fmt.Sprintf("≤ %g KiB", g.AtMost)
	default:
		return fmt.Sprintf("≤ %g KiB (%g)", g.AtMost, g.Stretch)
	}
}

// digits shows some three significant ones.
func digits(s spread) string {
	switch {
	case s.Median >= 100:
		return s.text("%.0f")
	case s.Median >= 10:
		return s.text("%.1f")
	case s.Median >= 1:
		return s.text("%.2f")
	}
	return s.text("%.3f")
}

// text is one number if there is but one.
func (s spread) text(format string) string {
	if s.Min == s.Max {
		return fmt.Sprintf(format, s.Median)
	}
	return fmt.Sprintf(format+" – "+format+" – "+format, s.Min, s.Median, s.Max)
}

func (r report) encode(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
