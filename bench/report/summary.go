package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// summaryLines is the most that WriteSummary writes.
const summaryLines = 40

// WriteSummary writes what somebody at a terminal wants to know, in at most 40 lines:
// why it is void, the verdict, the figures, the limits with their evidence. width is
// in columns, 60 to 160, and 0 means 100; colour uses ANSI colours.
func (r *Report) WriteSummary(w io.Writer, width int, colour bool) error {
	t := newTerminal(width, colour)
	outcomes := r.outcomes()
	t.line(t.paint(bold, cut(r.title(), t.width)))
	t.line(t.paint(dim, cut(r.imprint(), t.width)))
	t.void(r)
	t.line()
	v := r.verdict(outcomes)
	for _, p := range []struct{ lead, text string }{{"asked    ", v.Asked}, {"reached  ", v.Reached}} {
		t.paragraph(bold, p.lead, p.text, 5)
	}
	t.failures(outcomes)
	t.objectives(r)
	t.line()
	limits := newTerminal(width, colour)
	limits.limits(r)
	// What is left of the lines belongs to the figures.
	used := strings.Count(t.String(), "\n") + strings.Count(limits.String(), "\n")
	t.figures(r, summaryLines-used-5)
	t.line()
	t.Write(limits.Bytes())
	return t.flush(w, summaryLines)
}

func (r *Report) title() string {
	return fmt.Sprintf("%s · %s", plain(r.Plan.Scenario.Kind), strings.Join(plainAll(r.Endpoints), " vs "))
}

func (r *Report) imprint() string {
	s := fmt.Sprintf("%s · %s · sallyport %s", stamp(r.Began), plain(r.ID), plain(r.Version))
	if r.Commit != "" {
		s += " (" + plain(r.Commit) + ")"
	}
	return s
}

// void says first what must be known before any figure.
func (t *terminal) void(r *Report) {
	if len(r.Void) > 0 {
		t.line()
		t.line(t.paint(banner, padRight(cut(" VOID: these figures do not count"+r.voided(), t.width), t.width)))
		for i, c := range r.Void {
			if i == 3 {
				t.line("  … and ", plural(int64(len(r.Void)-3), "more cause"))
				break
			}
			t.paragraph(red, "  "+plain(c.What)+"  ", causeText(c), 2)
		}
	}
	for i, m := range r.Marks {
		if i == 4 {
			t.line("  … and ", plural(int64(len(r.Marks)-4), "more mark"))
			break
		}
		t.paragraph(yellow, "  mark  ", plain(m), 2)
	}
}

func causeText(c Cause) string {
	s := bare(c.Says)
	if len(c.Evidence) > 0 {
		s += " (" + strings.Join(plainAll(c.Evidence[:min(2, len(c.Evidence))]), "; ") + ")"
	}
	return s
}

// failures says of each endpoint what failed there, ramps included, for which reasons,
// and what the first of them said.
func (t *terminal) failures(outcomes []outcome) {
	for i, o := range outcomes {
		if i == 3 {
			break
		}
		var reasons []string
		all := maps.Clone(o.Total.Outside)
		if all == nil {
			all = make(map[string]uint64)
		}
		for reason, n := range o.Total.Failures {
			all[reason] += n
		}
		for _, reason := range slices.Sorted(maps.Keys(all)) {
			if all[reason] == 0 {
				continue
			}
			said := fmt.Sprintf("%s %d", plain(reason), all[reason])
			if words := o.Total.Words[reason]; words != "" {
				said += " (" + plain(words) + ")"
			}
			reasons = append(reasons, said)
		}
		if len(reasons) > 0 {
			t.paragraph(red, "failed   ", plain(o.Endpoint)+": "+strings.Join(reasons, ", "), 2)
		}
	}
}

func (t *terminal) objectives(r *Report) {
	if len(r.Verdicts) == 0 {
		return
	}
	met := 0
	var missed []string
	for _, v := range r.Verdicts {
		if v.Met {
			met++
			continue
		}
		missed = append(missed, fmt.Sprintf("%s: %s is %s", plain(v.Endpoint), plain(v.Objective), quantity(v.Value, v.Unit)))
	}
	style, says := green, fmt.Sprintf("all %d met", met)
	if len(missed) > 0 {
		style = red
		says = fmt.Sprintf("%d of %d missed: %s", len(missed), len(r.Verdicts), strings.Join(missed, "; "))
	}
	if len(r.Void) > 0 {
		style, says = red, "not judged, as the run is void"
	}
	t.paragraph(style, "goals    ", says, 3)
}

// figures writes the table, at most so many rows of it.
func (t *terminal) figures(r *Report, lines int) {
	table := r.figureTable()
	if len(table.Rows) == 0 {
		t.line(t.paint(dim, "no figures"))
		return
	}
	rows := [][]string{append([]string{""}, table.Heads...)}
	lines = max(lines, 3)
	for i, row := range table.Rows {
		if i == lines-1 && len(table.Rows) > lines {
			break
		}
		cells := []string{row.Name}
		for _, c := range row.Cells {
			cells = append(cells, strings.TrimSpace(c.Main+" "+parenthesised(c.Span)))
		}
		rows = append(rows, cells)
	}
	whole := t.columns(rows, func(row, column int, cell string) string {
		if row == 0 {
			return t.paint(bold, cell)
		}
		if len(r.Void) > 0 && column > 0 {
			return t.paint(dim, cell)
		}
		return cell
	})
	if !whole {
		t.line(t.paint(dim, "… and columns that a wider terminal or the page has"))
	}
	if left := len(table.Rows) - len(rows) + 1; left > 0 {
		t.line(t.paint(dim, fmt.Sprintf("… and %d more figures in the page", left)))
	}
	style := dim
	if r.most() < Enough {
		style = yellow
	}
	t.paragraph(style, "", r.confidence(), 2)
}

func parenthesised(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// limits says what limited each endpoint, and how it is known.
func (t *terminal) limits(r *Report) {
	for i, l := range r.Limits {
		if i == 3 {
			t.line("… and ", plural(int64(len(r.Limits)-3), "more limit"))
			break
		}
		t.paragraph(bold, "limit    ", fmt.Sprintf("%s%s: %s. %s.", plain(l.Endpoint), r.left(l.Endpoint), resource(l.Resource), bare(l.Says)), 2)
		for _, e := range l.Evidence[:min(2, len(l.Evidence))] {
			t.line("         ", t.paint(dim, cut("· "+plain(e), t.width-9)))
		}
	}
}
