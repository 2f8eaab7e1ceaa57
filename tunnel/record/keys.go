package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	ivSize    = 12
	maxKey    = 32
	maxSecret = sha512.Size384
)

// suite is a cipher suite of RFC 8446 section B.4.
type suite struct {
	hash    func() hash.Hash
	hashLen int // of a traffic secret, too
	keyLen  int
	aead    func(key []byte) (cipher.AEAD, error)
}

// Supported tells whether a Layer can be started for a suite: for the three
// that crypto/tls has for TLS 1.3. In FIPS 140-3 mode it is none, because the
// approved GCM of TLS, which makes sure by itself that no nonce comes twice, is
// not to be had outside of crypto/tls.
func Supported(id uint16) bool {
	_, ok := suiteOf(id)
	return ok && !fips140.Enabled()
}

func suiteOf(id uint16) (suite, bool) {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return suite{sha256.New, sha256.Size, 16, newGCM}, true
	case tls.TLS_AES_256_GCM_SHA384:
		return suite{sha512.New384, sha512.Size384, 32, newGCM}, true
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return suite{sha256.New, sha256.Size, 32, chacha20poly1305.New}, true
	}
	return suite{}, false
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// expand is HKDF-Expand-Label of RFC 8446 section 7.1, with an empty context.
//
//	uint16 length | uint8 len("tls13 "+label) | "tls13 "+label | uint8 0
func (s suite) expand(secret []byte, label string, length int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(length))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(s.hash, secret, string(info), length)
}

// keys protect the records of one direction under one traffic secret.
type keys struct {
	aead cipher.AEAD
	iv   [ivSize]byte
	// nonce is room for nonceOf's result. Were it a local variable, each record
	// would allocate one: the AEAD is an interface, so its arguments escape.
	nonce [ivSize]byte
}

// newKeys derives what RFC 8446 section 7.3 derives from a traffic secret.
func (s suite) newKeys(secret []byte) (*keys, error) {
	key, err := s.expand(secret, "key", s.keyLen)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	iv, err := s.expand(secret, "iv", ivSize)
	if err != nil {
		return nil, err
	}
	defer clear(iv)
	k := new(keys)
	copy(k.iv[:], iv)
	if k.aead, err = s.aead(key); err != nil {
		return nil, err
	}
	return k, nil
}

// nonceOf is the nonce of RFC 8446 section 5.3 for a sequence number. It is
// good until the next call.
func (k *keys) nonceOf(seq uint64) []byte {
	k.nonce = k.iv
	low := k.nonce[ivSize-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^seq)
	return k.nonce[:]
}

// half is one direction of a connection. Whoever opens, or seals, owns it.
type half struct {
	secret [maxSecret]byte // of which the suite's hash length counts
	seq    uint64          // records so far under this secret; bounded, see keyLimit
	keys   *keys           // nil at rest
}

// ready returns the keys, made anew if need be.
func (h *half) ready(id uint16) *keys {
	if h.keys == nil {
		s, _ := suiteOf(id)
		k, err := s.newKeys(h.secret[:s.hashLen])
		if err != nil {
			panic(err) // Start has done the same with a secret of this length
		}
		h.keys = k
	}
	return h.keys
}

// update goes on to the next traffic secret (RFC 8446 section 7.2). The old one
// is gone: what was sent under it stays closed even to who takes this process.
func (h *half) update(id uint16) {
	s, _ := suiteOf(id)
	next, err := s.expand(h.secret[:s.hashLen], "traffic upd", s.hashLen)
	if err != nil {
		panic(err) // as in ready
	}
	copy(h.secret[:], next)
	clear(next)
	h.seq, h.keys = 0, nil
}
