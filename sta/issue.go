package sta

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// IssueRequest is what a client asks for.
type IssueRequest struct {
	// User and Device are required, unless Anonymous.
	User, Device string
	// Anonymous is set by a door whose requests need not name user and device.
	Anonymous     bool
	App, Platform string
	Groups        []string
	// Policy is the policy the gateway shall apply. "" leaves that to the gateway,
	// which goes by app, platform and groups; for a client with Policies it means
	// DefaultPolicy if that is one of them, else the first.
	Policy string
	// Services narrows the policy to these host:port. nil narrows nothing; an
	// empty list is refused, since it could be read either way.
	Services []string
	// Data is the named values of TicketData, for presentations that name no
	// destination.
	Data []ticket.Value
	// Lifetime is whole seconds, at least one; 0 means the longest that authority
	// and client allow. A longer one is refused.
	Lifetime time.Duration
	// Refreshable says that live tunnels end with the ticket. nil means true.
	Refreshable *bool
}

// DefaultPolicy is the name of the policy that gateways apply where no other is
// named or matches.
const DefaultPolicy = "default"

// Issued is a new ticket on its way to its device.
type Issued struct {
	ID        string        // by which operators know it
	Handle    ticket.Handle // the secret; this is the only place it is ever seen
	Statement string
	Expires   time.Time // UTC, whole seconds
}

// Token gives statement and handle in one, to be presented by devices that can
// carry it.
func (i *Issued) Token() string { return ticket.Token(i.Statement, i.Handle) }

// Issue makes a ticket. It leaves only when the store and the audit log both
// hold it durably; else the answer is [ticket.Unavailable]. Refusals are
// *[ticket.Error]: [ticket.Forbidden], [ticket.Invalid], [ticket.TooLarge].
func (a *Authority) Issue(ctx context.Context, c *Client, req IssueRequest) (Issued, error) {
	if c == nil {
		return Issued{}, c.Check(MayIssue)
	}
	now := a.now()
	event := Event{
		Time: now, Action: ActionIssue, Result: ResultOK, Client: c.Name, Source: c.Source,
		User: claimed(req.User), Device: claimed(req.Device), App: claimed(req.App),
	}
	issued, r, err := a.make(ctx, c, &req, now)
	if r != nil {
		event.Ticket = issued.ID
	}
	if err != nil {
		event.Text = "STA ticket refused" + forWhom(event) + ": " + reasonText(err)
		a.auditRefusal(ctx, event, err)
		return Issued{}, err
	}
	// Judged and accepted, so as they are: a device's name may look like a handle.
	event.User, event.Device, event.App = r.User, r.Device, r.App
	event.Text = "STA ticket generated successfully" + forWhom(event)
	// A client that hangs up now is no failure of the audit log.
	if err := a.append(context.WithoutCancel(ctx), event); err != nil {
		a.takeBack(ctx, r)
		return Issued{}, unavailable("the ticket could not be audited", err)
	}
	if a.hooks.Issued != nil {
		a.hooks.Issued(c.Name)
	}
	return issued, nil
}

// make decides, signs and stores. A record that comes with an error may have been
// stored; its ticket goes nowhere.
func (a *Authority) make(ctx context.Context, c *Client, req *IssueRequest, now time.Time) (Issued, *Record, error) {
	if err := c.Check(MayIssue); err != nil {
		return Issued{}, nil, err
	}
	if err := a.mayIssueNow(ctx); err != nil {
		return Issued{}, nil, err
	}
	issued, r, err := a.draft(c, req, now)
	if err != nil {
		return Issued{}, nil, err
	}
	// A gateway's clock may be CutAhead behind, and it takes no stamp that is over
	// Skew ahead. After several revocations within a second the next has to wait.
	if early := r.Issued.Sub(now) - (ticket.Skew - ticket.CutAhead); early > 0 {
		timer := time.NewTimer(early)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return Issued{}, nil, unavailable("the ticket was not waited for", ctx.Err())
		}
	}
	err = a.store.Put(ctx, r)
	if err == nil && a.revoked(r, now) != nil {
		// Its user or device was revoked between the stamp and the store.
		err = ticket.Refuse(ticket.Unavailable, "a revocation came in between; try again")
	}
	if err != nil {
		a.takeBack(ctx, r)
		return issued, r, unavailable("the ticket could not be stored", err)
	}
	return issued, r, nil
}

// draft decides and signs; it touches neither store nor audit log.
func (a *Authority) draft(c *Client, req *IssueRequest, now time.Time) (Issued, *Record, error) {
	if err := req.check(); err != nil {
		return Issued{}, nil, err
	}
	policy, err := c.policyFor(req.Policy)
	if err != nil {
		return Issued{}, nil, err
	}
	lifetime, err := a.lifetimeFor(c, req.Lifetime)
	if err != nil {
		return Issued{}, nil, err
	}
	handle := ticket.NewHandle()
	notBefore := now.UTC().Truncate(time.Second)
	claims := ticket.Claims{
		ID: newID(), Authority: a.id, Audience: a.audience,
		User: req.User, Device: req.Device, App: req.App, Platform: req.Platform,
		Groups: req.Groups, Policy: policy, Data: req.Data, Services: req.Services,
		Issued: a.stamp(now, req.User, req.Device), NotBefore: notBefore, Expires: notBefore.Add(lifetime),
		Family: newID(), AuthTime: notBefore,
		Refreshable: req.Refreshable == nil || *req.Refreshable,
		Handle:      handle.Hash(),
	}
	statement, err := a.signer.Sign(claims)
	if err != nil {
		return Issued{}, nil, err
	}
	issued := Issued{ID: claims.ID, Handle: handle, Statement: statement, Expires: claims.Expires}
	return issued, record(&claims, statement, c.Name), nil
}

// policyFor gives the policy that a ticket names, out of what was asked for.
func (c *Client) policyFor(asked string) (string, error) {
	switch {
	case c.Policies == nil || slices.Contains(c.Policies, asked):
		return asked, nil
	case asked != "" || len(c.Policies) == 0:
		return "", ticket.Refuse(ticket.Forbidden, "the client may not ask for this policy")
	case slices.Contains(c.Policies, DefaultPolicy):
		return DefaultPolicy, nil
	}
	return c.Policies[0], nil
}

// lifetimeFor gives the life of a ticket, out of what was asked for.
func (a *Authority) lifetimeFor(c *Client, asked time.Duration) (time.Duration, error) {
	most := a.lifetime
	if c.MaxLifetime > 0 {
		most = min(most, c.MaxLifetime)
	}
	most = max(most.Truncate(time.Second), time.Second)
	switch {
	case asked == 0:
		return most, nil
	case asked < time.Second:
		return 0, ticket.Refuse(ticket.Invalid, "a ticket lives at least 1 s")
	case asked > most:
		return 0, ticket.Refuse(ticket.Invalid, "a ticket for this client lives at most %s", most)
	}
	return asked.Truncate(time.Second), nil
}

// stamp gives the iat of a ticket issued now: past every cut that would end it.
// This is the one place that computes it.
func (a *Authority) stamp(now time.Time, user, device string) time.Time {
	issued := now.UTC().Truncate(time.Second)
	if cut := a.log.LastCut(user, device); !cut.Before(issued) {
		issued = cut.Add(time.Second)
	}
	return issued
}

// newID draws the name of a ticket or a family: 26 lower-case characters of
// base32, 130 bits. It is no secret, but nobody shall guess a neighbour's.
func newID() string { return strings.ToLower(rand.Text()) }

func record(c *ticket.Claims, statement, client string) *Record {
	return &Record{
		ID: c.ID, Hash: c.Handle, Family: c.Family,
		User: c.User, Device: c.Device, App: c.App, Platform: c.Platform,
		Groups: c.Groups, Policy: c.Policy, Services: c.Services,
		Issued: c.Issued, Expires: c.Expires, Refreshable: c.Refreshable,
		Client: client, Statement: statement,
	}
}

// takeBack removes a ticket that nobody will get. Should that fail as well, the
// record opens nothing: its handle is gone when Issue returns.
func (a *Authority) takeBack(ctx context.Context, r *Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = a.store.Delete(ctx, r.ID)
}

// forWhom is the end of the audit texts, in the words that operators know.
func forWhom(e Event) string {
	var text strings.Builder
	if e.User != "" {
		text.WriteString(" for user " + strconv.Quote(e.User))
	}
	if e.App != "" {
		text.WriteString(" for app " + strconv.Quote(e.App))
	}
	return text.String()
}

// reasonText is the text of a refusal without its cause: causes belong in logs.
func reasonText(err error) string {
	var refusal *ticket.Error
	if errors.As(err, &refusal) {
		return refusal.Text
	}
	return fmt.Sprint(ticket.ReasonOf(err))
}
