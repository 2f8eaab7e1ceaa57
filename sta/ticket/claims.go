package ticket

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of what a statement may hold.
const (
	// MaxToken is the most bytes a token (statement~handle) may have.
	MaxToken = 4096
	// MaxData is the most values that Claims.Data may have.
	MaxData = 8
	// MaxDataBytes bounds names and values of Claims.Data together.
	MaxDataBytes = 2048
	// MaxText bounds each of user, device, app, platform, policy and group.
	MaxText = 512
	// MaxList bounds groups, audience and services.
	MaxList = 64
)

// Claims is what the authority states about a ticket. Times are whole seconds.
// User and Device may be empty: tickets asked for over XML need not name them.
type Claims struct {
	ID        string    // jti: the name operators use
	Authority string    // iss: the authority's ID
	Audience  []string  // aud: FQDNs of the gateways that may accept it
	User      string    // sub
	Device    string    // dev
	App       string    // app
	Platform  string    // plt
	Groups    []string  // grp
	Policy    string    // pol: the named policy, "" for the default
	Data      []Value   // data: TicketData of the request, for presentations without a destination
	Services  []string  // svc: narrows the policy to these host:port; nil narrows nothing
	Issued    time.Time // iat: may lie some seconds ahead of NotBefore, past a revocation's cut
	NotBefore time.Time // nbf: the real time of issue
	Expires   time.Time // exp: the first moment at which it is no longer good
	Family    string    // fam: shared by a ticket and its renewals
	AuthTime  time.Time // auth_time: the log-on from which renewals count
	// Refreshable (ref) says that live tunnels end at Expires; a ticket that is
	// not refreshable bounds the set-up of tunnels only.
	Refreshable  bool
	Confirmation *Confirmation // cnf: the client key it is bound to, or nil
	Handle       Hash          // h: SHA-256 of the handle
	// KeyID is the kid of the key that signed the statement. Verify fills it in;
	// Sign ignores it.
	KeyID string
}

// Value is one of TicketData's named values.
type Value struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Confirmation binds a ticket to a client certificate. One field is set.
type Confirmation struct {
	// SPKI is SHA-256 over the SubjectPublicKeyInfo: it outlives a renewed
	// certificate with the same key.
	SPKI *Hash `json:"spki#S256,omitempty"`
	// X5T is SHA-256 over the certificate (RFC 8705 §3.1).
	X5T *Hash `json:"x5t#S256,omitempty"`
}

// wire is the JSON form of Claims. It satisfies jwt.Claims.
type wire struct {
	Iss      string        `json:"iss"`
	Aud      []string      `json:"aud"`
	Sub      string        `json:"sub,omitempty"`
	Jti      string        `json:"jti"`
	Iat      int64         `json:"iat"`
	Nbf      int64         `json:"nbf"`
	Exp      int64         `json:"exp"`
	Dev      string        `json:"dev,omitempty"`
	App      string        `json:"app,omitempty"`
	Plt      string        `json:"plt,omitempty"`
	Grp      []string      `json:"grp,omitempty"`
	Pol      string        `json:"pol,omitempty"`
	Data     []Value       `json:"data,omitempty"`
	Svc      []string      `json:"svc,omitempty"`
	Fam      string        `json:"fam"`
	AuthTime int64         `json:"auth_time"`
	Ref      bool          `json:"ref"`
	Cnf      *Confirmation `json:"cnf,omitempty"`
	H        *Hash         `json:"h"`
}

func (w *wire) GetIssuer() (string, error)                   { return w.Iss, nil }
func (w *wire) GetSubject() (string, error)                  { return w.Sub, nil }
func (w *wire) GetAudience() (jwt.ClaimStrings, error)       { return w.Aud, nil }
func (w *wire) GetIssuedAt() (*jwt.NumericDate, error)       { return numericDate(w.Iat), nil }
func (w *wire) GetNotBefore() (*jwt.NumericDate, error)      { return numericDate(w.Nbf), nil }
func (w *wire) GetExpirationTime() (*jwt.NumericDate, error) { return numericDate(w.Exp), nil }

// numericDate gives nil for 0, so that a claim left out counts as missing.
func numericDate(unix int64) *jwt.NumericDate {
	if unix == 0 {
		return nil
	}
	return jwt.NewNumericDate(time.Unix(unix, 0))
}

func toWire(c *Claims) *wire {
	return &wire{
		Iss: c.Authority, Aud: c.Audience, Sub: c.User, Jti: c.ID,
		Iat: c.Issued.Unix(), Nbf: c.NotBefore.Unix(), Exp: c.Expires.Unix(),
		Dev: c.Device, App: c.App, Plt: c.Platform, Grp: c.Groups, Pol: c.Policy,
		Data: c.Data, Svc: c.Services, Fam: c.Family, AuthTime: c.AuthTime.Unix(),
		Ref: c.Refreshable, Cnf: c.Confirmation, H: &c.Handle,
	}
}

func fromWire(w *wire) *Claims {
	return &Claims{
		ID: w.Jti, Authority: w.Iss, Audience: w.Aud, User: w.Sub,
		Device: w.Dev, App: w.App, Platform: w.Plt, Groups: w.Grp, Policy: w.Pol,
		Data: w.Data, Services: w.Svc,
		Issued: time.Unix(w.Iat, 0), NotBefore: time.Unix(w.Nbf, 0), Expires: time.Unix(w.Exp, 0),
		Family: w.Fam, AuthTime: time.Unix(w.AuthTime, 0),
		Refreshable: w.Ref, Confirmation: w.Cnf, Handle: *w.H,
	}
}

// Validate satisfies jwt.ClaimsValidator: it is called after the signature was
// found good, and refuses statements that no Signer of ours would have made.
func (w *wire) Validate() error {
	switch {
	case w.Jti == "" || w.Fam == "":
		return refuse(Malformed, "statement without jti or fam")
	case w.H == nil:
		return refuse(Malformed, "statement without h")
	case w.Iat == 0 || w.Nbf == 0:
		return refuse(Malformed, "statement without iat or nbf")
	}
	return checkBounds(w)
}

func checkBounds(w *wire) error {
	for _, text := range []struct{ claim, value string }{
		{"iss", w.Iss}, {"sub", w.Sub}, {"jti", w.Jti}, {"dev", w.Dev}, {"app", w.App},
		{"plt", w.Plt}, {"pol", w.Pol}, {"fam", w.Fam},
	} {
		if len(text.value) > MaxText {
			return refuse(TooLarge, "claim %s is over %d bytes", text.claim, MaxText)
		}
	}
	for _, list := range []struct {
		claim  string
		values []string
	}{{"aud", w.Aud}, {"grp", w.Grp}, {"svc", w.Svc}} {
		if len(list.values) > MaxList {
			return refuse(TooLarge, "claim %s has over %d entries", list.claim, MaxList)
		}
		for _, value := range list.values {
			if len(value) > MaxText {
				return refuse(TooLarge, "an entry of claim %s is over %d bytes", list.claim, MaxText)
			}
		}
	}
	total := 0
	for _, v := range w.Data {
		total += len(v.Name) + len(v.Value)
	}
	if len(w.Data) > MaxData || total > MaxDataBytes {
		return refuse(TooLarge, "data has over %d values or %d bytes", MaxData, MaxDataBytes)
	}
	if c := w.Cnf; c != nil && (c.SPKI == nil) == (c.X5T == nil) {
		return refuse(Malformed, "cnf names one key, by spki#S256 or x5t#S256")
	}
	return nil
}

// encode is json.Marshal without HTML escaping: a statement is never put into a
// page, and escapes would eat into the 4,096 bytes of a token.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
