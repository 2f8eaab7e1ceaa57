package sta

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Bounds of what a revocation looks at.
const (
	// maxMatch is how many records are looked at to tell what a name matches.
	maxMatch = 100_000
	// maxAhead bounds the families that are ended one by one.
	maxAhead = 1000
	// maxNames is how many names an answer holds.
	maxNames = 20
	// maxNear is how many records are searched for names like the one given.
	maxNear = 20_000
	// nearLetters is how much of a name is compared.
	nearLetters = 64
)

// matched is what a user's or device's name matches.
type matched struct {
	total, inForce, ended int
	lasts                 time.Time
	owners                []string  // whose they are, when a device was named without a user
	newest                time.Time // the last stamp that a cut may reach
	ahead                 []string  // families with a later one: a clock was wrong
}

// find looks at the tickets that a revocation would end, in force or not.
func (a *Authority) find(ctx context.Context, req *RevokeRequest, r *ticket.Revocation) (matched, error) {
	var m matched
	owners := make(map[string]bool)
	filter := Filter{User: req.User, Device: req.Device, Limit: MaxPage}
	for looked := 0; looked < maxMatch; looked += MaxPage {
		records, next, err := a.store.List(ctx, filter, r.Time)
		if err != nil {
			return m, err
		}
		for _, record := range records {
			switch {
			case !req.Before.IsZero() && record.Issued.After(r.Cut):
				continue
			case record.Issued.After(r.Cut):
				if a.revoked(record, r.Time) == nil && len(m.ahead) < maxAhead {
					m.ahead = append(m.ahead, record.Family)
				}
			case record.Issued.After(m.newest):
				m.newest = record.Issued
			}
			m.total++
			if record.Expires.After(m.lasts) {
				m.lasts = record.Expires
			}
			switch by := a.revoked(record, r.Time); {
			case by != nil && by.Stage == 0:
				m.ended++
			case r.Time.Before(record.Expires) || !record.Refreshable && r.Time.Before(record.Expires.Add(ticket.MaxLinger)):
				m.inForce++
				if req.User == "" && !owners[record.User] {
					owners[record.User] = true
					m.owners = append(m.owners, record.User)
				}
			}
		}
		if next == "" {
			break
		}
		filter.After = next
	}
	slices.Sort(m.owners)
	return m, nil
}

// noMatch refuses a name that no ticket has, and gives the ones that it may have
// been meant to be.
func (a *Authority) noMatch(ctx context.Context, c *Client, req *RevokeRequest) error {
	what, wanted := "user", req.User
	name := func(r *Record) string { return r.User }
	if req.Device != "" && req.User == "" {
		what, wanted = "device", req.Device
		name = func(r *Record) string { return r.Device }
	}
	text := "no ticket has this " + what
	if req.User != "" && req.Device != "" {
		text = "no ticket has this user and device"
	}
	if !req.Before.IsZero() {
		text += " and was issued before then"
	}
	refusal := &MatchError{Refusal: ticket.Refuse(ticket.NotFound, "%s", text).(*ticket.Error)}
	if c.Check(MayList) != nil {
		return refusal
	}
	best := make(map[string]int)
	filter := Filter{Limit: MaxPage}
	for looked := 0; looked < maxNear; looked += MaxPage {
		records, next, err := a.store.List(ctx, filter, a.now())
		if err != nil {
			break // a hint less
		}
		for _, r := range records {
			candidate := name(r)
			if _, seen := best[candidate]; seen || candidate == "" {
				continue
			}
			if d, near := distance(wanted, candidate); near {
				best[candidate] = d
			}
		}
		if next == "" {
			break
		}
		filter.After = next
	}
	for candidate := range best {
		refusal.Names = append(refusal.Names, candidate)
	}
	slices.SortFunc(refusal.Names, func(x, y string) int {
		return cmp.Or(cmp.Compare(best[x], best[y]), cmp.Compare(x, y))
	})
	refusal.Names = refusal.Names[:min(len(refusal.Names), 5)]
	return refusal
}

// distance tells how far a name is from the one that was given, and whether it
// is near: but for case, a part of it, or a few letters changed.
func distance(wanted, candidate string) (int, bool) {
	w, c := strings.ToLower(wanted), strings.ToLower(candidate)
	switch {
	case w == c:
		return 0, true
	case len(w) >= 3 && strings.Contains(c, w), len(c) >= 3 && strings.Contains(w, c):
		return 1, true
	}
	from, to := []rune(w), []rune(c)
	from, to = from[:min(len(from), nearLetters)], to[:min(len(to), nearLetters)]
	most := max(1, len(from)/4)
	d := edits(from, to, most)
	return 1 + d, d <= most
}

// edits counts the letters to be changed, added or taken out (Levenshtein), and
// stops at over most.
func edits(a, b []rune, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
