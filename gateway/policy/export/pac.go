package export

import (
	"bytes"
	_ "embed" // for the program of a PAC file
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Proxies are the listeners that lead to the gateway: host:port each, an IPv6
// address in brackets, "" if there is none. They are tried in this order. One of
// HTTP is never asked to reach an address that the application has looked up
// itself, and it can take a password.
type Proxies struct {
	// HTTPS takes HTTP CONNECT within TLS, as the gateway itself does if
	// gateway.https_proxy is on.
	HTTPS string
	// HTTP takes it, and SOCKS takes SOCKS5, without TLS, as sallyport connect does.
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

// place is where one of the proxies stands.
type place struct {
	key  string
	word string // in a PAC file
	at   *string
}

// places are in the order in which the proxies are tried. "SOCKS" alone would mean
// version 4 to some, which knows no names.
func (p *Proxies) places() []place {
	return []place{
		{"proxies.https", "HTTPS", &p.HTTPS},
		{"proxies.http", "PROXY", &p.HTTP},
		{"proxies.socks", "SOCKS5", &p.SOCKS},
	}
}

// ways are the answers of a PAC file.
func (p Proxies) ways() ([]string, error) {
	var ways []string
	for _, place := range p.places() {
		if *place.at == "" {
			continue
		}
		at, err := spellProxy(*place.at)
		if err != nil {
			return nil, &Error{Key: place.key, Err: err}
		}
		ways = append(ways, place.word+" "+at)
	}
	if ways == nil {
		return nil, &Error{Key: "proxies", Err: errors.New("needs at least one")}
	}
	return ways, nil
}

// ParseProxy reads one proxy as a PAC file has it: HTTPS, PROXY or SOCKS5 in
// capitals, one blank, and host:port. Nothing may follow it, and no DIRECT.
func ParseProxy(way string) (Proxies, error) {
	var p Proxies
	word, at, _ := strings.Cut(way, " ")
	for _, place := range p.places() {
		if word != place.word {
			continue
		}
		spelt, err := spellProxy(at)
		if err != nil {
			// The cause speaks of a list, which this is not.
			return Proxies{}, fmt.Errorf("%s needs one HOST:PORT behind it, such as gateway.example.com:443, and nothing else", word)
		}
		*place.at = spelt
		return p, nil
	}
	return Proxies{}, errors.New("needs HTTPS HOST:PORT, PROXY HOST:PORT or SOCKS5 HOST:PORT")
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
		for _, place := range p.places() {
			if at, is := strings.CutPrefix(way, place.word+" "); is {
				*place.at = at
			}
		}
	}
	return p
}
