package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/bench/load"
)

// verdict is the report in three sentences, for somebody who reads no more.
type verdict struct {
	Asked, Reached, Limited string
}

func (r *Report) verdict(outcomes []outcome) verdict {
	v := verdict{
		Asked:   asked(&r.Plan) + " " + r.through(outcomes),
		Reached: r.reached(outcomes),
		Limited: r.limited(),
	}
	switch broken, whole := r.broken(); {
	case len(r.Void) > 0:
		v.Reached = "Nothing that counts. What was seen: " + v.Reached
	case broken && !whole:
		v.Reached = "Nothing that counts: it was broken off in its first round. Until then: " + v.Reached
	case broken:
		v.Reached = "It was broken off. In the rounds before: " + v.Reached
	}
	return v
}

// voided says which endpoints' rounds make a run void, if it is rounds that do.
func (r *Report) voided() string {
	var parts []string
	for _, name := range r.Endpoints {
		if void, all := r.voidRounds(name); void > 0 && 2*void >= all {
			parts = append(parts, fmt.Sprintf("%d of %s", void, plural(int64(all), "round"))+" through "+plain(name))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + listed(parts)
}

// voidRounds are how many of an endpoint's rounds do not count, and how many there are.
func (r *Report) voidRounds(endpoint string) (void, all int) {
	for i := range r.Rounds {
		if round := &r.Rounds[i]; round.Endpoint == endpoint && !round.broken() {
			all++
			void += min(1, len(round.Void))
		}
	}
	return void, all
}

// left says of how few rounds a limit is, where others are void.
func (r *Report) left(endpoint string) string {
	void, all := r.voidRounds(endpoint)
	if void == 0 || void == all {
		return ""
	}
	return fmt.Sprintf(" (in the %d of %s that count)", all-void, plural(int64(all), "round"))
}

// broken is whether a round did not come to its end, and whole whether another did.
func (r *Report) broken() (broken, whole bool) {
	for i := range r.Rounds {
		of := r.Rounds[i].broken()
		broken, whole = broken || of, whole || !of
	}
	return broken, whole
}

func (r *Round) broken() bool { return len(r.Void) > 0 && r.Void[0].What == Partial }

// asked says what the load was.
func asked(p *load.Plan) string {
	s := &p.Scenario
	devices, lasted := count(int64(s.Devices)), lasting(s.Sustain)
	rate := significant(s.Rate, 4)
	faster := ""
	if s.Scale > 1 {
		faster = fmt.Sprintf(", %s times as fast as by day", significant(s.Scale, 3))
	}
	switch s.Kind {
	case "setup":
		return fmt.Sprintf("New tunnels were opened at %s a second for %s", rate, lasted)
	case "idle":
		return fmt.Sprintf("%s tunnels were opened and held idle for %s", devices, lasted)
	case "bulk":
		return fmt.Sprintf("%s at a time were kept up for %s", plural(int64(s.Streams), "bulk transfer"), lasted)
	case "requests":
		return fmt.Sprintf("Requests were made at %s a second over %s held tunnels for %s", rate, devices, lasted)
	case "push":
		return fmt.Sprintf("%s devices held long polls of %s to %s%s, for %s",
			devices, lasting(s.Heartbeat[0]), lasting(s.Heartbeat[1]), faster, lasted)
	case "storm":
		return fmt.Sprintf("%s devices were woken within %s, %s of them with a tunnel standing,",
			devices, lasting(s.Within), significant(100*s.Warm, 3)+"\u00a0%")
	case "morning":
		return fmt.Sprintf("%s devices came online within %s, each with a new tunnel,", devices, lasting(s.Within))
	case "revoke":
		return fmt.Sprintf("%s tunnels were held, and ended by a command,", devices)
	case "extender":
		return fmt.Sprintf("%s of %s mailboxes each streamed notifications for %s",
			plural(int64(s.Accounts), "account"), count(int64(s.Mailboxes)), lasted)
	case "attachments":
		return fmt.Sprintf("Attachments were fetched at %s a second for %s", rate, lasted)
	case "day":
		return fmt.Sprintf("%s devices lived through a working day%s, for %s", devices, faster, lasted)
	}
	return fmt.Sprintf("The scenario %s ran for %s", plain(s.Kind), lasted)
}

func (r *Report) through(outcomes []outcome) string {
	rounds := r.Turns
	for _, o := range outcomes {
		rounds = max(rounds, len(o.Rounds))
	}
	names := plainAll(r.Endpoints)
	switch {
	case len(names) == 0:
		return "through no endpoint."
	case len(names) == 1:
		return fmt.Sprintf("through %s, in %s.", names[0], plural(int64(rounds), "round"))
	}
	return fmt.Sprintf("through %s in turns, %s each.", listed(names), plural(int64(rounds), "round"))
}

// reached says what came of it at each endpoint.
func (r *Report) reached(outcomes []outcome) string {
	var parts []string
	for i := range outcomes {
		if i == 3 && len(outcomes) > 4 {
			parts = append(parts, fmt.Sprintf("and %d more endpoints in the table", len(outcomes)-i))
			break
		}
		parts = append(parts, plain(outcomes[i].Endpoint)+" "+outcomes[i].achieved(r.Plan.Scenario.Kind))
	}
	if len(parts) == 0 {
		return "Nothing was reached."
	}
	return strings.Join(parts, "; ") + "."
}

func (o *outcome) achieved(kind string) string {
	t := &o.Total
	if len(o.Rounds) == 0 {
		return "was not tried"
	}
	switch kind {
	case "bulk":
		m := o.spread("Mbit/s", func(r *load.Result) (float64, bool) {
			return float64(r.Up+r.Down) * 8e-6 / r.Sustain.Seconds(), r.Sustain > 0
		})
		return "carried " + m + " of bodies"
	case "revoke":
		if t.Lived > 0 {
			return fmt.Sprintf("ended %s of %s tunnels, and %s lived on", count(t.Done), count(t.Scheduled), count(t.Lived))
		}
	case "idle":
		held := o.spread("", func(r *load.Result) (float64, bool) { return float64(r.Held), true })
		return fmt.Sprintf("held %s tunnels, of which %s in all rounds ended by themselves", held, count(t.Died))
	}
	if t.Scheduled == 0 && t.Done == 0 {
		return "had nothing to serve yet"
	}
	says := fmt.Sprintf("served %s of %s", share(t.Done, t.Scheduled), plural(int64(min(t.Scheduled, 1<<62)), "operation"))
	op := Principal(kind, o.Total.Operations)
	if op == nil {
		return says
	}
	if kind == "storm" || kind == "morning" {
		// Of all that were woken, not only of those that got an answer.
		says = fmt.Sprintf("served %s of %s devices within 10\u00a0s and %s within 30\u00a0s",
			share(op.Within10s, t.Scheduled), count(t.Scheduled), share(op.Within30s, t.Scheduled))
	}
	p99, known := o.tail(kind)
	if !known {
		return says + fmt.Sprintf(", the slowest in %s", took(op.Latency.Max()))
	}
	return says + fmt.Sprintf(", half of them in %s and 99 of 100 in %s", took(op.Latency.Quantile(0.5)), p99)
}

// tail is the 99th percentile of what the scenario is about, if any round had enough
// to know it.
func (o *outcome) tail(kind string) (p99 string, known bool) {
	p99 = o.spread("ms", func(r *load.Result) (float64, bool) {
		op := Principal(kind, r.Operations)
		if op == nil {
			return 0, false
		}
		took, of := op.Latency.Percentile(0.99)
		known = known || of
		return milliseconds(took), of
	})
	return p99, known
}

// spread is the median of the rounds with lowest and highest.
func (o *outcome) spread(unit string, of func(*load.Result) (float64, bool)) string {
	f := NewFigure(o.Endpoint, "", unit, "", o.each(of))
	m := measured(f.Median, unit)
	if span := m.span(f.Low, f.High); span != "" {
		return fmt.Sprintf("%s (%s)", m.quantity(f.Median), span)
	}
	return m.quantity(f.Median)
}

// limited says what kept each endpoint from more, with the first of the evidence.
func (r *Report) limited() string {
	var parts []string
	for _, l := range r.Limits {
		endpoint, says := plain(l.Endpoint), small(bare(l.Says))
		endpoint += r.left(l.Endpoint)
		s := fmt.Sprintf("%s by the %s: %s", endpoint, plain(l.Resource), says)
		switch l.Resource {
		case "schedule":
			s = fmt.Sprintf("%s by nothing yet: %s", endpoint, says)
		case "unknown", "":
			s = fmt.Sprintf("%s by something that is not known: %s", endpoint, says)
		case "gateway refuses":
			s = fmt.Sprintf("%s by its own refusals: %s", endpoint, says)
		}
		if n := min(len(l.Evidence), 2); n > 0 {
			s += " [" + strings.Join(plainAll(l.Evidence[:n]), "; ") + "]"
		}
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		return "By what was not looked for."
	}
	return strings.Join(parts, "; ") + "."
}

// bare is a sentence without its full stop, to stand within another.
func bare(s string) string { return strings.TrimSuffix(plain(strings.TrimSpace(s)), ".") }

// small begins with a small letter, unless the first word is a name.
func small(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if len(word) > 1 && strings.ToLower(word[1:]) == word[1:] {
		return strings.ToLower(word[:1]) + s[1:]
	}
	return s
}

func capital(s string) string {
	for i, r := range s {
		return strings.ToUpper(string(r)) + s[i+len(string(r)):]
	}
	return s
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}

// listed joins names as a sentence does.
func listed(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// most is the most rounds that a figure of every endpoint rests on: of the endpoint that
// has fewest. Some figures, such as the memory of a tunnel, can have fewer by nature.
func (r *Report) most() int {
	of := make(map[string]int)
	for _, f := range r.Figures {
		of[f.Endpoint] = max(of[f.Endpoint], len(f.Rounds))
	}
	if len(of) == 0 {
		return 0
	}
	return slices.Min(slices.Collect(maps.Values(of)))
}

// confidence says what the figures are good for, and what is not in them.
func (r *Report) confidence() string {
	void, broken := 0, 0
	for i := range r.Rounds {
		switch round := &r.Rounds[i]; {
		case round.broken():
			broken++
		case len(round.Void) > 0:
			void++
		}
	}
	s := Confidence(r.most()) + r.pairs()
	if void+broken == 0 {
		return s
	}
	var parts []string
	if void > 0 {
		parts = append(parts, isOrAre(void)+" void")
	}
	if broken > 0 {
		parts = append(parts, isOrAre(broken)+" broken off")
	}
	were := "were"
	if len(r.Rounds) == 1 {
		were = "was"
	}
	return s + fmt.Sprintf(" Of %s that %s begun, %s.", plural(int64(len(r.Rounds)), "round"), were, strings.Join(parts, " and "))
}

// pairs says of how few rounds ratios are, if of fewer than figures.
func (r *Report) pairs() string {
	if len(r.Ratios) == 0 {
		return ""
	}
	pairs := 0 // some have fewer by nature: nothing can be divided by 0
	for _, ratio := range r.Ratios {
		pairs = max(pairs, ratio.Pairs)
	}
	if pairs >= r.most() {
		return ""
	}
	return fmt.Sprintf(" Ratios are of two rounds of the same number: there are %s of such.", plural(int64(pairs), "pair"))
}

func isOrAre(n int) string {
	if n == 1 {
		return "1 is"
	}
	return count(int64(n)) + " are"
}

func stamp(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }
