package sta

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// AuditLog keeps what was done, by whom and to whom.
type AuditLog interface {
	// Append adds an event and returns when it survives the loss of power. On
	// an error the event must not be found in the log later.
	Append(ctx context.Context, e Event) error
}

// Action is what an Event is about.
type Action string

// The audited actions.
const (
	ActionIssue  Action = "issue"
	ActionRevoke Action = "revoke"
)

// Result is how it went.
type Result string

// Refused means that the authority said no; Failed, that it could not.
const (
	ResultOK      Result = "ok"
	ResultRefused Result = "refused"
	ResultFailed  Result = "failed"
)

// Event is one line of the audit log. What a client chose in it is bounded and
// free of control and bidi characters.
type Event struct {
	Time     time.Time
	Action   Action
	Result   Result
	Reason   ticket.Reason // unless Result is ok
	Ticket   string        // the ticket's id
	Scope    string        // of a revocation; see [ticket.Revocation.Scope]
	Client   string        // the client's name
	Operator string        // who used the client, as it says
	User     string
	Device   string
	App      string
	Source   string // address the client called from, "" in the same process
	Text     string // the same, for people
}

// auditRefusal notes that a client was told no. The refusal stands whether or
// not it could be written down.
func (a *Authority) auditRefusal(ctx context.Context, e Event, err error) {
	e.Reason = ticket.ReasonOf(err)
	e.Result = ResultRefused
	if e.Reason == ticket.Unavailable {
		e.Result = ResultFailed
	}
	if a.hooks.Refused != nil {
		a.hooks.Refused(e.Action, e.Reason)
	}
	// A client that hung up was refused all the same.
	_ = a.append(context.WithoutCancel(ctx), e)
}

// append writes to the audit log and tells the hook when that fails.
func (a *Authority) append(ctx context.Context, e Event) error {
	err := a.audit.Append(ctx, e)
	if err != nil && a.hooks.AuditFailed != nil {
		a.hooks.AuditFailed(err)
	}
	return err
}

// claimed makes text that was not judged yet fit for the audit log. Whoever puts
// a ticket where a name belongs shall not find it there.
func claimed(s string) string { return fit(Redact(s)) }

// fit bounds and quotes text that could not have been accepted.
func fit(s string) string {
	if checkText("", s) == nil {
		return s
	}
	// Quoted, each byte may take up to 10 characters.
	const most = ticket.MaxText / 10
	return strconv.QuoteToASCII(s[:min(len(s), most)])
}

// Redact replaces every run of characters that may be, or hold, a handle by
// "[secret]": 32 or more of 0–9 and A–Z. It is for text that a client chose and
// that is repeated to people. Redact first and cut then: half a handle is too
// much.
func Redact(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		run := handleRun(s)
		if run >= ticket.HandleLength {
			b.WriteString("[secret]")
		} else {
			run = max(run, 1)
			b.WriteString(s[:run])
		}
		s = s[run:]
	}
	return b.String()
}

// handleRun counts the characters of handles that s begins with.
func handleRun(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
}
