package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/bench/load"
)

const (
	maxCA      = 1 << 20
	maxTickets = 64 << 20
	// maxTicket is the longest ticket that a gateway takes.
	maxTicket = 4096
)

// ways are the schemes of an endpoint's URL.
var ways = map[string]string{"socks5+tls": "socks", "https": "https", "tls": "tls", "tcp": "tcp"}

// endpointKeys are what may stand behind the question mark.
var endpointKeys = []string{"alpn", "ca", "curve", "name", "resume", "server_name", "tickets", "tls12", "user"}

// ParseEndpoint reads an endpoint's URL, and the files that it names:
//
//	socks5+tls://gw.example.com:443?tickets=FILE&ca=FILE&name=ours
//	https://gw.example.com:443      HTTP CONNECT over TLS
//	tls://gw.example.com:443        TLS that ends there; it forwards to the service by itself
//	tcp://10.0.0.7:7401             no gateway
//
// name is what reports call it; server_name what its certificate must be for; tickets
// a file that only its owner can read, a ticket a line; user, alpn and curve (X25519,
// P-256, X25519MLKEM768) are as they say; resume=1 resumes TLS sessions, tls12=1
// offers nothing newer. A password in the URL is refused: it would be in the shell's
// history and in the list of processes.
func ParseEndpoint(text string) (load.Endpoint, error) {
	u, err := url.Parse(text)
	if err != nil {
		// The error of the URL package quotes all of it.
		return load.Endpoint{}, errors.New("an endpoint's URL cannot be read: socks5+tls://HOST:PORT?tickets=FILE is one")
	}
	shown := u.Scheme + "://" + u.Host
	if u.User != nil {
		if _, has := u.User.Password(); has {
			return load.Endpoint{}, fmt.Errorf("%s: a password has no place in a URL: put the tickets into a file, and say tickets=FILE", shown)
		}
	}
	way, known := ways[u.Scheme]
	switch {
	case !known && u.Host == "": // HOST:PORT looks like a scheme and something
		return load.Endpoint{}, errors.New("an endpoint begins with socks5+tls://, https://, tls:// or tcp://")
	case !known:
		return load.Endpoint{}, fmt.Errorf("%s: an endpoint begins with socks5+tls, https, tls or tcp", shown)
	case u.Hostname() == "" || u.Port() == "":
		return load.Endpoint{}, fmt.Errorf("%s: an endpoint has a host and a port", shown)
	case u.Path != "" && u.Path != "/" || u.Fragment != "":
		return load.Endpoint{}, fmt.Errorf("%s: an endpoint has no path", shown)
	}
	e := load.Endpoint{Name: u.Host, Way: way, Address: u.Host, User: u.User.Username()}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return load.Endpoint{}, fmt.Errorf("%s: what follows the question mark cannot be read", shown)
	}
	for key, values := range query {
		if !slices.Contains(endpointKeys, key) {
			return load.Endpoint{}, fmt.Errorf("%s: there is no %.40q; did you mean %s?", shown, key, nearest(key, endpointKeys))
		}
		if len(values) != 1 {
			return load.Endpoint{}, fmt.Errorf("%s: %s stands there twice", shown, key)
		}
		if err := setEndpoint(&e, key, values[0]); err != nil {
			return load.Endpoint{}, fmt.Errorf("%s: %s: %w", shown, key, err)
		}
	}
	if way == "tcp" && len(query) > 1 || way == "tcp" && len(query) == 1 && query.Get("name") == "" {
		return load.Endpoint{}, fmt.Errorf("%s: tcp takes a name, and nothing else", shown)
	}
	return e, nil
}

func setEndpoint(e *load.Endpoint, key, value string) (err error) {
	switch key {
	case "name":
		e.Name = value
	case "server_name":
		e.ServerName = value
	case "user":
		e.User = value
	case "alpn":
		e.ALPN = value
	case "curve":
		e.Curve = value
	case "resume":
		e.Resume, err = yes(value)
	case "tls12":
		e.TLS12, err = yes(value)
	case "ca":
		e.CA, err = readFile(value, maxCA)
	case "tickets":
		// What stands there may be a ticket itself.
		var path *fs.PathError
		if e.Tickets, err = readTickets(value); errors.As(err, &path) {
			err = fmt.Errorf("its file: %w", path.Err)
		}
	}
	return err
}

func yes(value string) (bool, error) {
	switch value {
	case "1":
		return true, nil
	case "0":
		return false, nil
	}
	return false, errors.New("it is 0 or 1")
}

// readTickets reads a ticket a line. No error quotes one.
func readTickets(path string) ([]string, error) {
	text, err := readSecret(path, maxTickets)
	if err != nil {
		return nil, err
	}
	var tickets []string
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		ticket := strings.TrimSpace(line)
		if ticket == "" {
			continue
		}
		if len(ticket) > maxTicket || strings.ContainsFunc(ticket, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("%s: line %d is not a ticket", path, number)
		}
		tickets = append(tickets, ticket)
	}
	if len(tickets) == 0 {
		return nil, fmt.Errorf("%s holds no ticket", path)
	}
	return tickets, nil
}
