package report

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// terminal writes lines of a given width, with or without colour.
type terminal struct {
	bytes.Buffer
	width  int
	colour bool
}

// The colours are the sixteen that every terminal has, so that they fit its theme.
const (
	bold   = "1"
	dim    = "2"
	red    = "1;31"
	green  = "32"
	yellow = "33"
	banner = "1;37;41"
)

func newTerminal(width int, colour bool) *terminal {
	if width <= 0 {
		width = 100
	}
	return &terminal{width: min(max(width, 60), 160), colour: colour}
}

// paint colours a text; its width stays what it is.
func (t *terminal) paint(style, s string) string {
	if !t.colour || s == "" {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

func (t *terminal) line(parts ...string) {
	t.WriteString(strings.TrimRight(strings.Join(parts, ""), " "))
	t.WriteByte('\n')
}

// paragraph writes lead, then the text wrapped behind it. At most so many lines: the
// last ends in an ellipsis if there was more. The lead is painted.
func (t *terminal) paragraph(style, lead, text string, lines int) {
	lead = cut(lead, t.width/2)
	indent := utf8.RuneCountInString(lead)
	wrapped := wrap(text, t.width-indent)
	if len(wrapped) > lines {
		wrapped = wrapped[:lines]
		wrapped[lines-1] = cut(wrapped[lines-1]+" …", t.width-indent)
	}
	for i, l := range wrapped {
		if i == 0 {
			t.line(t.paint(style, lead), l)
		} else {
			t.line(strings.Repeat(" ", indent), l)
		}
	}
}

// wrap breaks a text at its blanks. What has no blank where one is needed is cut.
func wrap(text string, width int) []string {
	width = max(width, 10)
	var lines []string
	line := ""
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
		for utf8.RuneCountInString(line) > width {
			runes := []rune(line)
			lines = append(lines, string(runes[:width]))
			line = string(runes[width:])
		}
	}
	return append(lines, line)
}

// cut shortens a text to a width, with an ellipsis.
func cut(s string, width int) string {
	if runes := []rune(s); len(runes) > width {
		return string(runes[:max(width-1, 0)]) + "…"
	}
	return s
}

func padRight(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

func padLeft(s string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s))) + s
}

// columns writes rows of cells, the first column to the left, the others to the
// right, each as wide as it has to be. Columns that do not fit are left out; whole says
// that there are none such.
func (t *terminal) columns(rows [][]string, paint func(row, column int, cell string) string) (whole bool) {
	whole = true
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	if len(widths) > 0 {
		widths[0] = min(widths[0], t.width/3)
	}
	for r, row := range rows {
		var b strings.Builder
		used := 0
		for i, cell := range row {
			if i > 0 {
				used += 2 + widths[i]
				if used > t.width {
					whole = false
					break
				}
				b.WriteString("  " + paint(r, i, padLeft(cell, widths[i])))
				continue
			}
			used = widths[0]
			b.WriteString(paint(r, i, padRight(cut(cell, widths[0]), widths[0])))
		}
		t.line(b.String())
	}
	return whole
}

// flush writes it all, at most so many lines, in one write. Blanks that held a number
// and its unit together are plain ones now.
func (t *terminal) flush(w io.Writer, lines int) error {
	text := strings.ReplaceAll(t.String(), "\u00a0", " ")
	if all := strings.SplitAfter(text, "\n"); lines > 0 && len(all) > lines+1 {
		text = strings.Join(all[:lines-1], "") + "…\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
