package ctxsta

import "github.com/sallyport/sallyport/sta/ticket"

// parseAnswer reads the answer to a message: one whose name is want, or an
// ErrorId. The latter is looked for wherever authorities have been seen to put
// theirs: in the answer asked for, in one of another name, or by itself.
func parseAnswer(body []byte, stated charset, want string) (answer, error) {
	a := answer{protocol: newest, message: want}
	text, err := toUTF8(body, stated)
	if err != nil {
		return a, err
	}
	root, err := parseXML(text)
	if err != nil {
		return a, err
	}
	if root.name != rootName || len(root.children) == 0 {
		return a, ticket.Refuse(ticket.Invalid, "not a %s", rootName)
	}
	if err := a.readError(root); a.errorID != "" || err != nil {
		return a, err
	}
	if message := root.children[0]; len(root.children) == 1 && message.name == want {
		return a, a.read(message)
	}
	return a, ticket.Refuse(ticket.Invalid, "not the answer to this message")
}

// readError looks for an ErrorId in the envelope and in the messages inside.
func (a *answer) readError(root *element) error {
	for _, e := range append([]*element{root}, root.children...) {
		found, err := e.child("ErrorId")
		if err != nil {
			return err
		}
		if found == nil {
			continue
		}
		if a.authority, err = e.textOf("AuthorityID"); err != nil {
			return err
		}
		a.errorID, err = found.leaf()
		if err == nil && a.errorID == "" {
			a.errorID = "unspecified"
		}
		return err
	}
	return nil
}

func (a *answer) read(e *element) error {
	var err error
	if a.authority, err = e.textOf("AuthorityID"); err != nil {
		return err
	}
	if a.message == responseData {
		data, err := e.child("TicketData")
		if err != nil {
			return err
		}
		if data == nil {
			return ticket.Refuse(ticket.Invalid, "an answer without TicketData")
		}
		a.values, err = readValues(data)
		return err
	}
	version, err := e.textOf("TicketVersion")
	if err != nil {
		return err
	}
	known := false
	if a.version, known = parseVersion(version); !known {
		return ticket.Refuse(ticket.Invalid, "an answer without a known TicketVersion")
	}
	handle, err := e.textOf("Ticket")
	if err != nil {
		return err
	}
	a.handle, err = ticket.ParseHandle(handle)
	return err
}
