package ticket

import "strings"

// Form is one of the forms in which a client presents a ticket as text.
type Form int

const (
	// FormHandle is the bare handle.
	FormHandle Form = iota + 1
	// FormSTA is ;40;<authority>;<handle>.
	FormSTA
	// FormHost is ;40;<authority>;<handle>;<host>.
	FormHost
	// FormPair is ;40;<authority>;<handle>;<authority>;<handle>.
	FormPair
	// FormToken is statement~handle.
	FormToken
)

// Presentation is a ticket as a client presented it, taken apart but not
// judged. It prints without its secrets, as every Handle does.
//
//	ABC…                          FormHandle
//	;40;STA01;ABC…                FormSTA     version, authority, handle
//	;40;STA01;ABC…;host           FormHost    … and the wanted host
//	;40;STA01;ABC…;STA02;DEF…     FormPair    … and a second ticket
//	eyJ….eyJ….sig~ABC…            FormToken
type Presentation struct {
	Form      Form
	Authority string // FormSTA, FormHost, FormPair: the authority it names
	Version   int    // the same: the ticket's version, 10, 20, 22 or 40
	Handle    Handle
	Host      string // FormHost: as sent, not validated
	Statement string // FormToken: not verified
	// Second is FormPair's other ticket. It counts only when Authority cannot
	// be reached, never after a refusal.
	Second *Presentation
}

// ParsePresentation reads any of the forms; which of them a door takes is the
// door's to say. The error is an *[Error] with [Malformed], [TooLarge] or
// [WrongAuthority] and never holds the input.
func ParsePresentation(s string) (Presentation, error) {
	switch {
	case len(s) > MaxToken:
		return Presentation{}, refuse(TooLarge, "presentation of over %d bytes", MaxToken)
	case strings.HasPrefix(s, ";"):
		return parseSTA(strings.Split(s[1:], ";"))
	case strings.Contains(s, tokenSeparator):
		statement, handle, err := ParseToken(s)
		if err != nil {
			return Presentation{}, err
		}
		return Presentation{Form: FormToken, Statement: statement, Handle: handle}, nil
	default:
		handle, err := ParseHandle(s)
		if err != nil {
			return Presentation{}, err
		}
		return Presentation{Form: FormHandle, Handle: handle}, nil
	}
}

// parseSTA reads the forms that begin with a semicolon, after it.
func parseSTA(fields []string) (Presentation, error) {
	if len(fields) < 3 || len(fields) > 5 {
		return Presentation{}, refuse(Malformed, "a ticket behind a semicolon has 3 to 5 fields")
	}
	version := ticketVersion(fields[0])
	if version == 0 {
		return Presentation{}, refuse(Malformed, "ticket version is none of 10, 20, 22, 40")
	}
	first, err := parseNamed(fields[1], fields[2])
	if err != nil {
		return Presentation{}, err
	}
	first.Version = version
	switch len(fields) {
	case 3:
		first.Form = FormSTA
	case 4:
		if fields[3] == "" {
			return Presentation{}, refuse(Malformed, "empty host behind the ticket")
		}
		first.Form, first.Host = FormHost, fields[3]
	case 5:
		second, err := parseNamed(fields[3], fields[4])
		if err != nil {
			return Presentation{}, err
		}
		second.Form, second.Version = FormSTA, version
		first.Form, first.Second = FormPair, &second
	}
	return first, nil
}

func parseNamed(authority, handle string) (Presentation, error) {
	if err := CheckAuthorityID(authority); err != nil {
		return Presentation{}, err
	}
	h, err := ParseHandle(handle)
	return Presentation{Authority: authority, Handle: h}, err
}

// ticketVersion knows the versions that STA 1.x, 2.0, 2.2 and 4.0 put before
// their tickets; 0 is none.
func ticketVersion(s string) int {
	switch s {
	case "10":
		return 10
	case "20":
		return 20
	case "22":
		return 22
	case "40":
		return 40
	}
	return 0
}
