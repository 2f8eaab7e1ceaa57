package lint

import (
	"cmp"
	"slices"
)

// Severity says whether devices will notice.
type Severity string

// The severities.
const (
	// Error: something that the policy is for cannot work as it stands.
	Error Severity = "error"
	// Warning: it works, and is hardly what was meant.
	Warning Severity = "warning"
)

// Finding is one thing to say about a policy.
type Finding struct {
	// Rule is one of Rules.
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	// Field is the key in the configuration, below the policy:
	// background_services, ews_host, and so on. What CheckNames finds in the DNS
	// servers themselves has none.
	Field string `json:"field"`
	// Index is the place in a key that is a list, from 0; else -1.
	Index int `json:"index"`
	// Entry and Column are the place in background_services, counted from 1 as
	// policy.ListError counts them; 0 for other keys and for what is missing.
	Entry  int `json:"entry,omitempty"`
	Column int `json:"column,omitempty"`
	// Problem says what is wrong; Fix says what to do about it.
	Problem string `json:"problem"`
	Fix     string `json:"fix"`
}

// String returns "field: problem; fix", and is meant to follow a place in a file.
func (f Finding) String() string {
	text := f.Problem + "; " + f.Fix
	if f.Field != "" {
		text = f.Field + ": " + text
	}
	return text
}

// sortFindings orders by key, by place in it, and errors before warnings.
func sortFindings(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Index, b.Index),
			cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Problem, b.Problem))
	})
}
