package boltstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/sallyport/sallyport/sta"
)

// CorruptError says which entry of the file cannot be read.
type CorruptError struct {
	What string // "ticket k3…", "the key set"
	Err  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is corrupt in the store: %v", e.What, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// number gives 8 bytes that sort as the number does.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// unix gives a time's seconds as a number. Nothing here lies before 1970.
func unix(t time.Time) []byte { return number(uint64(max(t.Unix(), 0))) }

// reference names a ticket by age and id.
func reference(sequence uint64, id string) []byte { return append(number(sequence), id...) }

// idOf gives the id inside a reference.
func idOf(ref []byte) string {
	if len(ref) < 8 {
		return ""
	}
	return string(ref[8:])
}

// prefix begins the index keys of one value. The length keeps "a" apart from
// what only begins with a.
func prefix(value string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(value))), value...)
}

// join gives a new slice: appending to a key of bbolt's would write into its
// pages.
func join(a, b []byte) []byte {
	return append(append(make([]byte, 0, len(a)+len(b)), a...), b...)
}

// castagnoli is the table of CRC-32C, which has hardware behind it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal gives JSON as it is kept: CRC-32C, then the JSON. The checksum finds what
// a failing disk did where JSON would still read as such.
func seal(data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli)), data...)
}

// unseal reads what seal wrote into v. Its errors hold no content.
func unseal(sealed []byte, v any) error {
	if len(sealed) < 4 || crc32.Checksum(sealed[4:], castagnoli) != binary.BigEndian.Uint32(sealed) {
		return errors.New("its checksum is wrong")
	}
	if json.Unmarshal(sealed[4:], v) != nil {
		return errors.New("it is no JSON of this kind")
	}
	return nil
}

func encode(r *sta.Record) ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return seal(data), nil
}

// decode reads a record that stands under a reference.
func decode(ref, data []byte) (*sta.Record, error) {
	var r sta.Record
	err := unseal(data, &r)
	if err == nil && r.ID != idOf(ref) {
		err = errors.New("it is the record of another ticket")
	}
	if err != nil {
		return nil, &CorruptError{fmt.Sprintf("ticket %q", idOf(ref)), err}
	}
	return &r, nil
}
