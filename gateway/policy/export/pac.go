package export

import (
	"bytes"
	_ "embed" // for the program of a PAC file
	"encoding/json"
	"errors"
	"net/netip"
)

// Proxies are the listeners that lead to the gateway, such as those of
// sallyport connect: host:port each, an IPv6 address in brackets, "" if there is
// none. The HTTP one is tried first: it is never asked to reach an address that
// the application has looked up itself, and it can take a password.
type Proxies struct {
	HTTP, SOCKS string
}

// program is what a PAC file does with its table. It keeps to the third edition
// of ECMAScript, which is what the oldest readers of such files speak.
//
//go:embed pac.js
var program string

const (
	pacHead    = "// Proxy auto-configuration, made by sallyport policy export. The table is the\n// policy as JSON; the program below it is the same in every file.\nvar settings = "
	pacProxies = ";\nvar proxies = "
	pacTail    = ";\n"
)

// PAC writes a proxy auto-configuration file that obeys the split tunnel. It is
// ASCII. At least one of the proxies is needed. Errors are *Error.
func PAC(s Settings, p Proxies) ([]byte, error) {
	s, err := s.Normal()
	if err != nil {
		return nil, err
	}
	ways, err := p.ways()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(pacHead)
	b.Write(object(&s))
	b.WriteString(pacProxies)
	b.Write(asciiJSON(ways))
	b.WriteString(pacTail)
	b.WriteString(program)
	return bounded(b.Bytes())
}

// The words of a PAC file. "SOCKS" alone means version 4 to some, which knows
// no names.
const (
	httpWay  = "PROXY "
	socksWay = "SOCKS5 "
)

// ways are the proxies in the order in which they are tried.
func (p Proxies) ways() ([]string, error) {
	var ways []string
	for _, w := range []struct{ key, word, at string }{{"http", httpWay, p.HTTP}, {"socks", socksWay, p.SOCKS}} {
		if w.at == "" {
			continue
		}
		at, err := spellProxy(w.at)
		if err != nil {
			return nil, &Error{Key: "proxies." + w.key, Err: err}
		}
		ways = append(ways, w.word+at)
	}
	if ways == nil {
		return nil, &Error{Key: "proxies", Err: errors.New("needs at least one")}
	}
	return ways, nil
}

func spellProxy(s string) (string, error) {
	at, err := netip.ParseAddrPort(s)
	if err != nil || at.Addr().Is4() {
		return spellHostPort(s)
	}
	if at.Addr().Zone() != "" || at.Port() == 0 {
		return "", errors.New("needs an address without a zone, and a port from 1 to 65535")
	}
	return at.String(), nil
}

// ParsePAC reads what PAC wrote. It takes no other file: one whose program is
// not this version's to the byte does not do what its table says. Errors are
// *Error.
func ParsePAC(file []byte) (Settings, Proxies, error) {
	fail := func(what string) (Settings, Proxies, error) {
		return Settings{}, Proxies{}, &Error{Err: errors.New(what)}
	}
	if len(file) > MaxBytes {
		return Settings{}, Proxies{}, &Error{Err: errTooLong}
	}
	rest, begins := bytes.CutPrefix(file, []byte(pacHead))
	rest, ends := bytes.CutSuffix(rest, []byte(pacTail+program))
	table, list, parts := bytes.Cut(rest, []byte(pacProxies))
	if !begins || !ends || !parts {
		return fail("is no PAC file of this version, or was changed")
	}
	s, err := ParseJSON(table)
	if err != nil {
		return Settings{}, Proxies{}, err
	}
	var ways []string
	if err := json.Unmarshal(list, &ways); err != nil {
		return fail("has no list of proxies")
	}
	p := proxiesOf(ways)
	// Whatever was read leniently shows here.
	if again, err := PAC(s, p); err != nil || !bytes.Equal(again, file) {
		return fail("has a table that was changed by hand")
	}
	return s, p, nil
}

// proxiesOf undoes ways; what is none of them is lost, and so noticed.
func proxiesOf(ways []string) (p Proxies) {
	for _, way := range ways {
		switch {
		case len(way) > len(httpWay) && way[:len(httpWay)] == httpWay:
			p.HTTP = way[len(httpWay):]
		case len(way) > len(socksWay) && way[:len(socksWay)] == socksWay:
			p.SOCKS = way[len(socksWay):]
		}
	}
	return p
}
