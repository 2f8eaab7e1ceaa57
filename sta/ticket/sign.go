package ticket

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

// The typ of each signed object. A verifier requires its own (RFC 8725 §3.11).
const (
	typeTicket = "sallyport-ticket+jwt"
	typeKeySet = "sallyport-keys+jwt"
	typeEntry  = "sallyport-revocation+jwt"
	typeHead   = "sallyport-head+jwt"
)

// algorithm is the only one made or accepted (RFC 8037 §3.1).
const algorithm = "EdDSA"

// header is the JOSE header of every signed object. Nothing else may stand in
// it: see [checkHeader].
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// KeyID is the JWK thumbprint (RFC 7638; members as in RFC 8037 appendix A.3)
// of an Ed25519 key: equal keys have equal ids, and nobody has to hand them out.
func KeyID(public ed25519.PublicKey) string {
	x := base64.RawURLEncoding.EncodeToString(public)
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Signer makes statements in the name of one authority. It is safe for
// concurrent use.
type Signer struct {
	authority string
	key       ed25519.PrivateKey
	keyID     string
}

// NewSigner takes the authority's ID and its signing key.
func NewSigner(authority string, key ed25519.PrivateKey) (*Signer, error) {
	if err := CheckAuthorityID(authority); err != nil {
		return nil, err
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("the signing key is no Ed25519 key")
	}
	return &Signer{authority, key, KeyID(key.Public().(ed25519.PublicKey))}, nil
}

// KeyID names the key it signs with.
func (s *Signer) KeyID() string { return s.keyID }

// Sign gives the statement of c. Authority is set by the signer. It refuses, with
// an *[Error], claims that are over their bounds or whose token would be over
// [MaxToken], and an empty list of services: "nothing" must never come to mean
// "everything".
func (s *Signer) Sign(c Claims) (string, error) {
	c.Authority = s.authority
	if c.Services != nil && len(c.Services) == 0 {
		return "", refuse(Invalid, "an empty list of services")
	}
	if len(c.Audience) == 0 {
		return "", refuse(Invalid, "a ticket without audience")
	}
	if !c.NotBefore.Before(c.Expires) {
		return "", refuse(Invalid, "a ticket that expires before it begins")
	}
	w := toWire(&c)
	if err := w.Validate(); err != nil {
		return "", err
	}
	statement, err := sign(typeTicket, s.keyID, s.key, w)
	if err != nil {
		return "", err
	}
	if n := len(statement) + 1 + HandleLength; n > MaxToken {
		return "", refuse(TooLarge, "the token would have %d bytes; the most is %d", n, MaxToken)
	}
	return statement, nil
}

// sign makes a compact JWS (RFC 7515 §3.1). The payload is encoded here because
// the library's own encoder escapes HTML.
func sign(typ, keyID string, key ed25519.PrivateKey, payload any) (string, error) {
	head, err := encode(header{Algorithm: algorithm, KeyID: keyID, Type: typ})
	if err != nil {
		return "", err
	}
	body, err := encode(payload)
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	signing := b64.EncodeToString(head) + "." + b64.EncodeToString(body)
	signature, err := jwt.SigningMethodEdDSA.Sign(signing, key)
	if err != nil {
		return "", err
	}
	return signing + "." + b64.EncodeToString(signature), nil
}

// checkCompact refuses, in a compact JWS, any character that is none of its own.
// The decoder passes over line breaks, and the signature does not cover its own
// spelling: a signed object would have many texts, and so many hashes.
func checkCompact(signed string) error {
	for i := range len(signed) {
		c := signed[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return refuse(Malformed, "a character that no signed object has")
		}
	}
	return nil
}

// checkHeader refuses what an attacker could add to a JOSE header. A key comes
// from our own configuration, never from the object that it is to judge, so
// jku, jwk, x5u, x5c and crit (RFC 7515 §4.1) have no place; nor has anything
// else.
func checkHeader(token *jwt.Token, typ string) error {
	if got, _ := token.Header["typ"].(string); got != typ {
		return refuse(BadSignature, "typ is not %s", typ)
	}
	if kid, _ := token.Header["kid"].(string); kid == "" {
		return refuse(BadSignature, "no kid")
	}
	for name := range token.Header {
		switch name {
		case "alg", "kid", "typ":
		default:
			return refuse(BadSignature, "header parameter that is not allowed")
		}
	}
	return nil
}
