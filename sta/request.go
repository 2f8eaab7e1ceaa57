package sta

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport/sallyport/sta/ticket"
)

// check refuses what a ticket must not hold. Texts name the member, never its
// value.
func (req *IssueRequest) check() error {
	if !req.Anonymous {
		for _, required := range []struct{ member, value string }{
			{"user", req.User}, {"device", req.Device},
		} {
			if required.value == "" {
				return ticket.Refuse(ticket.Invalid, "%s is required", required.member)
			}
		}
	}
	for _, text := range []struct{ member, value string }{
		{"user", req.User}, {"device", req.Device}, {"app", req.App},
		{"platform", req.Platform}, {"policy", req.Policy},
	} {
		if err := checkText(text.member, text.value); err != nil {
			return err
		}
	}
	if err := checkList("groups", req.Groups, checkGroup); err != nil {
		return err
	}
	if req.Services != nil && len(req.Services) == 0 {
		return ticket.Refuse(ticket.Invalid, "services is empty; leave it out to narrow nothing")
	}
	if err := checkList("services", req.Services, checkService); err != nil {
		return err
	}
	return checkData(req.Data)
}

func checkList(member string, list []string, check func(string) error) error {
	if len(list) > ticket.MaxList {
		return ticket.Refuse(ticket.TooLarge, "%s has over %d entries", member, ticket.MaxList)
	}
	for _, entry := range list {
		if err := check(entry); err != nil {
			return err
		}
	}
	return nil
}

func checkGroup(group string) error {
	if group == "" {
		return ticket.Refuse(ticket.Invalid, "an entry of groups is empty")
	}
	return checkText("an entry of groups", group)
}

func checkData(data []ticket.Value) error {
	if len(data) > ticket.MaxData {
		return ticket.Refuse(ticket.TooLarge, "data has over %d values", ticket.MaxData)
	}
	total := 0
	for _, v := range data {
		if v.Name == "" {
			return ticket.Refuse(ticket.Invalid, "a value of data has no name")
		}
		total += len(v.Name) + len(v.Value)
		for _, s := range []string{v.Name, v.Value} {
			if err := checkCharacters("a value of data", s); err != nil {
				return err
			}
		}
	}
	if total > ticket.MaxDataBytes {
		return ticket.Refuse(ticket.TooLarge, "data has over %d bytes", ticket.MaxDataBytes)
	}
	return nil
}

// checkText takes any language, but nothing that could break a log line or turn
// it around.
func checkText(member, s string) error {
	if len(s) > ticket.MaxText {
		return ticket.Refuse(ticket.TooLarge, "%s is over %d bytes", member, ticket.MaxText)
	}
	return checkCharacters(member, s)
}

func checkCharacters(member, s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
		// U+FFFD is what a wrong encoding leaves behind: a name that has it is
		// not the user's name.
		return ticket.Refuse(ticket.Invalid, "%s is not valid UTF-8", member)
	}
	if strings.ContainsFunc(s, misleading) {
		return ticket.Refuse(ticket.Invalid, "%s has a control or bidi character", member)
	}
	return nil
}

// misleading knows control characters, line separators, and the characters that
// change the direction of text (Unicode's Bidi_Control).
func misleading(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// checkService takes host:port, where host is a name, perhaps behind "*.", or an
// IPv4 address. Whether the policy allows it is the gateway's to say; here it
// only must be no nonsense.
func checkService(service string) error {
	host, port, found := strings.Cut(service, ":")
	number, err := strconv.ParseUint(port, 10, 16)
	if !found || err != nil || number == 0 || port[0] == '0' || len(service) > ticket.MaxText {
		return ticket.Refuse(ticket.Invalid, "an entry of services is not host:port")
	}
	for label := range strings.SplitSeq(strings.TrimPrefix(host, "*."), ".") {
		if label == "" || strings.ContainsFunc(label, notInLabel) {
			return ticket.Refuse(ticket.Invalid, "an entry of services is not host:port")
		}
	}
	return nil
}

func notInLabel(r rune) bool {
	return r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && r != '-' && r != '_'
}
