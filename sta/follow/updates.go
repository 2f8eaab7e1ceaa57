package follow

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

const (
	// reportTime bounds one report: a lost one does not matter, and must not keep
	// from hearing what comes next.
	reportTime = 1500 * time.Millisecond
	// reportLead is the pause for another node's report on the same entries.
	reportLead = 5 * time.Millisecond
	// maxCounts bounds the counts in one report: what anybody waits for is new.
	maxCounts = 64
	// handBackAfter is how long a head may lack entries until they are handed back,
	// and alarmAfter until somebody is told, and another node is followed.
	handBackAfter = 2 * time.Second
	alarmAfter    = 10 * time.Second
	// maxHandBack bounds the entries that are handed back at a time.
	maxHandBack = 500
	// keysEvery is how often a node is asked for its keys. Mostly a head says that
	// there are newer ones; but if its own was taken out, it signs no head.
	keysEvery = 10 * time.Second
	// forgetEvery is how often the log is shortened.
	forgetEvery = 10 * time.Minute
)

// answer is what came of one answer of a node.
type answer struct {
	entries []ticket.Entry   // that were new here
	told    bool             // it gave entries, new here or not
	report  ticket.CutReport // on them
	head    *ticket.Head     // verified; nil if it gave none
	good    bool             // the grace counts from it
	short   error            // why it is of no use; nil also for one that another node was faster than
}

// ask asks a node once, judges what it says, and does what follows from it. wait
// is how long the request may stay open.
func (f *Follower) ask(ctx context.Context, s *nodeSet, n *node, wait time.Duration) {
	began := time.Now()
	a, err := f.updates(ctx, n, wait)
	if len(a.entries) > 0 {
		f.reportCuts(ctx, s, n, &a)
	}
	if ctx.Err() != nil {
		return // it is not the node that ended this
	}
	n.asked = time.Now()
	if err != nil {
		f.fail(s, n, err)
		return
	}
	f.settle(ctx, s, n, &a)
	// Who answers at once that there is nothing new is not asked at once again; who
	// told what another node had told a moment before, is as soon as that one's
	// report is on its way.
	switch {
	case len(a.entries) > 0 || wait == 0:
	case a.told:
		n.asked = later(n.asked, began.Add(reportLead))
	default:
		n.asked = later(n.asked, began.Add(lookAgain))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// updates asks and judges.
func (f *Follower) updates(ctx context.Context, n *node, wait time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+answerTime)
	defer cancel()
	if !n.keys || time.Since(n.keyed) > keysEvery {
		if err := f.fetchKeys(ctx, n); err != nil {
			return answer{}, err
		}
		n.keys, n.keyed = true, time.Now()
	}
	asked := time.Now()
	u, err := n.Source.Updates(ctx, f.config.Gateway, *f.applied.Load(), wait)
	if err != nil {
		return answer{}, err
	}
	// The signature of a head comes first: if that is a stranger's, nothing else
	// is looked at.
	head, err := f.verifyHead(ctx, n, u.Head)
	if err != nil {
		return answer{}, err
	}
	return f.judge(asked, head, &u)
}

// judge puts what is new in force and looks at the head.
func (f *Follower) judge(asked time.Time, head *ticket.Head, u *ticket.Updates) (a answer, err error) {
	f.judging.Lock()
	defer f.judging.Unlock()
	a.head, a.told = head, len(u.Logs) > 0
	var vouching []*ticket.Head
	overtaken := false
	if head != nil {
		if overtaken, err = f.heads.take(head, u.Head, asked); err != nil {
			return a, err
		}
		vouching = append(vouching, head)
	}
	keys := f.trusted().set
	a.entries, err = f.config.Log.Take(keys, u.Logs, vouching...)
	// All of them are in force before the first cut: cutting many tunnels must not
	// hold up what came with it.
	if len(a.entries) > 0 {
		a.report = f.cut(a.entries)
	}
	if err := f.unsaved(err); err != nil {
		return a, err
	}
	if overtaken {
		a.short = ErrStale
		return a, nil
	}
	a.good, a.short = f.judgeHead(head, keys)
	var disbelief *DisbeliefError
	if errors.As(a.short, &disbelief) {
		return a, a.short
	}
	return a, nil
}

// unsaved takes the errors of this machine's disk out of those of Take: what was
// taken is in force, and is written later. The rest is the node's.
func (f *Follower) unsaved(err error) error {
	if err == nil {
		return nil
	}
	var refusal *ticket.Error
	if errors.Is(err, revlog.ErrFork) || errors.Is(err, revlog.ErrGap) || errors.As(err, &refusal) || !revlog.IsUnsaved(err) {
		return &DisbeliefError{err}
	}
	if !f.unwritten {
		f.alarm("", err)
	}
	f.unwritten = true
	return nil
}

// cut ends the tunnels of new entries, in order, and counts them.
func (f *Follower) cut(entries []ticket.Entry) ticket.CutReport {
	counts := make([]int, len(entries))
	for i := range entries {
		counts[i] = f.config.Cut(&entries[i].Revocation)
	}
	report := ticket.CutReport{Applied: f.config.Log.Positions(), Cuts: make(map[ticket.Ref]int)}
	newest := make([]int, len(entries))
	for i := range newest {
		newest[i] = i
	}
	slices.SortStableFunc(newest, func(a, b int) int { return entries[b].Time.Compare(entries[a].Time) })
	for _, i := range newest[:min(len(newest), maxCounts)] {
		report.Cuts[entries[i].Ref()] = counts[i]
	}
	return report
}

// reportCuts tells the node that is followed what was done. Only then does the
// gateway ask past the entries, which would say the same without the counts.
func (f *Follower) reportCuts(ctx context.Context, s *nodeSet, n *node, a *answer) {
	if lead := s.lead(); lead != nil {
		n = lead
	}
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	// A lost report makes the authority name this gateway as one that did not
	// answer, until it asks again; the tunnels are cut all the same.
	_ = n.Source.ReportCuts(ctx, f.config.Gateway, a.report)
	f.apply(a.report.Applied)
}

// apply notes how far everything was applied. Reports on what two nodes gave may
// end in another order than they began: nothing is ever taken back.
func (f *Follower) apply(p ticket.Positions) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := *f.applied.Load()
	applied := make(ticket.Positions)
	for writer := range f.config.Log.Positions() {
		if at := max(before[writer], p[writer]); at > 0 {
			applied[writer] = at
		}
	}
	f.applied.Store(&applied)
}

// fail notes that a node did not answer, or is not to be believed.
func (f *Follower) fail(s *nodeSet, n *node, why error) {
	n.retry = min(2*n.retry, maxRetry)
	n.wait = 0
	f.move(s, n, down, why)
	var disbelief *DisbeliefError
	if errors.As(why, &disbelief) && !n.disbelieved {
		n.disbelieved = true
		f.alarm(n.Name, why)
	}
}

// settle notes how a node stands that answered something to be believed.
func (f *Follower) settle(ctx context.Context, s *nodeSet, n *node, a *answer) {
	n.retry = minRetry
	if a.short == nil {
		n.short, n.alarmed, n.disbelieved, n.wait = time.Time{}, false, false, pollWait
		f.move(s, n, up, nil)
		if a.good { // and there is a node to redeem at
			f.begin.Do(func() { close(f.ready) })
		}
		return
	}
	n.wait = lookAgain
	if n.short.IsZero() {
		n.short = n.asked
	}
	lasting := n.asked.Sub(n.short)
	if errors.Is(a.short, ErrBehind) && lasting >= handBackAfter && n.asked.Sub(n.handed) >= handBackAfter {
		n.handed = n.asked
		f.handBack(ctx, n, a.head)
	}
	if lasting >= alarmAfter {
		n.wait = lookSeldom
	}
	if lasting >= alarmAfter && !n.alarmed {
		n.alarmed = true
		f.alarm(n.Name, a.short)
	}
	// Where there is no better one it is followed all the same, for the entries
	// that it does give.
	better := s.othersUp(n)
	if better && (lasting >= alarmAfter || s.isDown(n)) {
		f.move(s, n, down, a.short)
		return
	}
	f.move(s, n, up, a.short)
}

// handBack gives a node the entries that its head lacks.
func (f *Follower) handBack(ctx context.Context, n *node, head *ticket.Head) {
	from := f.behind(head)
	if from == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	// What is lost on the way is handed back again, until the head has it.
	_ = n.Source.ReportCuts(ctx, f.config.Gateway, ticket.CutReport{
		Applied: *f.applied.Load(), Logs: f.config.Log.After(from, maxHandBack),
	})
}

// move notes how a node stands, and tells of it.
func (f *Follower) move(s *nodeSet, n *node, to state, why error) {
	if s.set(n, to, why, f.config.Now()) && f.config.Hooks.Node != nil {
		f.config.Hooks.Node(n.Name, to == up, why)
	}
	if s.allTried() {
		f.triedAll.Do(func() { close(f.tried) })
	}
	f.tellLost()
}
