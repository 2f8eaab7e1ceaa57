package ctxsta

import (
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/sta/ticket"
)

// rootName is the envelope of every message.
const rootName = "CtxSTAProtocol"

// The messages, and what their answers are called.
const (
	requestTicket  = "RequestTicket"
	requestData    = "RequestData"
	responseTicket = "ResponseTicket"
	responseData   = "ResponseData"
	responseError  = "ResponseError" // to a message that was not understood
)

// informationOf gives the answer to the message by which a client asks who is
// there. No public trace shows its name, so each is taken that one may try; they
// give away what every answer does.
func informationOf(message string) (answer string, ok bool) {
	switch message {
	case "RequestSTAInfo", "RequestSTAID", "RequestAuthorityInfo", "RequestAuthorityID",
		"RequestProtocolInfo", "RequestCapabilities", "RequestPing":
		return "Response" + strings.TrimPrefix(message, "Request"), true
	}
	return "", false
}

// generation is a version of the STA: what it calls its protocol, how a request
// names the tickets it makes, and the number that stands before them.
type generation struct {
	protocol   string
	ticketType string
	version    int
}

// generations are those there have been, oldest first.
func generations() []generation {
	return []generation{
		{"1.0", "STA-v1", 10},
		{"2.0", "STA-v2", 20},
		{"2.2", "STA-v3", 22},
		{"4.0", "STA-v4", 40},
	}
}

// newest is what an answer to a message of no known version is written in.
const newest = "4.0"

func generationWhere(fits func(generation) bool) (generation, bool) {
	for _, g := range generations() {
		if fits(g) {
			return g, true
		}
	}
	return generation{}, false
}

func byVersion(version int) (generation, bool) {
	return generationWhere(func(g generation) bool { return g.version == version })
}

// authorityIDType is the only kind of authority ID there is.
const authorityIDType = "STA-v1"

// request is a message to an authority. Which of the fields below message are
// set follows from it.
type request struct {
	protocol string // "1.0" to "4.0"
	message  string // the element's name; "" if it is none of ours
	ticket   ticketRequest
	handle   ticket.Handle // requestData
}

// ticketRequest is what a RequestTicket says.
type ticketRequest struct {
	version     int            // of the ticket: 10, 20, 22 or 40
	values      []ticket.Value // TicketData, in order, with different names
	refreshable bool
}

// parseRequest reads a message. Of one that it refuses it still tells what was
// made out, so that the answer can have the right name.
func parseRequest(body []byte, stated charset) (request, error) {
	r := request{protocol: newest}
	text, err := toUTF8(body, stated)
	if err != nil {
		return r, &malformedError{err}
	}
	root, err := parseXML(text)
	if err != nil {
		return r, &malformedError{err}
	}
	return r, r.read(root)
}

// malformedError is for what is no XML, or none that is read here: the HTTP
// status says so, and not only the answer.
type malformedError struct{ err error }

func (e *malformedError) Error() string { return e.err.Error() }
func (e *malformedError) Unwrap() error { return e.err }

func (r *request) read(root *element) error {
	if root.name != rootName || len(root.children) != 1 {
		return ticket.Refuse(ticket.Invalid, "not a %s with one message", rootName)
	}
	protocol := root.attribute("version")
	g, known := generationWhere(func(g generation) bool { return g.protocol == protocol })
	if !known {
		return ticket.Refuse(ticket.NotSupported, "a version of the protocol that is not known")
	}
	r.protocol = protocol
	message := root.children[0]
	_, information := informationOf(message.name)
	switch {
	case message.name == requestTicket:
		r.message = requestTicket
		return r.ticket.read(message, g)
	case message.name == requestData:
		r.message = requestData
		return r.readData(message)
	case information:
		r.message = message.name
		return nil
	}
	return ticket.Refuse(ticket.NotSupported, "a message that is not known")
}

// readData reads a RequestData. The version beside the ticket adds nothing to a
// handle; it only has to be one.
func (r *request) readData(e *element) error {
	handle, err := e.textOf("Ticket")
	if err != nil {
		return err
	}
	version, err := e.textOf("TicketVersion")
	if err != nil {
		return err
	}
	if _, known := parseVersion(version); version != "" && !known {
		return ticket.Refuse(ticket.NotSupported, "a ticket version that is not known")
	}
	r.handle, err = ticket.ParseHandle(handle)
	return err
}

func parseVersion(text string) (version int, known bool) {
	g, known := generationWhere(func(g generation) bool { return strconv.Itoa(g.version) == text })
	return g.version, known
}

// read takes what it knows of a RequestTicket. Elements it does not know are
// passed over: there are clients newer than anything that was seen of them.
func (t *ticketRequest) read(e *element, protocol generation) error {
	var err error
	if t.version, err = allowedVersion(e, protocol); err != nil {
		return err
	}
	if err = checkAuthorityIDTypes(e); err != nil {
		return err
	}
	data, err := e.child("TicketData")
	if err != nil {
		return err
	}
	if data != nil {
		if t.values, err = readValues(data); err != nil {
			return err
		}
	}
	control, err := e.child("Control")
	if control == nil || err != nil {
		return err
	}
	t.refreshable, err = readBool(control, "Refreshable")
	return err
}

// allowedVersion gives the newest of the ticket types that the client allows. It
// may name several, in elements of their own; one that names none gets what its
// protocol came with.
func allowedVersion(e *element, protocol generation) (version int, err error) {
	named := make(map[string]bool)
	for _, c := range e.children {
		if c.name != "AllowedTicketType" {
			continue
		}
		name, err := c.leaf()
		if err != nil {
			return 0, err
		}
		if named[name] {
			return 0, ticket.Refuse(ticket.Invalid, "a ticket type stands twice")
		}
		named[name] = true
	}
	if len(named) == 0 {
		return protocol.version, nil
	}
	for _, g := range generations() {
		if named[g.ticketType] {
			version = g.version
		}
	}
	if version == 0 {
		return 0, ticket.Refuse(ticket.NotSupported, "none of the allowed ticket types is known")
	}
	return version, nil
}

func checkAuthorityIDTypes(e *element) error {
	asked, ours := false, false
	for _, c := range e.children {
		if c.name == "AllowedAuthorityIDType" {
			asked = true
			ours = ours || c.text == authorityIDType
		}
	}
	if asked && !ours {
		return ticket.Refuse(ticket.NotSupported, "none of the allowed authority ID types is known")
	}
	return nil
}

// readValues reads a TicketData.
func readValues(data *element) ([]ticket.Value, error) {
	var values []ticket.Value
	named := make(map[string]bool)
	for _, c := range data.children {
		name := c.attribute("name")
		if c.name != "Value" || name == "" {
			return nil, ticket.Refuse(ticket.Invalid, "TicketData has only Values with names")
		}
		if named[name] {
			return nil, ticket.Refuse(ticket.Invalid, "two values of TicketData have one name")
		}
		named[name] = true
		value, err := c.leaf()
		if err != nil {
			return nil, err
		}
		values = append(values, ticket.Value{Name: name, Value: value})
	}
	return values, nil
}

// readBool takes true and false in any case; left out is false.
func readBool(e *element, name string) (bool, error) {
	text, err := e.textOf(name)
	switch {
	case err != nil:
		return false, err
	case strings.EqualFold(text, "true"):
		return true, nil
	case text == "" || strings.EqualFold(text, "false"):
		return false, nil
	}
	return false, ticket.Refuse(ticket.Invalid, "%s is neither true nor false", name)
}

// value gives one of TicketData's values, "" if it is not there.
func (t *ticketRequest) value(name string) string {
	for _, v := range t.values {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}
