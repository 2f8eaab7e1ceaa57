package ticket

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of the log of revocations.
const (
	// MaxEntry bounds the bytes of a signed entry. Every revocation that passes
	// its check fits, whatever characters its names have.
	MaxEntry = 16 << 10
	// MaxHead bounds the bytes of a signed head.
	MaxHead = 256 << 10
	// MaxWriters bounds the writers that a head or positions may name.
	MaxWriters = 1024
	// MaxWriter bounds the name of a writer.
	MaxWriter = 64
	// MaxPosition is the last position of a log: what every store can hold.
	MaxPosition = 1 << 53
)

// ErrGap: entries are missing that nobody vouches to be forgotten.
var ErrGap = errors.New("entries are missing")

// Tip is how far a writer's log is known.
type Tip struct {
	// From is the position up to which entries have been forgotten, because every
	// ticket that they ended has expired; 0 when none has.
	From uint64 `json:"from,omitempty"`
	// Position is that of the newest entry, and Hash its hash.
	Position uint64 `json:"pos"`
	Hash     Hash   `json:"hash"`
}

// Entry is a revocation with its place in the log of whoever made it. Each names
// the hash of the one before, so that the signature of the last vouches for all.
type Entry struct {
	Writer   string
	Position uint64 // from 1, without gaps
	Previous Hash   // of the entry before; zero for the first
	Revocation
	// Signed is the entry as its authority signed it.
	Signed string
}

// Hash is SHA-256 over the signed form.
func (e *Entry) Hash() Hash { return sha256.Sum256([]byte(e.Signed)) }

// Ref names an entry.
func (e *Entry) Ref() Ref { return Ref{e.Writer, e.Position} }

// Ref is the place of an entry.
type Ref struct {
	Writer   string
	Position uint64
}

func (r Ref) String() string { return r.Writer + ":" + strconv.FormatUint(r.Position, 10) }

// ParseRef reads the text form, strictly.
func ParseRef(s string) (Ref, error) {
	writer, number, found := strings.Cut(s, ":")
	position, err := strconv.ParseUint(number, 10, 64)
	if !found || err != nil || position == 0 || position > MaxPosition || number[0] == '0' || CheckWriter(writer) != nil {
		return Ref{}, refuse(Malformed, "a place in the log is writer:position")
	}
	return Ref{writer, position}, nil
}

// CheckWriter refuses what is no writer's name: 1 to 64 of a-z A-Z 0-9 . _ -
func CheckWriter(name string) error {
	ok := name != "" && len(name) <= MaxWriter
	for i := range len(name) {
		c := name[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return refuse(Malformed, "a writer's name is 1 to %d of a-z A-Z 0-9 . _ -", MaxWriter)
	}
	return nil
}

// Positions is how far somebody has read each writer's log. A writer that is not
// named has not been read. nil is the beginning.
type Positions map[string]uint64

// Covers tells whether the entry at a place has been read.
func (p Positions) Covers(r Ref) bool { return p[r.Writer] >= r.Position }

// String gives the text form: writer:position, separated by commas and sorted.
func (p Positions) String() string {
	var b strings.Builder
	for _, writer := range slices.Sorted(maps.Keys(p)) {
		if p[writer] == 0 {
			continue // the same as not to be named
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(Ref{writer, p[writer]}.String())
	}
	return b.String()
}

// ParsePositions reads the text form, strictly.
func ParsePositions(s string) (Positions, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > MaxWriters*(MaxWriter+18) || strings.Count(s, ",") >= MaxWriters {
		return nil, refuse(TooLarge, "positions of over %d writers", MaxWriters)
	}
	p := make(Positions)
	last := ""
	for part := range strings.SplitSeq(s, ",") {
		ref, err := ParseRef(part)
		if err != nil {
			return nil, err
		}
		if ref.Writer <= last {
			return nil, refuse(Malformed, "positions are sorted, one for each writer")
		}
		p[ref.Writer], last = ref.Position, ref.Writer
	}
	return p, nil
}

// MarshalText gives the text form.
func (p Positions) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the text form.
func (p *Positions) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePositions(string(text))
	return err
}

type entryWire struct {
	Iss  string     `json:"iss"`
	Log  string     `json:"log"`
	Pos  uint64     `json:"pos"`
	Prev Hash       `json:"prev"`
	Rev  Revocation `json:"rev"`
	unused
}

// SignEntry makes an entry. It refuses a revocation that is none.
func (s *Signer) SignEntry(writer string, position uint64, previous Hash, r Revocation) (Entry, error) {
	e := Entry{Writer: writer, Position: position, Previous: previous, Revocation: r}
	if err := e.check(); err != nil {
		return Entry{}, err
	}
	var err error
	e.Signed, err = sign(typeEntry, s.keyID, s.key, &entryWire{Iss: s.authority, Log: writer, Pos: position, Prev: previous, Rev: r})
	if err == nil && len(e.Signed) > MaxEntry {
		err = refuse(TooLarge, "an entry of over %d bytes", MaxEntry)
	}
	return e, err
}

func (e *Entry) check() error {
	if err := CheckWriter(e.Writer); err != nil {
		return err
	}
	if e.Position == 0 || e.Position > MaxPosition || (e.Position == 1) != (e.Previous == Hash{}) {
		return refuse(Malformed, "a log begins at position 1, and each entry after that names the one before")
	}
	if e.Stage > 0 && e.Forget.Before(e.Time.Add(e.Stage)) {
		return refuse(Invalid, "a stage that is forgotten before it is over")
	}
	return e.Check()
}

// ParseEntry reads an entry without judging its signature: see
// [KeySet.VerifyRun].
func ParseEntry(signed string) (Entry, error) {
	var w entryWire
	return parseEntry(signed, &w)
}

func parseEntry(signed string, w *entryWire) (Entry, error) {
	if len(signed) > MaxEntry {
		return Entry{}, refuse(TooLarge, "entry of over %d bytes", MaxEntry)
	}
	if err := checkCompact(signed); err != nil {
		return Entry{}, err
	}
	token, _, err := parser.ParseUnverified(signed, w)
	if err != nil {
		return Entry{}, refusalOf(err)
	}
	if err := checkHeader(token, typeEntry); err != nil {
		return Entry{}, err
	}
	e := Entry{Writer: w.Log, Position: w.Pos, Previous: w.Prev, Revocation: w.Rev, Signed: signed}
	if err := e.check(); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// VerifyRun judges entries of one writer that follow one another. It is enough
// that somebody vouches for the last: its signature, by a key of this set, one
// that was taken out included, or a head of this authority that names its hash.
func (k *KeySet) VerifyRun(signed []string, heads ...*Head) ([]Entry, error) {
	entries := make([]Entry, len(signed))
	for i := range signed {
		var w entryWire
		e, err := parseEntry(signed[i], &w)
		if err != nil {
			return nil, err
		}
		if w.Iss != k.Authority {
			return nil, refuse(WrongAuthority, "signed for another authority")
		}
		if i > 0 {
			before := &entries[i-1]
			switch {
			case e.Writer == before.Writer && e.Position > before.Position+1:
				return nil, &Error{Reason: BadSignature, Text: "entries are left out", Err: fmt.Errorf("%w: between %s and %s", ErrGap, before.Ref(), e.Ref())}
			case e.Writer != before.Writer || e.Position != before.Position+1 || e.Previous != before.Hash():
				return nil, refuse(BadSignature, "entry %s does not follow %s", e.Ref(), before.Ref())
			}
		}
		entries[i] = e
	}
	if len(entries) == 0 {
		return nil, nil
	}
	last := &entries[len(entries)-1]
	for _, head := range heads {
		if tip, ok := head.Tips[last.Writer]; ok && tip.Position == last.Position && tip.Hash == last.Hash() {
			return entries, nil
		}
	}
	var w entryWire
	if err := k.verify(last.Signed, typeEntry, &w); err != nil {
		return nil, err
	}
	return entries, nil
}

// Head is what a node of an authority says it knows of every writer's log at a
// moment at which it had just looked into the store.
type Head struct {
	Node   string    // who says so, in this life of its process
	Serial uint64    // from 1; each head of a node has the next
	Time   time.Time // UTC, whole milliseconds
	Keys   uint64    // the version of the key set in force
	Tips   map[string]Tip
}

type headWire struct {
	Iss  string         `json:"iss"`
	Node string         `json:"node"`
	Ser  uint64         `json:"ser"`
	Time int64          `json:"ms"`
	Keys uint64         `json:"keys"`
	Tips map[string]Tip `json:"tips"`
	unused
}

// SignHead makes the signed form of a head.
func (s *Signer) SignHead(h *Head) (string, error) {
	if err := h.check(); err != nil {
		return "", err
	}
	w := headWire{Iss: s.authority, Node: h.Node, Ser: h.Serial, Time: h.Time.UnixMilli(), Keys: h.Keys, Tips: h.Tips}
	signed, err := sign(typeHead, s.keyID, s.key, &w)
	if err == nil && len(signed) > MaxHead {
		err = refuse(TooLarge, "a head of over %d bytes", MaxHead)
	}
	return signed, err
}

func (h *Head) check() error {
	if err := CheckWriter(h.Node); err != nil {
		return err
	}
	if h.Serial == 0 || h.Time.UnixMilli() <= 0 || len(h.Tips) > MaxWriters {
		return refuse(Malformed, "a head has a serial from 1, a time, and at most %d writers", MaxWriters)
	}
	for writer, tip := range h.Tips {
		if CheckWriter(writer) != nil || tip.From > tip.Position || tip.Position == 0 || tip.Position > MaxPosition {
			return refuse(Malformed, "a head with a place that is none")
		}
	}
	return nil
}

// VerifyHead accepts a head of this authority, signed by a key of the set.
func (k *KeySet) VerifyHead(signed string) (*Head, error) {
	if len(signed) > MaxHead {
		return nil, refuse(TooLarge, "head of over %d bytes", MaxHead)
	}
	var w headWire
	if err := k.verify(signed, typeHead, &w); err != nil {
		return nil, err
	}
	h := &Head{Node: w.Node, Serial: w.Ser, Time: time.UnixMilli(w.Time).UTC(), Keys: w.Keys, Tips: w.Tips}
	if err := h.check(); err != nil {
		return nil, err
	}
	return h, nil
}

// verify judges a signed object that is no statement.
func (k *KeySet) verify(signed, typ string, w interface {
	jwt.Claims
	issuer() string
}) error {
	if err := checkCompact(signed); err != nil {
		return err
	}
	_, err := parser.ParseWithClaims(signed, w, func(token *jwt.Token) (any, error) {
		if err := checkHeader(token, typ); err != nil {
			return nil, err
		}
		kid := token.Header["kid"].(string)
		key, ok := k.keys[kid]
		if !ok && typ == typeEntry {
			key, ok = k.retired[kid]
		}
		if !ok {
			return nil, refuse(BadSignature, "kid is not in the authority's key set")
		}
		return key, nil
	})
	switch {
	case err != nil:
		return refusalOf(err)
	case w.issuer() != k.Authority:
		return refuse(WrongAuthority, "signed for another authority")
	}
	return nil
}

// parser reads the signed objects whose claims are judged by hand.
var parser = jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithStrictDecoding())

func (w *entryWire) issuer() string { return w.Iss }
func (w *headWire) issuer() string  { return w.Iss }

// unused fills the interface of the library with claims that these objects do
// not have.
type unused struct{}

func (unused) GetIssuer() (string, error)                   { return "", nil }
func (unused) GetSubject() (string, error)                  { return "", nil }
func (unused) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }
func (unused) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (unused) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (unused) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }

// MarshalText gives the text form.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the text form.
func (r *Ref) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRef(string(text))
	return err
}

// Updates is what an authority tells a gateway that follows it.
type Updates struct {
	// Logs is signed entries past where the gateway is, by writer and in order;
	// there may be more.
	Logs map[string][]string `json:"logs,omitempty"`
	// Head is the newest head of the node that answers, signed; "" if it has
	// none, because it could not look into the store.
	Head string `json:"head,omitempty"`
}

// CutReport is what a gateway says it has done.
type CutReport struct {
	// Applied is up to where it has put every entry in force.
	Applied Positions `json:"applied"`
	// Cuts is how many live tunnels each of the newest entries ended.
	Cuts map[Ref]int `json:"cuts,omitempty"`
	// Logs is entries that the authority's heads lack: it lost them, and takes
	// them back.
	Logs map[string][]string `json:"logs,omitempty"`
}
