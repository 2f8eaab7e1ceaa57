package stub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Exchange asks one query over a stream and returns the answer, whose id and
// question are the query's (RFC 5452 §9.1). The name in it is spelled as in the
// query, even where the other side changed upper and lower case. An answer of
// failure may come without the question. Nothing else of it is checked.
//
// After nil the stream can serve for the next Exchange, one at a time. After an
// error it is of no more use, and is the caller's to close. The error is ctx's
// when ctx ended, and ErrMessage when the answer was not the one to this query.
func Exchange(ctx context.Context, conn net.Conn, wire []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("stub: %w", err)
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		conn.SetDeadline(time.Unix(1, 0))
	})
	answer, err := exchange(conn, wire)
	if !stop() {
		<-interrupted
		if err == nil {
			err = conn.SetDeadline(time.Time{}) // the answer was quicker, and the stream stays good
		}
	}
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil && !errors.Is(err, ErrMessage):
		return nil, fmt.Errorf("stub: %w", ctx.Err())
	}
	return nil, fmt.Errorf("stub: %w", err)
}

func exchange(conn net.Conn, wire []byte) ([]byte, error) {
	if err := writeMessage(conn, wire); err != nil {
		return nil, err
	}
	answer, err := readMessage(conn, maxMessage)
	if err != nil {
		return nil, err
	}
	if !isAnswer(answer, wire) {
		return nil, fmt.Errorf("%w: it answers something else", ErrMessage)
	}
	if answer[5] == 1 {
		copy(answer[headerSize:], questionOf(wire))
	}
	return answer, nil
}

// IsAnswer tells whether a message is an answer to the query, as Exchange wants
// one: with its id, and with its question, where upper and lower case may differ,
// or with none if it is one of failure. What is too short to have a header is no
// answer and no query.
func IsAnswer(answer, query []byte) bool {
	return len(answer) >= headerSize && len(query) >= headerSize && isAnswer(answer, query)
}

// isAnswer is IsAnswer for messages that have a header. The answer's question has
// the length of the query's, then.
func isAnswer(answer, query []byte) bool {
	if !bytes.Equal(answer[:2], query[:2]) || answer[2]&flagQR == 0 || (answer[2]^query[2])&maskOpcode != 0 {
		return false
	}
	if answer[4] == 0 && answer[5] == 0 {
		return Rcode(answer) != Success
	}
	if answer[4] != 0 || answer[5] != 1 {
		return false
	}
	asked, answered := questionOf(query), questionOf(answer)
	if asked == nil || len(asked) != len(answered) {
		return false
	}
	// Lengths of labels are below 64 and so no letters: only those of names
	// are folded. Type and class are compared as they are.
	name := len(asked) - 4
	return bytes.Equal(foldASCII(asked[:name]), foldASCII(answered[:name])) && bytes.Equal(asked[name:], answered[name:])
}

// questionOf returns the bytes of a message's first question, nil if there is
// none.
func questionOf(message []byte) []byte {
	_, end := readName(message)
	if end == 0 || len(message) < end+4 {
		return nil
	}
	return message[headerSize : end+4]
}

// foldASCII returns a copy in lower case; unlike bytes.ToLower, it leaves all
// other bytes alone, whatever they mean in UTF-8.
func foldASCII(b []byte) []byte {
	folded := bytes.Clone(b)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return folded
}

// Rcode returns the response code of an answer, the four bits in its header;
// ServerFailure for what is too short to have one.
func Rcode(answer []byte) int {
	if len(answer) < headerSize {
		return ServerFailure
	}
	return int(answer[3] & maskRcode)
}
