package ctxsta

import (
	"strings"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Names of TicketData's values that mean something here.
const (
	valueXData = "XData"
	// valueDevice is ours: the protocol has no word for the device.
	valueDevice = "DeviceID"
)

const connInfoName = "CtxConnInfo"

// connInfo is for whom a ticket is, out of XData: a document of its own, escaped
// inside of a value.
//
//	<?xml version="1.0"?><CtxConnInfo version="1.0">
//	  <ServerAddress>…</ServerAddress><UserName>…</UserName><UserDomain>…</UserDomain>
//	  <ApplicationName>…</ApplicationName><Protocol>…</Protocol></CtxConnInfo>
type connInfo struct{ user, domain, app string }

// parseConnInfo reads XData under the same bounds as any document. It came as
// characters, so an encoding that it declares, of whatever file it was made
// for, no longer means anything. One that cannot be read is refused: a ticket
// that nobody could name could not be revoked by the user's name either.
func parseConnInfo(xdata string) (connInfo, error) {
	_, text := cutDeclaration([]byte(strings.TrimPrefix(xdata, byteOrderMark)))
	root, err := parseXML(text)
	if err != nil {
		return connInfo{}, err
	}
	if root.name != connInfoName {
		return connInfo{}, ticket.Refuse(ticket.Invalid, "%s is no %s", valueXData, connInfoName)
	}
	var c connInfo
	for _, field := range []struct {
		name string
		to   *string
	}{{"UserName", &c.user}, {"UserDomain", &c.domain}, {"ApplicationName", &c.app}} {
		if *field.to, err = root.textOf(field.name); err != nil {
			return connInfo{}, err
		}
	}
	return c, nil
}

// fullUser gives the name by which logs, audit and revocation know the user, in
// Windows' two spellings: user@domain if the domain is one of the DNS, else
// DOMAIN\user. A name that is whole already, or has no domain, stays as it is.
func (c *connInfo) fullUser() string {
	switch {
	case c.user == "" || c.domain == "" || strings.ContainsAny(c.user, `\@`):
		return c.user
	case strings.Contains(c.domain, "."):
		return c.user + "@" + c.domain
	default:
		return c.domain + `\` + c.user
	}
}

// maxWithXData is the most bytes of text that a ticket holds beside its own when
// XData is among it. What was needed of XData stands in claims of its own, so it
// gives way to the 4 KiB that a token must not exceed.
const maxWithXData = 1536

// kept gives the values that go into a ticket for this user and app: all, but of
// XData only one that fits and is of one line. A gateway that asks for the data
// later may want it as it came or not at all.
func (t *ticketRequest) kept(c connInfo) []ticket.Value {
	total := len(c.fullUser()) + len(c.app) + len(t.value(valueDevice))
	var rest []ticket.Value
	for _, v := range t.values {
		total += len(v.Name) + len(v.Value)
		if v.Name != valueXData {
			rest = append(rest, v)
		}
	}
	if total > maxWithXData || len(t.values) > ticket.MaxData || strings.ContainsAny(t.value(valueXData), "\t\r\n") {
		return rest
	}
	return t.values
}
