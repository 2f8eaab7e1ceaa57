package ctxsta

import (
	"bytes"
	"encoding/xml"
	"strconv"

	"github.com/sallyport/sallyport/sta/ticket"
)

// prologue stands before every message of ours. The document type is on a line
// of its own and in one piece: there are clients that cut it off by pattern.
const prologue = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
	`<!DOCTYPE CtxSTAProtocol SYSTEM "CtxSTA.dtd">` + "\n"

// writer builds a message out of names that are ours and texts that are not.
type writer struct{ bytes.Buffer }

// newMessage opens an envelope; close it with end(rootName).
func newMessage(protocol string) *writer {
	w := new(writer)
	w.WriteString(prologue + `<` + rootName + ` version="` + protocol + `">`)
	return w
}

func (w *writer) begin(name string) { w.WriteString("<" + name + ">") }
func (w *writer) end(name string)   { w.WriteString("</" + name + ">") }

// text escapes; it cannot fail on a buffer.
func (w *writer) text(s string) { _ = xml.EscapeText(&w.Buffer, []byte(s)) }

func (w *writer) leaf(name, text string) {
	w.begin(name)
	w.text(text)
	w.end(name)
}

func (w *writer) ticketData(values []ticket.Value) {
	w.begin("TicketData")
	for _, v := range values {
		w.WriteString(`<Value name="`)
		w.text(v.Name)
		w.WriteString(`">`)
		w.text(v.Value)
		w.end("Value")
	}
	w.end("TicketData")
}

// encode writes a request so that parseRequest reads the same.
func (r *request) encode() []byte {
	w := newMessage(r.protocol)
	w.begin(r.message)
	switch r.message {
	case requestTicket:
		g, _ := byVersion(r.ticket.version)
		w.leaf("AllowedTicketType", g.ticketType)
		w.leaf("AllowedAuthorityIDType", authorityIDType)
		w.ticketData(r.ticket.values)
		w.begin("Control")
		w.leaf("Refreshable", strconv.FormatBool(r.ticket.refreshable))
		w.end("Control")
	case requestData:
		w.leaf("Ticket", r.handle.Reveal())
		g, _ := generationWhere(func(g generation) bool { return g.protocol == r.protocol })
		w.leaf("TicketVersion", strconv.Itoa(g.version))
	}
	w.end(r.message)
	w.end(rootName)
	return w.Bytes()
}

// encode writes a CtxConnInfo so that parseConnInfo reads the same.
func (c *connInfo) encode() string {
	var w writer
	w.WriteString(`<?xml version="1.0"?><` + connInfoName + ` version="1.0">`)
	w.leaf("UserName", c.user)
	w.leaf("UserDomain", c.domain)
	w.leaf("ApplicationName", c.app)
	w.end(connInfoName)
	return w.String()
}

// answer is a message from an authority.
type answer struct {
	protocol  string
	message   string // responseTicket, responseData …
	authority string
	handle    ticket.Handle // responseTicket
	version   int           // responseTicket
	values    []ticket.Value
	errorID   string // "" unless the authority says no
}

// encode writes an answer, with the handle in the clear.
func (a *answer) encode() []byte {
	w := newMessage(a.protocol)
	w.begin(a.message)
	w.leaf("AuthorityID", a.authority)
	switch {
	case a.errorID != "":
		w.leaf("ErrorId", a.errorID)
	case a.message == responseTicket:
		w.leaf("Ticket", a.handle.Reveal())
		w.leaf("TicketVersion", strconv.Itoa(a.version))
	case a.message == responseData:
		w.ticketData(a.values)
	}
	w.end(a.message)
	w.end(rootName)
	w.WriteString("\n")
	return w.Bytes()
}
