package policy

import (
	"errors"
	"strings"
)

// checkedConsole is a Console with every value in its one spelling.
type checkedConsole struct {
	platforms []string
	exchange  []Host
	adfs      []Host
	ldap      []Service
	gateway   Service
	Console   // the rest as it is
}

func (c Console) check() (checkedConsole, error) {
	read := checkedConsole{Console: c}
	var err error
	if read.platforms, err = checkEach("platforms", c.Platforms, parsePlatform); err != nil {
		return read, err
	}
	if read.exchange, err = checkEach("trusted_exchange_online", c.TrustedExchangeOnline, parseTrusted); err != nil {
		return read, err
	}
	if read.adfs, err = checkEach("trusted_adfs", c.TrustedADFS, parseTrusted); err != nil {
		return read, err
	}
	if read.ldap, err = checkEach("ldap_servers", c.LDAPServers, parseDirectory); err != nil {
		return read, err
	}
	if c.ServicesGateway != "" {
		if read.gateway, err = parseGateway(c.ServicesGateway); err != nil {
			return read, &SpecError{Field: "services_gateway", Err: err}
		}
	}
	return read, nil
}

func parsePlatform(text string) (string, error) {
	if text != "ios" && text != "android" {
		return "", oneOf([]string{"ios", "android"})
	}
	return text, nil
}

// parseTrusted forgives the blanks that the manuals' own examples have.
func parseTrusted(text string) (Host, error) { return ParseHost(strings.TrimSpace(text)) }

// parseServer reads the host:port of one server.
func parseServer(text string) (Service, error) {
	server, f := parseEntry(text)
	switch {
	case f != nil:
		return Service{}, errors.New(f.text)
	case server.Wildcard:
		return Service{}, errors.New("is a wildcard; write the name of one server, host:port")
	}
	return server, nil
}

// parseDirectory knows the ports of directories.
func parseDirectory(text string) (Service, error) {
	if bare, f := parseEntryHost(text); f == nil && !bare.Wildcard {
		return Service{}, errors.New("has no port; write " + bare.host() + ":389, or " + bare.host() + ":636 for TLS")
	}
	return parseServer(text)
}

func parseGateway(text string) (Service, error) {
	gateway, err := parseServer(text)
	if err == nil && gateway.Name == "" {
		return Service{}, errors.New("is an address; write the gateway's name and port, as in gateway.example.com:443")
	}
	return gateway, err
}
