package sta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// RevokeRequest says which tickets to end: exactly one of Ticket, Family, User
// and Device (both: the tickets of that user on that device), and All.
type RevokeRequest struct {
	// Ticket is the id of a ticket; it ends with its family.
	Ticket string
	Family string
	User   string
	Device string
	All    bool
	// Before ends only what was issued before that moment. It goes with User,
	// Device and All; zero means: everything so far.
	Before time.Time
	// Stage cuts everyone at once and lets the tickets in again, each at a time
	// of its own within Stage. It goes with All. 0 ends them for good.
	Stage time.Duration
	// AllMatching ends what matches without a look at what that is: although a
	// device's name is that of several users' devices, and although no such
	// ticket is listed, for a store may have lost it.
	AllMatching bool
	// Operator is who asks, as the client says, for the audit log.
	Operator string
}

// RevokeResult is what came of a revocation.
type RevokeResult struct {
	// Scope is what was revoked: ticket, family, user, device, user_device, all.
	Scope string
	// ID is the ticket that was named, if one was; Family is the one that ended.
	ID, Family string
	// Entry is the place in the log; of one that had been revoked before by ticket
	// or family, the place of the first.
	Entry ticket.Ref
	// Matched is the number of tickets in force that it ended, -1 where nobody
	// counted.
	Matched int
	// Already says that everything named had been revoked before.
	Already bool
	// Copies is the number of other nodes that confirmed to have it. With 0,
	// SingleCopy tells that there is no other place than this node and the store.
	Copies     int
	SingleCopy bool
	// Gateways are those that followed the authority at the time, by name.
	Gateways []GatewayCut
	// Took is the whole of it.
	Took time.Duration
	// Warnings are what an operator must know although the revocation is in
	// force here.
	Warnings []string
}

// Cut is the number of live tunnels that ended.
func (r *RevokeResult) Cut() int {
	n := 0
	for _, g := range r.Gateways {
		n += g.Cut
	}
	return n
}

// GatewayCut is what one gateway made of a revocation.
type GatewayCut struct {
	Name string
	// Answered is false for a gateway that did not report in time. It may have
	// applied the revocation, or may yet: it follows, or its grace runs out.
	Answered bool
	// Cut is the number of live tunnels that it ended.
	Cut int
	// Took is the time from the revocation to the report.
	Took time.Duration
}

// MatchError says that a revocation was not made because of what it matches:
// nothing ([ticket.NotFound]), or more than was meant ([ticket.Ambiguous]).
// Names are near ones, or those that match; only whoever may list is given any.
type MatchError struct {
	Refusal *ticket.Error
	Names   []string
}

func (e *MatchError) Error() string { return e.Refusal.Error() }
func (e *MatchError) Unwrap() error { return e.Refusal }

// Revoke ends tickets. When it returns without an error the revocation is in
// force at this node and in its log, and every other node and every gateway that
// follows has had up to CutWait to confirm it; the result names who did not. To
// revoke again ends nothing more and is no error; of a user, a device or all it
// adds an entry with a later cut.
//
// Ending a ticket must always be possible. With a store, a disk or an audit log
// that does not work it is in force all the same, and Warnings say what is
// missing. Refusals: [ticket.Forbidden], [ticket.Invalid], and a [*MatchError].
func (a *Authority) Revoke(ctx context.Context, c *Client, req RevokeRequest) (RevokeResult, error) {
	if c == nil {
		return RevokeResult{}, c.Check(MayRevoke)
	}
	start := time.Now()
	event := Event{
		Time: a.now(), Action: ActionRevoke, Result: ResultOK, Client: c.Name, Source: c.Source,
		Ticket: claimed(req.Ticket), User: claimed(req.User), Device: claimed(req.Device),
		Operator: claimed(req.Operator),
	}
	v, err := a.revoke(ctx, c, &req, event.Time)
	if v != nil && v.record != nil {
		event.User, event.Device, event.App = fit(v.record.User), fit(v.record.Device), fit(v.record.App)
	}
	if err != nil {
		event.Text = "STA tickets not revoked: " + reasonText(err)
		a.auditRefusal(ctx, event, err)
		return RevokeResult{}, err
	}
	result := &v.result
	if a.hooks.Revoked != nil {
		a.hooks.Revoked(result.Scope, result.Already)
	}
	event.Scope, event.Text = result.Scope, revokedText(result, &req, event)
	if err := a.append(context.WithoutCancel(ctx), event); err != nil {
		result.warn("the revocation is in force but could not be written to the audit log")
	}
	a.confirm(ctx, v, start)
	if a.shared && result.SingleCopy {
		result.warn("single copy: no other node of the authority has confirmed that it has the revocation")
	}
	result.Took = time.Since(start)
	return *result, nil
}

// revokedText is the audit log's sentence.
func revokedText(r *RevokeResult, req *RevokeRequest, e Event) string {
	what := "STA ticket revoked" + forWhom(e)
	switch r.Scope {
	case "user", "device", "user_device":
		what = "all STA tickets revoked" + forWhom(e)
		if e.Device != "" {
			what += fmt.Sprintf(" on device %q", e.Device)
		}
	case "all":
		what = "all STA tickets revoked"
		if req.Stage > 0 {
			what = fmt.Sprintf("all tunnels cut, tickets let in again within %s", req.Stage)
		}
	}
	if !req.Before.IsZero() {
		what += " that were issued before " + req.Before.UTC().Format(time.RFC3339)
	}
	if r.Already {
		what += " (had been before)"
	}
	return what
}

func (r *RevokeResult) warn(text string) { r.Warnings = append(r.Warnings, text) }

// farthest is how far ahead of the clock the stamp of a good ticket may lie: a
// little past CutAhead, where an earlier revocation pushed it. Where nobody can
// see what there is, a cut lies there; else no farther than it must.
const farthest = 2 * ticket.CutAhead

// revocation is one on its way.
type revocation struct {
	result RevokeResult
	record *Record   // of the ticket that was named
	lasts  time.Time // when the last ticket that was found expires
	ahead  []string  // families with a stamp that no cut reaches
	again  bool      // nothing was added: the entry is an older one
}

// revoke decides and puts the revocation in force. What it gives may come with an
// error.
func (a *Authority) revoke(ctx context.Context, c *Client, req *RevokeRequest, now time.Time) (*revocation, error) {
	if err := c.Check(MayRevoke); err != nil {
		return nil, err
	}
	r, err := req.revocation(now)
	if err != nil {
		return nil, err
	}
	r.By = c.Name
	v := &revocation{result: RevokeResult{Scope: r.Scope(), ID: req.Ticket, Matched: -1}}
	// What was revoked already is known here without the store; what is asked of
	// the store need not be answered.
	if err := a.look(ctx); err != nil {
		v.result.warn("the store cannot be reached: nobody looked at what matches")
	} else if err := a.match(ctx, c, req, &r, v); err != nil {
		return v, err
	}
	v.result.Scope, v.result.Family = r.Scope(), r.Family
	// Of names, the store may have lost a ticket that is out there.
	if v.result.Already && r.Cut.IsZero() {
		v.result.Entry, v.again = a.entryOf(&r), true
		return v, nil
	}
	if id := a.signer.KeyID(); !a.Keys().Names(id) && a.Keys().Retired()[id] == nil {
		return v, ticket.Refuse(ticket.Unavailable, "this node's signing key was taken out of the key set: nobody would believe its revocations; ask another node")
	}
	a.setForget(&r, v)
	e, err := a.log.Append(a.signer, r)
	switch {
	case revlog.IsUnsaved(err):
		v.result.warn("the revocation is in force but could not be written to this node's log")
	case err != nil:
		return v, unavailable("the revocation could not be made", err)
	}
	v.result.Entry = e.Ref()
	entries := []ticket.Entry{e}
	for _, family := range v.ahead {
		one := ticket.Revocation{Time: r.Time, By: r.By, Family: family, Forget: r.Forget}
		if e, err = a.log.Append(a.signer, one); err == nil || revlog.IsUnsaved(err) {
			entries = append(entries, e)
		}
	}
	switch err := a.store.PutEntries(ctx, entries); {
	case errors.Is(err, ErrNoCopy):
		// A master whose replica says nothing may be one that was replaced.
		a.sight.lapsed.Store(true)
		v.result.warn("no replica of the store has confirmed the revocation yet")
	case err != nil:
		a.sight.lapsed.Store(true)
		v.result.warn("the revocation is in force but could not be stored; it will be when the store is back")
	}
	return v, nil
}

// revocation checks the request and gives what it asks for.
func (req *RevokeRequest) revocation(now time.Time) (ticket.Revocation, error) {
	r := ticket.Revocation{
		Time:   now.UTC().Truncate(time.Millisecond),
		Ticket: req.Ticket, Family: req.Family, User: req.User, Device: req.Device, All: req.All,
		Stage:  req.Stage,
		Forget: now, // for the check; set later
	}
	exact := req.Ticket != "" || req.Family != ""
	if !exact {
		r.Cut = now.UTC().Truncate(time.Second).Add(farthest)
	}
	if !req.Before.IsZero() {
		before := req.Before.UTC().Truncate(time.Second)
		switch {
		case exact:
			return r, ticket.Refuse(ticket.Invalid, "issued before goes with a user, a device or all")
		case before.After(r.Cut):
			return r, ticket.Refuse(ticket.Invalid, "issued before a moment that has not come")
		}
		r.Cut = before.Add(-time.Second)
	}
	for name, text := range map[string]string{"user": req.User, "device": req.Device, "operator": req.Operator} {
		if err := checkText(name, text); err != nil {
			return r, err
		}
	}
	return r, r.Check()
}

// setForget says until when the revocation must be remembered: as long as any
// ticket that it ends could still be good, and its tunnels live.
func (a *Authority) setForget(r *ticket.Revocation, v *revocation) {
	switch {
	case r.Stage > 0:
		r.Forget = r.Time.Add(r.Stage)
		return
	case r.Cut.IsZero():
		r.Forget = r.Time.Add(a.longest)
	default:
		r.Forget = r.Cut.Add(a.longest)
	}
	// One that is not refreshable may have tunnels after its expiry; and the
	// authority's bound may have been a longer one when it was issued.
	if v.lasts.After(r.Forget) {
		r.Forget = v.lasts
	}
	r.Forget = r.Forget.Add(MinKeep).UTC().Truncate(time.Second)
}

// match looks at the tickets that the request names. It completes the
// revocation, and refuses what is probably a mistake.
func (a *Authority) match(ctx context.Context, c *Client, req *RevokeRequest, r *ticket.Revocation, v *revocation) error {
	switch {
	case req.Ticket != "":
		return a.matchTicket(ctx, req, r, v)
	case req.User != "" || req.Device != "":
		return a.matchNames(ctx, c, req, r, v)
	case req.Family != "":
		v.result.Already = a.entryOf(r) != (ticket.Ref{})
	}
	return nil
}

func (a *Authority) matchTicket(ctx context.Context, req *RevokeRequest, r *ticket.Revocation, v *revocation) error {
	record, err := a.byID(ctx, req.Ticket)
	switch {
	case ticket.ReasonOf(err) == ticket.NotFound && req.AllMatching:
		v.result.warn("the store has no such ticket: should there be one, it alone is revoked, its renewals are not")
		return nil
	case ticket.ReasonOf(err) == ticket.Unavailable:
		v.result.warn("the ticket could not be looked up: it alone is revoked, its renewals are not")
		return nil
	case err != nil:
		return err
	}
	v.record, v.lasts = record, record.Expires
	if !a.vouched(record) {
		v.result.warn("the stored ticket is not what the authority signed: it alone is revoked, its renewals are not")
		return nil
	}
	r.Ticket, r.Family = "", record.Family
	// One that ended with its user's tickets may have renewals that did not.
	v.result.Already = a.entryOf(r) != (ticket.Ref{})
	v.result.Matched = 1
	if by := a.revoked(record, r.Time); by != nil && by.Stage == 0 || !r.Time.Before(record.Expires) {
		v.result.Matched = 0
	}
	return nil
}

// matchNames looks at the tickets of a user or a device.
func (a *Authority) matchNames(ctx context.Context, c *Client, req *RevokeRequest, r *ticket.Revocation, v *revocation) error {
	found, err := a.find(ctx, req, r)
	switch {
	case err != nil:
		v.result.warn("the tickets could not be looked up: nobody looked at what matches")
		return nil
	case req.AllMatching:
	case found.total == 0:
		return a.noMatch(ctx, c, req)
	case len(found.owners) > 1:
		return &MatchError{
			ticket.Refuse(ticket.Ambiguous, "the device's name is that of %d users' devices: name the user too, or ask for all that match", len(found.owners)).(*ticket.Error),
			visible(c, found.owners),
		}
	default:
		v.result.Already = found.inForce == 0 && found.ended > 0
	}
	v.result.Matched, v.lasts, v.ahead = found.inForce, found.lasts, found.ahead
	if req.Before.IsZero() {
		// No farther ahead than it must: what is issued next comes after it.
		r.Cut = r.Time.Truncate(time.Second).Add(ticket.CutAhead)
		if found.newest.After(r.Cut) {
			r.Cut = found.newest
		}
	}
	return nil
}

// visible gives the names to whoever may list tickets.
func visible(c *Client, names []string) []string {
	if c.Check(MayList) != nil {
		return nil
	}
	return names[:min(len(names), maxNames)]
}

// entryOf finds the place of a revocation that is in force already, zero if it
// is not one of its own.
func (a *Authority) entryOf(r *ticket.Revocation) ticket.Ref {
	var ref ticket.Ref
	a.log.Each(func(e *ticket.Entry) bool {
		if e.Ticket == r.Ticket && e.Family == r.Family && e.User == r.User && e.Device == r.Device && e.All == r.All && e.Stage == 0 {
			ref = e.Ref()
		}
		return true
	})
	return ref
}

// vouched tells whether a record says of itself what a key of the set signed.
func (a *Authority) vouched(r *Record) bool {
	v, err := ticket.NewVerifier(a.Keys(), a.audience[0], func() time.Time { return r.Issued })
	if err != nil || !belongs(r, r.Hash) {
		return false
	}
	_, err = v.Verify(r.Statement, r.Hash)
	return err == nil
}
