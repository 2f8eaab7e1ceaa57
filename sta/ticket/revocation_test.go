package ticket

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// byUser is a revocation that passes its check.
func byUser(now time.Time) Revocation {
	return Revocation{
		Time: now.UTC(), By: "ops", User: "ann", Cut: now.UTC().Add(CutAhead), Forget: now.UTC().Add(200 * time.Hour),
	}
}

// stagedOver is one that lets everybody in again.
func stagedOver(stage time.Duration, now time.Time) Revocation {
	return Revocation{
		Time: now.UTC(), By: "ops", All: true, Stage: stage,
		Cut: now.UTC().Truncate(time.Second).Add(CutAhead), Forget: now.UTC().Add(stage),
	}
}

func TestRevocationCheck(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	long := strings.Repeat("x", MaxText+1)
	for name, c := range map[string]struct {
		change func(*Revocation)
		want   Reason
	}{
		"a user":                   {func(*Revocation) {}, ""},
		"a device":                 {func(r *Revocation) { r.User, r.Device = "", "d" }, ""},
		"a user and device":        {func(r *Revocation) { r.Device = "d" }, ""},
		"a ticket":                 {func(r *Revocation) { r.User, r.Ticket, r.Cut = "", "t", time.Time{} }, ""},
		"a family":                 {func(r *Revocation) { r.User, r.Family, r.Cut = "", "f", time.Time{} }, ""},
		"all":                      {func(r *Revocation) { r.User, r.All = "", true }, ""},
		"all, staged":              {func(r *Revocation) { r.User, r.All, r.Stage = "", true, MaxStage }, ""},
		"names of the most bytes":  {func(r *Revocation) { r.User, r.Device = long[1:], long[1:] }, ""},
		"nothing":                  {func(r *Revocation) { r.User = "" }, Invalid},
		"a user and all":           {func(r *Revocation) { r.All = true }, Invalid},
		"a user and a family":      {func(r *Revocation) { r.Family = "f" }, Invalid},
		"a ticket and its family":  {func(r *Revocation) { r.User, r.Ticket, r.Family, r.Cut = "", "t", "f", time.Time{} }, Invalid},
		"a user without a cut":     {func(r *Revocation) { r.Cut = time.Time{} }, Invalid},
		"a family with a cut":      {func(r *Revocation) { r.User, r.Family = "", "f" }, Invalid},
		"a cut in midst a second":  {func(r *Revocation) { r.Cut = r.Cut.Add(time.Millisecond) }, Invalid},
		"a user, staged":           {func(r *Revocation) { r.Stage = time.Minute }, Invalid},
		"a negative stage":         {func(r *Revocation) { r.User, r.All, r.Stage = "", true, -time.Second }, Invalid},
		"too long a stage":         {func(r *Revocation) { r.User, r.All, r.Stage = "", true, MaxStage+time.Second }, Invalid},
		"a stage of half a second": {func(r *Revocation) { r.User, r.All, r.Stage = "", true, time.Second/2 }, Invalid},
		"no time":                  {func(r *Revocation) { r.Time = time.Time{} }, Invalid},
		"never to be forgotten":    {func(r *Revocation) { r.Forget = time.Time{} }, Invalid},
		"a long user":              {func(r *Revocation) { r.User = long }, TooLarge},
		"a long operator":          {func(r *Revocation) { r.By = long }, TooLarge},
		"a user that is not UTF-8": {func(r *Revocation) { r.User = "ann\xff" }, Invalid},
	} {
		r := byUser(now)
		c.change(&r)
		if err := r.Check(); ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestRevocationCovers(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := Subject{ID: "t", Family: "f", User: "u", Device: "d", Issued: now}
	nameless := Subject{ID: "t", Family: "f", Issued: now}
	for name, c := range map[string]struct {
		r          Revocation
		ends, bare bool // s; the same without user and device
	}{
		"its ticket":           {Revocation{Ticket: "t"}, true, true},
		"another ticket":       {Revocation{Ticket: "t2"}, false, false},
		"its family":           {Revocation{Family: "f"}, true, true},
		"another family":       {Revocation{Family: "f2"}, false, false},
		"its user":             {Revocation{User: "u", Cut: now}, true, false},
		"its user in capitals": {Revocation{User: "U", Cut: now}, false, false},
		"its device":           {Revocation{Device: "d", Cut: now}, true, false},
		"both":                 {Revocation{User: "u", Device: "d", Cut: now}, true, false},
		"another's device":     {Revocation{User: "u2", Device: "d", Cut: now}, false, false},
		"another device":       {Revocation{User: "u", Device: "d2", Cut: now}, false, false},
		"all":                  {Revocation{All: true, Cut: now}, true, true},
		"before it was issued": {Revocation{All: true, Cut: now.Add(-time.Second)}, false, false},
		"nobody":               {Revocation{Cut: now}, false, false},
	} {
		if got := c.r.Covers(&s, now); got != c.ends {
			t.Errorf("%s: ends %v, want %v", name, got, c.ends)
		}
		if got := c.r.Covers(&nameless, now); got != c.bare {
			t.Errorf("%s, of a ticket without names: ends %v, want %v", name, got, c.bare)
		}
	}
}

// Everybody is held for the first tenth, let in evenly over the rest, and in by
// the end; at each gateway at the same moment, and in another order each time.
func TestStage(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	const families, parts = 20_000, 20
	for _, stage := range []time.Duration{time.Second, 7 * time.Second, time.Hour, MaxStage} {
		r, later := stagedOver(stage, now), stagedOver(stage, now.Add(time.Minute))
		var count [parts]int
		moved := 0
		hold := stage / 10
		for i := range families {
			s := Subject{Family: fmt.Sprintf("family-%d", i), Issued: now}
			at := r.Readmits(&s)
			if at.Before(r.Time.Add(hold)) || !at.Before(r.Time.Add(stage)) {
				t.Fatalf("stage %s: let in %s after it began", stage, at.Sub(r.Time))
			}
			if !r.Covers(&s, at.Add(-1)) || r.Covers(&s, at) {
				t.Fatalf("stage %s: not let in at the moment that Readmits tells", stage)
			}
			count[int64(parts)*int64(at.Sub(r.Time)-hold)/int64(stage-hold)]++
			if d := later.Readmits(&s).Sub(later.Time) - at.Sub(r.Time); d.Abs() > stage/100 {
				moved++
			}
		}
		// Each part has 1,000 of them, with a standard deviation of 31. The names
		// are fixed, so this comes out the same every time.
		for part, n := range count {
			if math.Abs(float64(n)-families/parts) > 5*31 {
				t.Errorf("stage %s: %d are let in within part %d of %d, want about %d", stage, n, part, parts, families/parts)
			}
		}
		if moved < families*9/10 {
			t.Errorf("stage %s: the next one lets %d of %d in at the same turn", stage, families-moved, families)
		}
	}
	// What has crossed the wire lets in at the same moment.
	w := newWorld(t)
	r := stagedOver(time.Hour, w.now.Add(123_456_789))
	e, err := w.signer.SignEntry("gw-1.a", 1, Hash{}, r)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseEntry(e.Signed)
	if err != nil {
		t.Fatal(err)
	}
	s := Subject{Family: "f"}
	if here, there := e.Readmits(&s), read.Readmits(&s); !here.Equal(there) {
		t.Errorf("let in at %s where it was made, at %s where it was read", here, there)
	}
	// A new ticket is not held.
	if r.Covers(&Subject{Family: "f", Issued: r.Cut.Add(time.Second)}, r.Time) {
		t.Error("a ticket issued past the cut is held")
	}
}

func TestScope(t *testing.T) {
	for want, r := range map[string]Revocation{
		"ticket": {Ticket: "t"}, "family": {Family: "f"}, "user": {User: "u"}, "device": {Device: "d"},
		"user_device": {User: "u", Device: "d"}, "all": {All: true},
	} {
		if got := r.Scope(); got != want {
			t.Errorf("%+v: scope %q", r, got)
		}
	}
}
