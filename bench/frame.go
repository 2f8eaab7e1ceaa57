package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sallyport/sallyport/bench/load"
)

// What goes over a control connection, once both sides have proved that they hold
// the key, is a row of frames:
//
//	┌──────────────────────┬────────────────┐
//	│ length n, big-endian │ JSON, message  │
//	│ 4 bytes              │ n bytes        │
//	└──────────────────────┴────────────────┘
const (
	frameHead = 4
	// maxHello bounds the first frame of each side, and maxPlain every other one but
	// the two that are large by nature: what is seen of a host with hundreds of cores
	// and queues is some 200 KiB.
	maxHello = 64 << 10
	maxPlain = 1 << 20
	// maxPlan bounds a plan, with all its tickets, and maxResult what became of one, a
	// day's seconds among it. maxFrame is the larger.
	maxPlan   = 64 << 20
	maxResult = 32 << 20
	maxFrame  = maxPlan
	// freeObjects are how many a frame may have, however short it is, and sparse how many
	// bytes each further one has, on average: of queues and interrupts it is some 30.
	freeObjects = 1000
	sparse      = 16
)

var errFrame = errors.New("not a frame of this protocol")

// message is what a frame holds: a call, the answer to one, or an event that belongs
// to one that is under way.
type message struct {
	// ID is the call's, from 1; its answer and its events have the same.
	ID uint64 `json:"id"`
	// Call names what is asked for, and Event what happened; an answer has neither.
	Call  string          `json:"call,omitempty"`
	Event string          `json:"event,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
	// Error is of an answer: why there is none.
	Error string `json:"error,omitempty"`

	size int // of the frame that it came in
}

// fits refuses a message that is larger than one of its kind may be. It is known only
// when the frame has been read, so one that is too large ends its connection.
func (m message) fits(limit int) error {
	if m.size > limit {
		return fmt.Errorf("%w: a message of %d bytes, where %d are the most", errFrame, m.size, limit)
	}
	return nil
}

// readMessage reads one frame of at most limit bytes. Memory grows with what has
// come, not with what the length promises.
func readMessage(r io.Reader, limit int) (message, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return message{}, err
	}
	length := int64(binary.BigEndian.Uint32(head[:]))
	if length == 0 || length > int64(limit) {
		return message{}, fmt.Errorf("%w: %d bytes, where 1 to %d are allowed", errFrame, length, limit)
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, length); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return message{}, err
	}
	if load.TooDense(body.Bytes(), freeObjects, sparse) {
		return message{}, fmt.Errorf("%w: %d bytes that would take far more memory", errFrame, length)
	}
	var m message
	decoder := json.NewDecoder(&body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return message{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return message{}, fmt.Errorf("%w: something follows the message", errFrame)
	}
	if m.ID == 0 || m.Call != "" && (m.Event != "" || m.Error != "") || m.Event != "" && m.Error != "" {
		return message{}, fmt.Errorf("%w: neither a call nor an answer nor an event", errFrame)
	}
	m.size = int(length)
	return m, nil
}

// appendMessage appends m as a frame.
func appendMessage(b []byte, m message) ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(body) > maxFrame {
		return nil, fmt.Errorf("a message of %d bytes, where %d are allowed", len(body), maxFrame)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(body))), body...), nil
}
