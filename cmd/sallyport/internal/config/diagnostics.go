package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Severity says whether a configuration can be used all the same.
type Severity string

// The severities.
const (
	// Error means that the configuration must not be used.
	Error Severity = "error"
	// Warning means that it can be used, and does less than it says.
	Warning Severity = "warning"
)

// maxDiagnostics bounds what is reported of one file: whoever has more
// mistakes than that gave us another kind of file.
const maxDiagnostics = 200

// Diagnostic is one thing to say about a configuration file.
type Diagnostic struct {
	// File is the name as given to Load or Parse.
	File string `json:"file"`
	// Line and Column count from 1, the column in characters.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Key is the path of the key, such as sta.clients[0].key_file, list items
	// being counted from 0. It is empty for what is wrong with the whole file.
	Key      string   `json:"key,omitempty"`
	Severity Severity `json:"severity"`
	// Message says what is wrong and what to write instead, without the key.
	Message string `json:"message"`
	// Fix is what to do, where Message does not say it, and Rule the name of the
	// rule that found it, where it has one.
	Fix  string `json:"fix,omitempty"`
	Rule string `json:"rule,omitempty"`
}

// String returns "file:line:column: key: message; fix (rule)", with "warning: "
// before the key if it is one.
func (d Diagnostic) String() string {
	var b strings.Builder
	b.WriteString(d.File + ":" + strconv.Itoa(d.Line) + ":" + strconv.Itoa(d.Column) + ": ")
	if d.Severity == Warning {
		b.WriteString("warning: ")
	}
	if d.Key != "" {
		b.WriteString(d.Key + ": ")
	}
	b.WriteString(d.Message)
	if d.Fix != "" {
		b.WriteString("; " + d.Fix)
	}
	if d.Rule != "" {
		b.WriteString(" (" + d.Rule + ")")
	}
	return b.String()
}

// Diagnostics are in the order of the file.
type Diagnostics []Diagnostic

// HasErrors reports whether one of them is an error.
func (d Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(d, func(one Diagnostic) bool { return one.Severity == Error })
}

// Err returns nil if none of them is an error, else an *InvalidError.
func (d Diagnostics) Err() error {
	if !d.HasErrors() {
		return nil
	}
	return &InvalidError{Diagnostics: d}
}

// String returns a line for each.
func (d Diagnostics) String() string {
	var b strings.Builder
	for _, one := range d {
		b.WriteString(one.String() + "\n")
	}
	return b.String()
}

// InvalidError says that a configuration must not be used, and why.
type InvalidError struct {
	// Diagnostics holds at least one error; there may be warnings among them.
	Diagnostics Diagnostics
}

// Error returns the errors, a line each, without the warnings.
func (e *InvalidError) Error() string {
	var lines []string
	for _, d := range e.Diagnostics {
		if d.Severity == Error {
			lines = append(lines, d.String())
		}
	}
	return strings.Join(lines, "\n")
}

// Sorted orders by place, and bounds. Errors survive the bound before warnings.
func (d Diagnostics) Sorted() Diagnostics {
	slices.SortStableFunc(d, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Key, b.Key), cmp.Compare(a.Message, b.Message))
	})
	d = slices.Compact(d)
	if len(d) <= maxDiagnostics {
		return d
	}
	left := len(d) - maxDiagnostics
	kept := make(Diagnostics, 0, maxDiagnostics+1)
	for _, severity := range []Severity{Error, Warning} {
		for _, one := range d {
			if one.Severity == severity && len(kept) < maxDiagnostics {
				kept = append(kept, one)
			}
		}
	}
	last := kept[len(kept)-1]
	last.Key, last.Message = "", fmt.Sprintf("and %d more", left)
	return append(kept, last)
}
