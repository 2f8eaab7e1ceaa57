package policy

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
)

// flaw is what is wrong with one entry: where, in bytes from its start, and a
// sentence that says what to write instead.
type flaw struct {
	offset int
	text   string
}

// parseEntry reads one "host:port".
func parseEntry(entry string) (Service, *flaw) {
	if f := shapeFlaw(entry); f != nil {
		return Service{}, f
	}
	host, port, found := strings.Cut(entry, ":")
	service, f := parseEntryHost(host)
	if f != nil {
		return Service{}, f
	}
	if !found {
		return Service{}, &flaw{len(entry), "has no port; write " + service.host() + ":443"}
	}
	number, f := parsePort(port)
	if f != nil {
		f.offset += len(host) + 1
		return Service{}, f
	}
	service.Port = number
	return service, nil
}

// shapeFlaw finds the mistakes that people make, before the host and the port
// are looked at: each deserves an answer of its own.
func shapeFlaw(entry string) *flaw {
	if entry == "" {
		return &flaw{0, "is empty; leave out the spare comma"}
	}
	if i := strings.IndexFunc(entry, unicode.IsSpace); i >= 0 {
		return &flaw{i, "holds a blank; write the list without blanks"}
	}
	if i := strings.IndexByte(entry, ';'); i >= 0 {
		return &flaw{i, "holds a semicolon; separate entries by commas"}
	}
	if i := strings.IndexByte(entry, '/'); i >= 0 {
		return &flaw{i, "is a URL or a network; write host:port only"}
	}
	if i := strings.IndexAny(entry, "[]"); i >= 0 || strings.Count(entry, ":") > 1 {
		return &flaw{max(i, 0), "is an IPv6 address or has two ports; write a host name or an IPv4 address, and one port"}
	}
	return nil
}

func parseEntryHost(s string) (Service, *flaw) {
	if s == "" {
		return Service{}, &flaw{0, "has no host; write host:port"}
	}
	name, wildcard := strings.CutPrefix(s, "*.")
	if i := strings.IndexByte(name, '*'); i >= 0 {
		return Service{}, &flaw{len(s) - len(name) + i, "holds a '*' that does not stand alone in front; write *.example.com:443"}
	}
	host, err := ParseHost(name)
	if err != nil {
		return Service{}, &flaw{0, hostFlaw(err)}
	}
	if wildcard && !strings.Contains(host.Name, ".") {
		// An address has no names below it, and all names below a top level
		// domain are no list.
		return Service{}, &flaw{0, "is too wide; a wildcard needs a domain of two labels at least, as in *.example.com:443"}
	}
	return Service{Name: host.Name, Addr: host.Addr, Wildcard: wildcard}, nil
}

func hostFlaw(err error) string {
	var refused *HostError
	if errors.As(err, &refused) {
		return "names no usable host: " + refused.Reason.Text()
	}
	return "names no usable host"
}

// parsePort reads a port strictly: ASCII digits, no sign, no leading zero.
func parsePort(s string) (uint16, *flaw) {
	if s == "" {
		return 0, &flaw{0, "has an empty port; write a number from 1 to 65535 behind the colon"}
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, &flaw{0, "has a port that is no number from 1 to 65535"}
	}
	if s[0] == '0' {
		return 0, &flaw{0, "has a port with a leading zero; write " + strconv.FormatUint(n, 10)}
	}
	return uint16(n), nil
}
