package record

import (
	"crypto/tls"
	"fmt"
	"io"
)

const (
	// maxIdle is how often in a row a peer may send what carries no data: empty
	// records, KeyUpdates, user_canceled, tickets. crypto/tls has the same.
	maxIdle = 16
	// maxUpdates is how many KeyUpdates a peer may send in all. Each costs us
	// two derivations; an honest peer sends one in many gigabytes.
	maxUpdates = 1024
	// maxTicket is how long a NewSessionTicket may be. It is skipped, not kept.
	maxTicket = 1 << 16
)

// Need returns how many bytes the record at the front of b has in all:
// HeaderSize as long as its header is not whole. A header that cannot be is
// found by Open, so Open goes first, and room for MaxRecord is always enough.
func Need(b []byte) int {
	if len(b) < HeaderSize {
		return HeaderSize
	}
	return HeaderSize + int(b[3])<<8 + int(b[4])
}

// Open opens the record at the front of b, in place. n is its length, and 0
// without an error as long as it is not whole; Need says what is missing. plain
// is the application data in it, inside b, and may be empty: everything else
// that peers send is dealt with here.
//
// Errors are final and come again. io.EOF is the peer's close_notify, after
// which the other direction goes on and all further bytes are ignored (RFC 8446
// section 6.1); an *Error is something the peer did wrong; any other alert of
// the peer's is a tls.AlertError, wrapped. It is for the opening goroutine.
func (l *Layer) Open(b []byte) (plain []byte, n int, err error) {
	switch {
	case l.err != nil:
		return nil, 0, l.err
	case l.suite == 0:
		return nil, 0, ErrEnded
	case len(b) < HeaderSize:
		return nil, 0, nil
	}
	if wrong := checkHeader(b); wrong != nil {
		l.err = wrong
		return nil, 0, l.err
	}
	n = Need(b)
	if len(b) < n {
		return nil, 0, nil
	}
	contentType, content, wrong := l.decrypt(b[:n])
	if wrong == nil && contentType == typeData && l.nPart == 0 && l.skip == 0 && len(content) > 0 {
		l.idle = 0
		return content, n, nil
	}
	if wrong != nil {
		l.err = wrong
	} else {
		l.err = l.control(contentType, content)
	}
	return nil, n, l.err
}

// checkHeader judges five bytes, so that nobody waits for, or makes room for, a
// record that cannot be.
func checkHeader(b []byte) *Error {
	length := Need(b) - HeaderSize
	switch {
	case b[0] != typeData:
		// Section 5: that goes for change_cipher_spec as well, once the peer's
		// Finished has been received.
		return &Error{alertUnexpectedMessage, "unprotected record after the handshake"}
	case b[1] != 3 || b[2] != 3:
		return &Error{alertProtocolVersion, "record of another version"}
	case length > MaxRecord-HeaderSize:
		return &Error{alertRecordOverflow, "record too long"}
	case length < TrailerSize:
		return &Error{alertBadRecordMAC, "record too short for a type and a tag"}
	}
	return nil
}

// decrypt opens a whole record and finds what is in it (sections 5.2 and 5.4).
func (l *Layer) decrypt(b []byte) (contentType byte, content []byte, wrong *Error) {
	if l.in.seq >= keyLimit {
		return 0, nil, &Error{alertUnexpectedMessage, "peer uses a worn key on, asked for a new one"}
	}
	k := l.in.ready(l.suite)
	inner, err := k.aead.Open(b[HeaderSize:HeaderSize], k.nonceOf(l.in.seq), b[HeaderSize:], b[:HeaderSize])
	if err != nil {
		return 0, nil, &Error{alertBadRecordMAC, "record is not genuine"}
	}
	if l.in.seq++; l.in.seq == askAfter {
		l.due.Or(dueAsk)
	}
	if len(inner) > MaxContent+1 {
		return 0, nil, &Error{alertRecordOverflow, "content too long"}
	}
	end := len(inner) - 1
	for end >= 0 && inner[end] == 0 {
		end--
	}
	if end < 0 {
		return 0, nil, &Error{alertUnexpectedMessage, "record of padding only"}
	}
	return inner[end], inner[:end], nil
}

// control deals with what is not data. It returns what ends the connection, or
// our reading of it.
func (l *Layer) control(contentType byte, content []byte) error {
	if contentType != typeHandshake && (l.nPart > 0 || l.skip > 0) {
		// Section 5.1: nothing may come between the parts of a message.
		return &Error{alertUnexpectedMessage, "handshake message is interrupted"}
	}
	switch contentType {
	case typeData:
		return l.count() // empty
	case typeAlert:
		return l.alert(content)
	case typeHandshake:
		return l.handshake(content)
	}
	return &Error{alertUnexpectedMessage, "content of unknown type"}
}

// count is for what carries no data.
func (l *Layer) count() error {
	if l.idle++; l.idle > maxIdle {
		return &Error{alertUnexpectedMessage, "too much in a row without data"}
	}
	return nil
}

// alert judges by the description alone: the level says nothing in TLS 1.3
// (section 6).
func (l *Layer) alert(content []byte) error {
	if len(content) != 2 {
		// Section 5.1: alerts are neither split nor joined.
		return &Error{alertUnexpectedMessage, "alert of a wrong length"}
	}
	switch received := tls.AlertError(content[1]); received {
	case alertCloseNotify:
		return io.EOF
	case alertUserCanceled:
		return l.count() // a close_notify follows, section 6.1
	default:
		return fmt.Errorf("record: the peer ended the connection: %w", received)
	}
}

// handshake takes the bytes of messages one by one: all that is legal is a
// KeyUpdate, and towards a client a NewSessionTicket, and both are judged by
// their first bytes. No more than a KeyUpdate is ever gathered.
//
//	uint8 type | uint24 length | body
func (l *Layer) handshake(content []byte) error {
	if len(content) == 0 {
		return &Error{alertUnexpectedMessage, "empty handshake record"} // section 5.1
	}
	for len(content) > 0 {
		if l.skip > 0 {
			n := min(uint32(len(content)), l.skip)
			content = content[n:]
			if l.skip -= n; l.skip == 0 {
				if err := l.count(); err != nil {
					return err
				}
			}
			continue
		}
		l.part[l.nPart] = content[0]
		l.nPart++
		content = content[1:]
		if err := l.message(len(content)); err != nil {
			return err
		}
	}
	return nil
}

// message judges what of a message is there. behind is how many bytes follow in
// the record.
func (l *Layer) message(behind int) error {
	ticket := l.part[0] == msgNewSessionTicket && l.side == Client
	switch l.nPart {
	case 1:
		if !ticket && l.part[0] != msgKeyUpdate {
			return &Error{alertUnexpectedMessage, "handshake message that has no place here"}
		}
	case 4:
		length := uint32(l.part[1])<<16 | uint32(l.part[2])<<8 | uint32(l.part[3])
		switch {
		case ticket && 0 < length && length <= maxTicket:
			// What crypto/tls's own clients without a session cache do.
			l.skip, l.nPart = length, 0
		case ticket || length != 1:
			return &Error{alertDecodeError, "handshake message of a wrong length"}
		}
	case 5:
		l.nPart = 0
		return l.keyUpdate(l.part[4], behind)
	}
	return nil
}

// keyUpdate is section 4.6.3.
func (l *Layer) keyUpdate(request byte, behind int) error {
	l.updates++
	switch {
	case request != updateNotRequested && request != updateRequested:
		return &Error{alertIllegalParameter, "KeyUpdate of unknown kind"}
	case behind > 0:
		// Section 5.1: what follows would be under the old key.
		return &Error{alertUnexpectedMessage, "KeyUpdate does not end its record"}
	case l.updates > maxUpdates:
		return &Error{alertUnexpectedMessage, "too many KeyUpdates"}
	}
	if err := l.count(); err != nil {
		return err
	}
	l.in.update(l.suite)
	l.due.And(^dueAsk) // whatever we asked for, or were about to, we have
	if request == updateRequested {
		l.due.Or(dueAnswer)
	}
	return nil
}
