package ticket

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
)

// HandleLength is the number of characters of a handle. 32 characters out of
// 36 are a little over 165 bits.
const HandleLength = 32

const handleAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// redacted stands wherever a secret would otherwise be printed.
const redacted = "[secret]"

// Handle is the secret of a ticket: 32 upper-case alphanumerics. It prints as
// "[secret]" in every format and encodes as "[secret]" in JSON and text; only
// Reveal gives the characters, so that each place that lets them out can be
// found by its name. The zero Handle is no handle.
type Handle struct{ chars string }

// NewHandle draws a handle from the system's CSPRNG.
func NewHandle() Handle {
	// Bytes of 252 and above are dropped: 252 is the largest multiple of 36
	// below 256, so what is left falls evenly on the alphabet.
	const even = 256 - 256%len(handleAlphabet)
	chars := make([]byte, 0, HandleLength)
	var pool [HandleLength * 2]byte
	for len(chars) < HandleLength {
		// Never fails, by its contract: the runtime ends the process first.
		_, _ = rand.Read(pool[:])
		for _, b := range pool {
			if int(b) < even && len(chars) < HandleLength {
				chars = append(chars, handleAlphabet[int(b)%len(handleAlphabet)])
			}
		}
	}
	return Handle{string(chars)}
}

// ParseHandle takes exactly 32 characters out of 0–9 and A–Z. The error is a
// *[Error] with [Malformed] and never holds the input.
func ParseHandle(s string) (Handle, error) {
	if len(s) != HandleLength {
		return Handle{}, refuse(Malformed, "a handle has %d characters, not %d", HandleLength, len(s))
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return Handle{}, refuse(Malformed, "a handle has only 0-9 and A-Z; character %d is neither", i+1)
		}
	}
	return Handle{s}, nil
}

// Reveal gives the secret characters.
func (h Handle) Reveal() string { return h.chars }

// IsZero tells whether h is no handle at all.
func (h Handle) IsZero() bool { return h.chars == "" }

// Hash is SHA-256 over the 32 ASCII characters.
func (h Handle) Hash() Hash { return sha256.Sum256([]byte(h.chars)) }

// Format prints "[secret]" for every verb.
func (h Handle) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText gives "[secret]": a handle that slips into an encoder stays one.
func (h Handle) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Hash is SHA-256 of a handle: what stores are keyed by and what gateways send
// to redeem. As text it is base64url without padding (RFC 4648 §5), 43
// characters.
type Hash [sha256.Size]byte

// ParseHash reads the text form, strictly: one spelling for each value.
func ParseHash(s string) (Hash, error) {
	var h Hash
	err := h.UnmarshalText([]byte(s))
	return h, err
}

// strict decodes base64url without padding. It refuses bits that mean nothing,
// but passes over line breaks: whoever uses it looks at the length of what comes
// out, or has looked at the characters.
var strict = base64.RawURLEncoding.Strict()

func (h Hash) String() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

// MarshalText gives the text form.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the text form as ParseHash does.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != strict.EncodedLen(len(h)) {
		return refuse(Malformed, "a hash is 43 characters of base64url, not %d", len(text))
	}
	var parsed Hash
	if n, err := strict.Decode(parsed[:], text); err != nil || n != len(parsed) {
		return refuse(Malformed, "a hash is 43 characters of base64url")
	}
	*h = parsed
	return nil
}

// Equal compares in constant time.
func (h Hash) Equal(other Hash) bool { return subtle.ConstantTimeCompare(h[:], other[:]) == 1 }
