package ticket

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxKeys bounds the signing keys of one set.
const MaxKeys = 16

// MaxKeySet bounds the bytes of a signed set.
const MaxKeySet = 8192

// KeySet is the signing keys of one authority, as its root key signed them. It
// is immutable. A gateway pins the root and accepts no set older than the one
// it has; keys are replaced by signing a set with a higher version.
type KeySet struct {
	Authority string
	Version   uint64    // 1 and up
	Signed    time.Time // when the root signed it
	keys      map[string]ed25519.PublicKey
	retired   map[string]ed25519.PublicKey // judge entries of the log, and nothing else
	text      string
}

// String gives the set as the root signed it.
func (k *KeySet) String() string { return k.text }

// KeyIDs lists the keys of the set, sorted.
func (k *KeySet) KeyIDs() []string { return slices.Sorted(maps.Keys(k.keys)) }

// Names tells whether the set has the key with this id.
func (k *KeySet) Names(keyID string) bool { _, ok := k.keys[keyID]; return ok }

// Key gives the key with an id, nil if the set does not name it.
func (k *KeySet) Key(keyID string) ed25519.PublicKey { return k.keys[keyID] }

// Retired gives the keys that were taken out, by id.
func (k *KeySet) Retired() map[string]ed25519.PublicKey { return maps.Clone(k.retired) }

// PublicKey gives the public half of a key.
func PublicKey(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// Pin is the fingerprint by which gateways know an authority's root key:
// "sha256:" and base64url of SHA-256 over its SubjectPublicKeyInfo.
func Pin(root ed25519.PublicKey) string {
	spki, err := x509.MarshalPKIXPublicKey(root)
	if err != nil {
		panic("an Ed25519 key always has an SPKI form: " + err.Error())
	}
	sum := sha256.Sum256(spki)
	return pinPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

const pinPrefix = "sha256:"

// CheckPin refuses what cannot be a pin.
func CheckPin(pin string) error {
	rest, found := strings.CutPrefix(pin, pinPrefix)
	if found {
		_, err := ParseHash(rest)
		found = err == nil
	}
	if !found {
		return refuse(Malformed, "a pin is sha256: and 43 characters of base64url")
	}
	return nil
}

type keySetWire struct {
	Iss  string `json:"iss"`
	Iat  int64  `json:"iat"`
	Ver  uint64 `json:"ver"`
	Root string `json:"root"` // the root's public key; trusted only if it fits the pin
	Keys []jwk  `json:"keys"`
	// Old is keys that were taken out. What they revoked stays revoked.
	Old []jwk `json:"old,omitempty"`
}

// jwk is an Ed25519 key (RFC 8037 §2).
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	Kid string `json:"kid"`
	X   string `json:"x"`
}

func (w *keySetWire) GetIssuer() (string, error)                   { return w.Iss, nil }
func (w *keySetWire) GetSubject() (string, error)                  { return "", nil }
func (w *keySetWire) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }
func (w *keySetWire) GetIssuedAt() (*jwt.NumericDate, error)       { return numericDate(w.Iat), nil }
func (w *keySetWire) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (w *keySetWire) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }

// MaxRetired bounds the keys of one set that were taken out.
const MaxRetired = 16

// SignKeySet signs a set with the authority's root key. Retired keys were taken
// out: they sign no tickets any more, but a revocation that one of them signed
// must not be lost with it. Whoever has stolen one can only end tickets with it.
func SignKeySet(root ed25519.PrivateKey, authority string, version uint64, signed time.Time, keys []ed25519.PublicKey, retired ...ed25519.PublicKey) (string, error) {
	if err := CheckAuthorityID(authority); err != nil {
		return "", err
	}
	if len(keys) == 0 || len(keys) > MaxKeys || len(retired) > MaxRetired || version == 0 {
		return "", refuse(Invalid, "a key set has a version from 1 and 1 to %d keys", MaxKeys)
	}
	public := root.Public().(ed25519.PublicKey)
	w := keySetWire{
		Iss: authority, Iat: signed.Unix(), Ver: version,
		Root: base64.RawURLEncoding.EncodeToString(public),
	}
	w.Keys, w.Old = toJWKs(keys), toJWKs(retired)
	return sign(typeKeySet, KeyID(public), root, w)
}

func toJWKs(keys []ed25519.PublicKey) []jwk {
	var set []jwk
	for _, key := range keys {
		set = append(set, jwk{
			Kty: "OKP", Crv: "Ed25519", Kid: KeyID(key),
			X: base64.RawURLEncoding.EncodeToString(key),
		})
	}
	return set
}

// VerifyKeySet accepts a set for this authority that is signed by the root with
// this pin. A refusal is an *[Error]: [Malformed], [BadSignature] or
// [WrongAuthority].
func VerifyKeySet(signed, authority, pin string) (*KeySet, error) {
	if len(signed) > MaxKeySet {
		return nil, refuse(TooLarge, "key set of over %d bytes", MaxKeySet)
	}
	if err := CheckPin(pin); err != nil {
		return nil, err
	}
	if err := checkCompact(signed); err != nil {
		return nil, err
	}
	var w keySetWire
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{algorithm}),
		jwt.WithStrictDecoding(),
		jwt.WithIssuer(authority),
	)
	_, err := parser.ParseWithClaims(signed, &w, func(token *jwt.Token) (any, error) {
		if err := checkHeader(token, typeKeySet); err != nil {
			return nil, err
		}
		root, err := decodeKey(w.Root)
		if err != nil {
			return nil, err
		}
		if Pin(root) != pin {
			return nil, refuse(BadSignature, "signed by another root than the pinned one")
		}
		return root, nil
	})
	if err != nil {
		return nil, refusalOf(err)
	}
	set, err := w.keySet()
	if err != nil {
		return nil, err
	}
	set.text = signed
	return set, nil
}

func (w *keySetWire) keySet() (*KeySet, error) {
	if len(w.Keys) == 0 || len(w.Keys) > MaxKeys || len(w.Old) > MaxRetired || w.Ver == 0 {
		return nil, refuse(Malformed, "a key set has a version from 1 and 1 to %d keys", MaxKeys)
	}
	set := &KeySet{
		Authority: w.Iss, Version: w.Ver, Signed: time.Unix(w.Iat, 0),
	}
	var err error
	if set.keys, err = fromJWKs(w.Keys); err != nil {
		return nil, err
	}
	if set.retired, err = fromJWKs(w.Old); err != nil {
		return nil, err
	}
	return set, nil
}

func fromJWKs(set []jwk) (map[string]ed25519.PublicKey, error) {
	keys := make(map[string]ed25519.PublicKey, len(set))
	for _, k := range set {
		key, err := decodeKey(k.X)
		if err != nil {
			return nil, err
		}
		if k.Kty != "OKP" || k.Crv != "Ed25519" || k.Kid != KeyID(key) {
			return nil, refuse(Malformed, "a key of the set is not what it says it is")
		}
		keys[k.Kid] = key
	}
	return keys, nil
}

func decodeKey(x string) (ed25519.PublicKey, error) {
	raw, err := strict.DecodeString(x)
	if err != nil {
		return nil, refuse(Malformed, "an Ed25519 key is base64url")
	}
	return checkKey(raw)
}
