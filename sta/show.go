package sta

import (
	"context"
	"errors"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Ticket is a ticket as operators see it, and as JSON shows it: everything but
// what opens a door.
type Ticket struct {
	ID          string      `json:"id"`
	User        string      `json:"user,omitempty"`
	Device      string      `json:"device,omitempty"`
	App         string      `json:"app,omitempty"`
	Platform    string      `json:"platform,omitempty"`
	Groups      []string    `json:"groups,omitempty"`
	Policy      string      `json:"policy,omitempty"`
	Services    []string    `json:"services,omitempty"`
	Family      string      `json:"family"`
	Issued      time.Time   `json:"issued"`
	Expires     time.Time   `json:"expires"`
	Refreshable bool        `json:"refreshable"`
	Status      Status      `json:"status"`
	Revoked     *Revocation `json:"revoked,omitempty"`
	Client      string      `json:"client"` // who asked for it
}

// Revocation says how a ticket was revoked: when, which client asked, and by
// what; see [ticket.Revocation.Scope]. Until is set when it is only held back.
type Revocation struct {
	Time  time.Time `json:"time"`
	By    string    `json:"by"`
	Scope string    `json:"scope"`
	Until time.Time `json:"until,omitzero"`
}

// Page is a part of a list. Next is the cursor for the rest, "" at the end. A
// page may hold fewer than asked for, even none, while there is a Next.
type Page struct {
	Tickets []Ticket
	Next    string
}

// Show gives one ticket. Refusals: [ticket.Forbidden], [ticket.NotFound].
func (a *Authority) Show(ctx context.Context, c *Client, id string) (Ticket, error) {
	if err := c.Check(MayList); err != nil {
		return Ticket{}, err
	}
	if err := a.look(ctx); err != nil {
		return Ticket{}, err
	}
	r, err := a.byID(ctx, id)
	if err != nil {
		return Ticket{}, err
	}
	return a.show(r, a.now()), nil
}

// List gives tickets, newest first. Refusals: [ticket.Forbidden] and, for a
// filter that makes no sense, [ticket.Invalid].
func (a *Authority) List(ctx context.Context, c *Client, f Filter) (Page, error) {
	if err := c.Check(MayList); err != nil {
		return Page{}, err
	}
	switch f.Status {
	case "", Valid, Expired, Revoked:
	default:
		return Page{}, ticket.Refuse(ticket.Invalid, "status is none of valid, expired, revoked")
	}
	if f.Limit == 0 {
		f.Limit = DefaultPage
	}
	if f.Limit < 1 || f.Limit > MaxPage {
		return Page{}, ticket.Refuse(ticket.Invalid, "limit is 1 to %d", MaxPage)
	}
	if err := a.look(ctx); err != nil {
		return Page{}, err
	}
	now := a.now()
	f.Revoked = func(r *Record) bool { return a.revoked(r, now) != nil }
	records, next, err := a.store.List(ctx, f, now)
	switch {
	case errors.Is(err, ErrCursor):
		return Page{}, ticket.Refuse(ticket.Invalid, "after is not a cursor from here")
	case err != nil:
		return Page{}, unavailable("the tickets could not be read", err)
	}
	page := Page{Tickets: make([]Ticket, 0, len(records)), Next: next}
	for _, r := range records {
		page.Tickets = append(page.Tickets, a.show(r, now))
	}
	return page, nil
}

func (a *Authority) show(r *Record, now time.Time) Ticket {
	shown := Ticket{
		ID: r.ID, User: r.User, Device: r.Device, App: r.App, Platform: r.Platform,
		Groups: r.Groups, Policy: r.Policy, Services: r.Services, Family: r.Family,
		Issued: r.Issued, Expires: r.Expires, Refreshable: r.Refreshable,
		Status: Valid, Client: r.Client,
	}
	if !now.Before(r.Expires) {
		shown.Status = Expired
	}
	if by := a.revoked(r, now); by != nil {
		shown.Status = Revoked
		shown.Revoked = &Revocation{Time: by.Time, By: by.By, Scope: by.Scope()}
		if by.Stage > 0 {
			subject := r.Subject()
			shown.Revoked.Until = by.Readmits(&subject).UTC().Truncate(time.Second)
		}
	}
	return shown
}

func (a *Authority) byID(ctx context.Context, id string) (*Record, error) {
	r, err := a.store.ByID(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ticket.Refuse(ticket.NotFound, "no ticket has this id")
	case err != nil:
		return nil, unavailable("the ticket could not be read", err)
	}
	return r, nil
}
