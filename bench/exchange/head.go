package exchange

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

const (
	askMark    = "SPQ"
	answerMark = "SPA"
	version    = 1
	askSize    = 40
	answerSize = 32
)

// The status of an answer.
const (
	statusGood    = 0
	statusGarbled = 1
	statusRefused = 2
)

// maxLate bounds what an answer may claim: beyond it the head is no head.
const maxLate = 24 * time.Hour

// AppendAsk appends the head of an ask that Check allows. Key makes its bodies
// unlike those of other exchanges.
func AppendAsk(b []byte, a Ask, key uint64) []byte {
	b = append(append(b, askMark...), version)
	b = binary.BigEndian.AppendUint32(b, uint32(a.Write))
	b = binary.BigEndian.AppendUint64(b, key)
	b = binary.BigEndian.AppendUint64(b, uint64(a.Up))
	b = binary.BigEndian.AppendUint64(b, uint64(a.Down))
	return binary.BigEndian.AppendUint64(b, uint64(a.Hold))
}

// ReadAsk reads the head of an ask, and no byte further. The error is io.EOF if
// there was none, ErrProtocol, ErrVersion, one that is ErrRefused for what is out of
// bounds, or the reader's.
func ReadAsk(r io.Reader) (a Ask, key uint64, err error) {
	var head [askSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Ask{}, 0, err
	}
	return parseAsk(&head)
}

func parseAsk(head *[askSize]byte) (a Ask, key uint64, err error) {
	if err := checkMark(head[:4], askMark); err != nil {
		return Ask{}, 0, err
	}
	write := binary.BigEndian.Uint32(head[4:])
	up, down := binary.BigEndian.Uint64(head[16:]), binary.BigEndian.Uint64(head[24:])
	hold := binary.BigEndian.Uint64(head[32:])
	if write > MaxWrite || up > MaxBody || down > MaxBody || hold > uint64(MaxHold) {
		return Ask{}, 0, fmt.Errorf("%w: %d bytes up, %d down, %d ns, writes of %d", ErrRefused, up, down, hold, write)
	}
	a = Ask{Up: int64(up), Down: int64(down), Hold: time.Duration(hold), Write: int(write)}
	return a, binary.BigEndian.Uint64(head[8:]), nil
}

func checkMark(b []byte, mark string) error {
	switch {
	case string(b[:3]) != mark:
		return ErrProtocol
	case b[3] != version:
		return fmt.Errorf("%w: %d, not %d", ErrVersion, b[3], version)
	}
	return nil
}

// appendAnswer appends the head of an answer.
func appendAnswer(b []byte, status uint32, key uint64, down int64, late time.Duration) []byte {
	b = append(append(b, answerMark...), version)
	b = binary.BigEndian.AppendUint32(b, status)
	b = binary.BigEndian.AppendUint64(b, key)
	b = binary.BigEndian.AppendUint64(b, uint64(down))
	return binary.BigEndian.AppendUint64(b, uint64(late))
}

// ReadAnswer reads the head of the answer to an ask that was sent with key, and no
// byte further; a.Down bytes of body follow. The error is ErrProtocol, ErrVersion,
// ErrRefused, ErrGarbled, or the reader's.
func ReadAnswer(r io.Reader, a Ask, key uint64) (Answer, error) {
	var head [answerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Answer{}, err
	}
	if err := checkMark(head[:4], answerMark); err != nil {
		return Answer{}, err
	}
	late := binary.BigEndian.Uint64(head[24:])
	switch status := binary.BigEndian.Uint32(head[4:]); {
	case status > statusRefused || late > uint64(maxLate):
		return Answer{}, ErrProtocol
	case status == statusRefused:
		return Answer{}, ErrRefused
	case status == statusGarbled:
		return Answer{}, fmt.Errorf("%w on their way up", ErrGarbled)
	case binary.BigEndian.Uint64(head[8:]) != key, binary.BigEndian.Uint64(head[16:]) != uint64(a.Down):
		return Answer{}, fmt.Errorf("%w: the answer to another ask", ErrGarbled)
	}
	return Answer{Late: time.Duration(late)}, nil
}
