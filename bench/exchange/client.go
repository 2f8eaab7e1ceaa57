package exchange

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
)

// Client asks on connections that others have made. The zero value is good, and one
// serves any number of connections at a time.
type Client struct{ buffers buffers }

// Do sends an ask, and reads the answer to its last byte. Deadlines are the
// connection's own, and the caller's to set: a's Hold passes within Do. Each time
// that bytes of a body have gone up or come down, moved is told how many; it may be
// nil. After an error the connection is of no further use.
//
// The error is what Check says of the ask, ErrGarbled, ErrProtocol, ErrVersion,
// ErrRefused, or the connection's; a connection that ended is io.ErrUnexpectedEOF.
func (c *Client) Do(conn io.ReadWriter, a Ask, moved func(up, down int)) (Answer, error) {
	if err := a.Check(); err != nil {
		return Answer{}, err
	}
	if moved == nil {
		moved = func(int, int) {}
	}
	key := rand.Uint64()
	if err := c.send(conn, a, key, moved); err != nil {
		return Answer{}, fmt.Errorf("exchange: asking: %w", err)
	}
	answer, err := ReadAnswer(conn, a, key)
	if err == nil {
		err = c.take(conn, a, key, moved)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // there was to be an answer
	}
	if err != nil {
		return Answer{}, fmt.Errorf("exchange: reading the answer: %w", err)
	}
	return answer, nil
}

// send writes the head, and the body with it as far as one write goes.
func (c *Client) send(conn io.Writer, a Ask, key uint64, moved func(up, down int)) error {
	if a.Up == 0 {
		_, err := conn.Write(AppendAsk(make([]byte, 0, askSize), a, key))
		return err
	}
	b := c.buffers.lend()
	defer c.buffers.back(b)
	AppendAsk(b[:0], a, key)
	from := 0
	for sent := int64(0); sent < a.Up; {
		n := min(chunk, a.Up-sent)
		upBody(key).fill(b[askSize:askSize+n], sent)
		if _, err := conn.Write(b[from : askSize+n]); err != nil {
			return err
		}
		from = askSize
		sent += n
		moved(int(n), 0)
	}
	return nil
}

// take reads the body of an answer.
func (c *Client) take(conn io.Reader, a Ask, key uint64, moved func(up, down int)) error {
	if a.Down == 0 {
		return nil
	}
	b := c.buffers.lend()
	defer c.buffers.back(b)
	for taken := int64(0); taken < a.Down; {
		n, err := conn.Read(b[:min(chunk, a.Down-taken)])
		if !downBody(key).good(b[:n], taken) {
			return fmt.Errorf("%w on their way down, in the 4 KiB before byte %d", ErrGarbled, taken+int64(n))
		}
		taken += int64(n)
		if n > 0 {
			moved(0, n)
		}
		if err != nil && taken < a.Down {
			return err
		}
	}
	return nil
}
