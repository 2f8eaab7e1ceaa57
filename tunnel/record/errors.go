package record

import (
	"crypto/tls"
	"errors"
	"io"
)

// The alerts that are sent or told apart (RFC 8446 section 6).
const (
	alertCloseNotify       tls.AlertError = 0
	alertUnexpectedMessage tls.AlertError = 10
	alertBadRecordMAC      tls.AlertError = 20
	alertRecordOverflow    tls.AlertError = 22
	alertIllegalParameter  tls.AlertError = 47
	alertDecodeError       tls.AlertError = 50
	alertProtocolVersion   tls.AlertError = 70
	alertInternalError     tls.AlertError = 80
	alertUserCanceled      tls.AlertError = 90
)

var (
	// ErrOwes is Seal's while a KeyUpdate is due: send what AppendOwed gives
	// first, and seal again.
	ErrOwes = errors.New("record: a KeyUpdate is due")

	// ErrEnded is for a direction that has ended: by AppendGoodbye for Seal, by
	// Wipe for both. A Layer that was not started has ended too.
	ErrEnded = errors.New("record: this direction has ended")

	// ErrUnproven is Take's when it cannot prove where crypto/tls stands. The
	// Tap passes everything through, so the tls.Conn can be used on.
	ErrUnproven = errors.New("record: the state of the handshake cannot be proved")

	// ErrTruncated is Conn.Read's when the connection ended between two records
	// without a close_notify. Whoever reads a protocol that says itself where
	// it ends may take it for an end; for everybody else it is
	// io.ErrUnexpectedEOF, as errors.Is says.
	ErrTruncated error = truncatedError{}

	errSize       = errors.New("record: no room, or too long for a record")
	errSecret     = errors.New("record: unknown suite, or secrets of another length")
	errUnfinished = errors.New("record: the handshake is not done")
	errTaken      = errors.New("record: the connection has been taken over")
)

// Error is what the peer did wrong. The connection cannot go on; the peer is
// owed Alert, which AppendGoodbye makes.
type Error struct {
	Alert tls.AlertError
	what  string
}

func (e *Error) Error() string { return "record: " + e.what }

type truncatedError struct{}

func (truncatedError) Error() string        { return "record: connection ended without close_notify" }
func (truncatedError) Is(target error) bool { return target == io.ErrUnexpectedEOF }
