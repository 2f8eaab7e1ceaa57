package sta_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

type forgery func(*testing.T, ticket.Claims) (statement string, want ticket.Reason)

// forgeries turn good claims into statements that must not be believed.
func forgeries(t *testing.T, signer *ticket.Signer) map[string]forgery {
	sign := func(t *testing.T, s *ticket.Signer, c ticket.Claims) string {
		statement, err := s.Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		return statement
	}
	signerOf := func(authority string) *ticket.Signer {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ticket.NewSigner(authority, key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	b64 := base64.RawURLEncoding
	header := func(t *testing.T, c ticket.Claims, head string) string {
		_, rest, _ := strings.Cut(sign(t, signer, c), ".")
		return b64.EncodeToString([]byte(head)) + "." + rest
	}
	return map[string]forgery{
		"expired": func(t *testing.T, c ticket.Claims) (string, ticket.Reason) {
			c.NotBefore, c.Expires = c.NotBefore.Add(-2*time.Hour), c.NotBefore
			return sign(t, signer, c), ticket.Expired
		},
		"notyet": func(t *testing.T, c ticket.Claims) (string, ticket.Reason) {
			c.NotBefore = c.NotBefore.Add(time.Minute)
			return sign(t, signer, c), ticket.NotYetValid
		},
		"audience": func(t *testing.T, c ticket.Claims) (string, ticket.Reason) {
			c.Audience = []string{"gateway9.example.com"}
			return sign(t, signer, c), ticket.WrongAudience
		},
		"stranger": func(t *testing.T, c ticket.Claims) (string, ticket.Reason) {
			return sign(t, signerOf(authorityID), c), ticket.BadSignature
		},
		"otherauthority": func(t *testing.T, c ticket.Claims) (string, ticket.Reason) {
			return sign(t, signerOf("STA02"), c), ticket.BadSignature
		},
		"algnone": func(t *testing.T, c ticket.Claims) (string, ticket.Reason) {
			parts := strings.Split(header(t, c, `{"alg":"none","kid":"`+signer.KeyID()+`","typ":"sallyport-ticket+jwt"}`), ".")
			return parts[0] + "." + parts[1] + ".", ticket.BadSignature
		},
		"algHS256": func(t *testing.T, c ticket.Claims) (string, ticket.Reason) {
			return header(t, c, `{"alg":"HS256","kid":"`+signer.KeyID()+`","typ":"sallyport-ticket+jwt"}`), ticket.BadSignature
		},
		"claimedkid": func(t *testing.T, c ticket.Claims) (string, ticket.Reason) {
			// A stranger's signature under the name of the authority's key.
			stranger := strings.Split(sign(t, signerOf(authorityID), c), ".")
			head := b64.EncodeToString([]byte(`{"alg":"EdDSA","kid":"` + signer.KeyID() + `","typ":"sallyport-ticket+jwt"}`))
			return head + "." + stranger[1] + "." + stranger[2], ticket.BadSignature
		},
		"otherhandle": func(t *testing.T, c ticket.Claims) (string, ticket.Reason) {
			c.Handle = ticket.NewHandle().Hash()
			return sign(t, signer, c), ticket.Mismatch
		},
	}
}
