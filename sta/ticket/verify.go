package ticket

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Skew is how far ahead of the verifier's clock iat and nbf may lie. It covers
// the 2 s by which nodes may differ and the second by which issuing steps over a
// revocation's cut. exp gets no such grace.
const Skew = 5 * time.Second

// MaxLinger is how long past its expiry a ticket that is not refreshable may
// have live tunnels. Without a bound they would outlive the authority's memory
// of the ticket, and so every way to revoke it.
const MaxLinger = 24 * time.Hour

// Verifier judges statements of one authority for one gateway. It is safe for
// concurrent use.
type Verifier struct {
	keys   *KeySet
	parser *jwt.Parser
	now    func() time.Time
}

// NewVerifier accepts statements signed by a key of the set, issued by its
// authority, whose audience names the gateway audience. Times are judged by
// now; nil means time.Now.
func NewVerifier(keys *KeySet, audience string, now func() time.Time) (*Verifier, error) {
	if audience == "" {
		return nil, errors.New("a verifier needs an audience")
	}
	if now == nil {
		now = time.Now
	}
	return &Verifier{
		keys: keys,
		now:  now,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{algorithm}),
			jwt.WithStrictDecoding(),
			jwt.WithIssuer(keys.Authority),
			jwt.WithAudience(audience),
			jwt.WithExpirationRequired(),
			jwt.WithNotBeforeRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(Skew),
			jwt.WithTimeFunc(now),
		),
	}, nil
}

// Verify judges a statement for the holder of the handle with this hash. A
// refusal is an *[Error]: [Malformed], [BadSignature], [WrongAuthority],
// [WrongAudience], [Expired], [NotYetValid] or [Mismatch]. It says nothing of
// revocation.
func (v *Verifier) Verify(statement string, handle Hash) (*Claims, error) {
	if len(statement) > MaxToken {
		return nil, refuse(TooLarge, "statement of over %d bytes", MaxToken)
	}
	if err := checkCompact(statement); err != nil {
		return nil, err
	}
	var w wire
	token, err := v.parser.ParseWithClaims(statement, &w, v.key)
	if err != nil {
		return nil, refusalOf(err)
	}
	if !w.H.Equal(handle) {
		return nil, refuse(Mismatch, "the statement speaks of another handle")
	}
	claims := fromWire(&w)
	claims.KeyID, _ = token.Header["kid"].(string)
	// The leeway above is meant for iat and nbf. An expired ticket is expired.
	if !v.now().Before(claims.Expires) {
		return nil, refuse(Expired, "expired")
	}
	return claims, nil
}

// key finds the key for a statement; it is called before any claim is judged.
func (v *Verifier) key(token *jwt.Token) (any, error) {
	if err := checkHeader(token, typeTicket); err != nil {
		return nil, err
	}
	key, ok := v.keys.keys[token.Header["kid"].(string)]
	if !ok {
		return nil, refuse(BadSignature, "kid is not in the authority's key set")
	}
	return key, nil
}

// refusalOf gives the library's errors our reasons. Its texts are dropped: they
// may quote the statement.
func refusalOf(err error) error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, jwt.ErrTokenMalformed):
		return refuse(Malformed, "not a statement")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return refuse(BadSignature, "bad signature or algorithm")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return refuse(WrongAuthority, "issued by another authority")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return refuse(WrongAudience, "issued for other gateways")
	case errors.Is(err, jwt.ErrTokenExpired):
		return refuse(Expired, "expired")
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return refuse(NotYetValid, "not valid yet")
	default:
		return refuse(Malformed, "a claim is missing or malformed")
	}
}

// Token joins a statement and its handle into what a device may present to be
// checked without a look-up.
func Token(statement string, handle Handle) string {
	return statement + tokenSeparator + handle.Reveal()
}

const tokenSeparator = "~"

// ParseToken takes a token apart. It judges the handle's form and the bounds,
// not the statement.
func ParseToken(s string) (statement string, handle Handle, err error) {
	if len(s) > MaxToken {
		return "", Handle{}, refuse(TooLarge, "token of over %d bytes", MaxToken)
	}
	statement, rest, found := strings.Cut(s, tokenSeparator)
	if !found || strings.Count(statement, ".") != 2 {
		return "", Handle{}, refuse(Malformed, "a token is statement~handle")
	}
	handle, err = ParseHandle(rest)
	return statement, handle, err
}

// Issuer reads which authority a statement says that it comes from, without
// judging anything; "" if it says none. It is for choosing whom to ask.
func Issuer(statement string) string {
	if len(statement) > MaxToken {
		return ""
	}
	var w struct {
		Iss string `json:"iss"`
	}
	_, rest, _ := strings.Cut(statement, ".")
	payload, _, _ := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(data, &w) != nil || CheckAuthorityID(w.Iss) != nil {
		return ""
	}
	return w.Iss
}

// CheckAuthorityID refuses what is no authority ID: STA and 1 to 13 digits or
// upper-case letters.
func CheckAuthorityID(id string) error {
	rest, found := strings.CutPrefix(id, "STA")
	ok := found && len(rest) >= 1 && len(rest) <= 13
	for i := range len(rest) {
		c := rest[i]
		ok = ok && (c >= '0' && c <= '9' || c >= 'A' && c <= 'Z')
	}
	if !ok {
		return refuse(WrongAuthority, "an authority ID is STA and 1 to 13 of 0-9 A-Z")
	}
	return nil
}

// checkKey is for keys that come out of JSON.
func checkKey(x []byte) (ed25519.PublicKey, error) {
	if len(x) != ed25519.PublicKeySize {
		return nil, refuse(Malformed, "an Ed25519 key has %d bytes", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(x), nil
}
