package redisstore

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// ErrDamaged: something is in the store that cannot be read, or is not what its
// key says.
var ErrDamaged = errors.New("what is in the store cannot be read")

// card is what the store must know of a ticket without its record: the indexes
// that it is in, and, if the record cannot be read, whose it is.
type card struct {
	Number  uint64      `json:"n"`
	ID      string      `json:"id"`
	Hash    ticket.Hash `json:"h"`
	Family  string      `json:"f"`
	User    string      `json:"u,omitempty"`
	Device  string      `json:"d,omitempty"`
	Expires int64       `json:"x"` // Unix seconds
	// text is the card as it is written, twice: under the ID, and by expiry.
	text string
}

// cardOf gives the card of a record that has this number.
func cardOf(r *sta.Record, number uint64) *card {
	c := &card{
		Number: number, ID: r.ID, Hash: r.Hash, Family: r.Family,
		User: r.User, Device: r.Device, Expires: r.Expires.Unix(),
	}
	text, _ := json.Marshal(c) // of numbers and strings, which cannot fail
	c.text = string(text)
	return c
}

// parseCard reads a card. [ErrDamaged].
func parseCard(text string) (*card, error) {
	c := &card{text: text}
	if json.Unmarshal([]byte(text), c) != nil || c.ID == "" {
		return nil, ErrDamaged
	}
	return c, nil
}

// damaged stands for the client's name in what is known of a ticket whose record
// cannot be read. No client is called so.
const damaged = "(record damaged)"

// salvage gives a record without hash and statement, so that nothing can be
// redeemed by it.
func (c *card) salvage() *sta.Record {
	return &sta.Record{
		ID: c.ID, Family: c.Family, User: c.User, Device: c.Device,
		Expires: time.Unix(c.Expires, 0).UTC(), Client: damaged,
	}
}

// A reference names a ticket in the indexes: 16 hexadecimal digits of its number,
// 43 characters of its hash, its ID. References sort by age, and lead to the record
// without another question.
const (
	numberLength = 16
	hashLength   = 43
)

func (c *card) reference() string {
	return fmt.Sprintf("%0*x%s%s", numberLength, c.Number, c.Hash, c.ID)
}

// parseReference gives what it leads to. [ErrDamaged].
func parseReference(ref string) (hash ticket.Hash, id string, err error) {
	if len(ref) <= numberLength+hashLength {
		return hash, "", ErrDamaged
	}
	for _, c := range []byte(ref[:numberLength]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return hash, "", ErrDamaged
		}
	}
	hash, err = ticket.ParseHash(ref[numberLength : numberLength+hashLength])
	if err != nil {
		return hash, "", ErrDamaged
	}
	return hash, ref[numberLength+hashLength:], nil
}

// A cursor is the reference of the last ticket that was looked at.
func cursor(ref string) string { return base64.RawURLEncoding.EncodeToString([]byte(ref)) }

// parseCursor gives the reference, "" of none. [sta.ErrCursor].
func parseCursor(text string) (ref string, err error) {
	if text == "" {
		return "", nil
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", sta.ErrCursor
	}
	if _, _, err := parseReference(string(decoded)); err != nil {
		return "", sta.ErrCursor
	}
	return string(decoded), nil
}

// parseRecord reads a record. [ErrDamaged].
func parseRecord(data string) (*sta.Record, error) {
	var r sta.Record
	if json.Unmarshal([]byte(data), &r) != nil || r.ID == "" {
		return nil, ErrDamaged
	}
	return &r, nil
}
