package auditlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// timeFormat is RFC 3339 with milliseconds; times are UTC.
const timeFormat = "2006-01-02T15:04:05.000Z"

// line is the JSON form of an event.
type line struct {
	Time     string        `json:"time"`
	Action   sta.Action    `json:"action"`
	Result   sta.Result    `json:"result"`
	Reason   ticket.Reason `json:"reason,omitempty"`
	Ticket   string        `json:"ticket,omitempty"`
	Scope    string        `json:"scope,omitempty"`
	Client   string        `json:"client,omitempty"`
	Operator string        `json:"operator,omitempty"`
	User     string        `json:"user,omitempty"`
	Device   string        `json:"device,omitempty"`
	App      string        `json:"app,omitempty"`
	Source   string        `json:"source,omitempty"`
	Text     string        `json:"text,omitempty"`
}

// format gives the event's line, with its line break. JSON keeps every other
// line break out.
func format(e sta.Event) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(line{
		e.Time.UTC().Format(timeFormat), e.Action, e.Result, e.Reason, e.Ticket,
		e.Scope, e.Client, e.Operator, e.User, e.Device, e.App, e.Source, e.Text,
	})
	return buf.Bytes(), err
}

// Parse reads one line of the log, with or without its line break. Errors never
// hold the line.
func Parse(data []byte) (sta.Event, error) {
	var l line
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return sta.Event{}, errors.New("not a line of the audit log")
	}
	if len(bytes.TrimSpace(data[dec.InputOffset():])) > 0 {
		return sta.Event{}, errors.New("more than one value on a line of the audit log")
	}
	at, err := time.Parse(timeFormat, l.Time)
	if err != nil {
		return sta.Event{}, fmt.Errorf("the time on a line of the audit log is not in the form %s", timeFormat)
	}
	return sta.Event{
		Time: at, Action: l.Action, Result: l.Result, Reason: l.Reason, Ticket: l.Ticket,
		Scope: l.Scope, Client: l.Client, Operator: l.Operator, User: l.User, Device: l.Device, App: l.App, Source: l.Source, Text: l.Text,
	}, nil
}
