package httpconnect

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/tunnel"
)

const (
	// maxCredential is the most that a credential may have: a token's bound.
	maxCredential = 4096
	// maxUser is how much of a claimed name is kept.
	maxUser = 255
)

var (
	errNoCredential = errors.New("no credential")
	errDoubled      = errors.New("more than one credential")
	errMalformed    = errors.New("malformed credential")
	errTooLong      = errors.New("credential of over 4096 bytes")
)

// credentialOf reads the one credential that stands in any of the named headers; one
// may be named twice.
// The error is one of those above, and holds nothing of what the client sent.
func credentialOf(h http.Header, names ...string) (tunnel.Credential, error) {
	var found []string
	raw := false
	for i, name := range names {
		same := func(earlier string) bool { return strings.EqualFold(earlier, name) }
		if name == "" || slices.ContainsFunc(names[:i], same) {
			continue
		}
		values := h.Values(name)
		found = append(found, values...)
		raw = raw || len(values) > 0 && !isStandard(name)
	}
	switch {
	case len(found) == 0:
		return tunnel.Credential{}, errNoCredential
	case len(found) > 1:
		return tunnel.Credential{}, errDoubled
	}
	return parseCredential(found[0], raw)
}

// isStandard tells a header whose values begin with a scheme (RFC 9110 §11.4).
func isStandard(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return name == headerProxyAuthorization || name == headerAuthorization
}

const (
	headerProxyAuthorization = "Proxy-Authorization"
	headerAuthorization      = "Authorization"
)

// parseCredential reads "Bearer …" and "Basic …"; where raw, also a value that is
// the ticket itself. Another scheme is as good as none: the 407 says which we take.
func parseCredential(value string, raw bool) (tunnel.Credential, error) {
	scheme, rest, hasScheme := strings.Cut(value, " ")
	rest = strings.TrimLeft(rest, " ") // RFC 9110 §11.4: 1*SP
	switch {
	case hasScheme && strings.EqualFold(scheme, "Bearer"):
		return bearer(rest)
	case hasScheme && strings.EqualFold(scheme, "Basic"):
		return basic(rest)
	case raw:
		return bearer(value)
	case isToken(scheme):
		return tunnel.Credential{}, errNoCredential
	}
	return tunnel.Credential{}, errMalformed
}

// bearer takes a handle, a token or the form ;40;<authority>;<handle>. None of them
// has blanks or a comma, which is what joins two headers into one.
func bearer(secret string) (tunnel.Credential, error) {
	switch {
	case len(secret) > maxCredential:
		return tunnel.Credential{}, errTooLong
	case secret == "" || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }):
		return tunnel.Credential{}, errMalformed
	}
	return tunnel.Credential{Secret: secret, By: tunnel.ByHeader}, nil
}

// basic takes the password for the ticket, and the name for what it is: a claim
// (RFC 7617; UTF-8, as the challenge says).
func basic(encoded string) (tunnel.Credential, error) {
	if len(encoded) > base64.StdEncoding.EncodedLen(2*maxCredential) {
		return tunnel.Credential{}, errTooLong
	}
	if strings.ContainsAny(encoded, "\r\n") { // which the decoder would skip
		return tunnel.Credential{}, errMalformed
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return tunnel.Credential{}, errMalformed
	}
	defer clear(decoded)
	user, secret, found := strings.Cut(string(decoded), ":")
	switch {
	case !found:
		return tunnel.Credential{}, errMalformed
	case len(secret) > maxCredential:
		return tunnel.Credential{}, errTooLong
	}
	return tunnel.Credential{User: tunnel.SafeText(user, maxUser), Secret: secret, By: tunnel.ByHeader}, nil
}

// isToken reports whether s is a token of RFC 9110 §5.6.2, such as a scheme.
func isToken(s string) bool {
	const others = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
	})
}
