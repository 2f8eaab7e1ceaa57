package exchange

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// session is one connection, seen from the service. Its owner is one goroutine.
type session struct {
	*Service
	conn  net.Conn
	meter *meter
	head  [askSize]byte

	mark   time.Time     // until when time is in the books
	waited time.Duration // of meter, until mark
	alive  time.Time     // when the deadline was last moved
}

// exchange answers the ask whose head was read.
func (e *session) exchange(ctx context.Context) error {
	e.resume()
	defer e.book()
	a, key, err := parseAsk(&e.head)
	if err != nil {
		if errors.Is(err, ErrRefused) {
			_, _ = e.conn.Write(appendAnswer(nil, statusRefused, key, 0, 0))
		}
		return err
	}
	switch err := e.take(ctx, a, key); {
	case errors.Is(err, ErrGarbled):
		_, _ = e.conn.Write(appendAnswer(nil, statusGarbled, key, 0, 0))
		return err
	case err != nil:
		return err
	}
	asked := time.Now()
	if a.Hold > 0 {
		if err := e.hold(asked.Add(a.Hold)); err != nil {
			return err
		}
	}
	sleep(ctx, e.Extra)
	late := max(0, time.Since(asked)-a.Hold)
	e.books.late(late)
	return e.send(ctx, a, key, late)
}

// take reads the ask's body.
func (e *session) take(ctx context.Context, a Ask, key uint64) error {
	if a.Up == 0 {
		return nil
	}
	b := e.buffers.lend()
	defer e.buffers.back(b)
	for taken := int64(0); taken < a.Up; {
		e.extend()
		n, err := e.meter.Read(b[:min(chunk, a.Up-taken)])
		if !upBody(key).good(b[:n], taken) {
			return ErrGarbled
		}
		taken += int64(n)
		e.books.up.Add(uint64(n))
		sleep(ctx, e.valve.delay(int64(n), e.Rate))
		e.book()
		if err != nil && taken < a.Up {
			return err
		}
	}
	return nil
}

// hold waits until then. Nothing may come meanwhile, so reading tells at once if
// the client has gone, and the read's deadline is the clock.
func (e *session) hold(until time.Time) error {
	e.book()
	defer e.resume()
	e.alive = time.Time{}
	if err := e.conn.SetReadDeadline(until); err != nil {
		return err
	}
	switch n, err := e.conn.Read(e.head[:1]); {
	case n > 0:
		return ErrProtocol
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	return e.conn.SetReadDeadline(time.Time{})
}

// send writes the answer, its head in front of the first part of the body.
func (e *session) send(ctx context.Context, a Ask, key uint64, late time.Duration) error {
	e.extend()
	if a.Down == 0 {
		_, err := e.meter.Write(appendAnswer(e.head[:0], statusGood, key, 0, late))
		return errors.Join(err, e.calm())
	}
	b := e.buffers.lend()
	defer e.buffers.back(b)
	size := int64(chunk)
	if a.Write > 0 {
		size = int64(a.Write)
	}
	appendAnswer(b[:0], statusGood, key, a.Down, late)
	from := 0
	for sent := int64(0); sent < a.Down; {
		n := min(size, a.Down-sent)
		downBody(key).fill(b[answerSize:answerSize+n], sent)
		sleep(ctx, e.valve.delay(n, e.Rate))
		e.extend()
		if _, err := e.meter.Write(b[from : answerSize+n]); err != nil {
			return err
		}
		from = answerSize
		sent += n
		e.books.down.Add(uint64(n))
		e.book()
	}
	return e.calm()
}

// extend moves the deadline within an exchange. Not every time: that costs more
// than a small write.
func (e *session) extend() {
	stall := e.Stall
	if stall <= 0 {
		stall = time.Minute
	}
	if now := time.Now(); now.Sub(e.alive) > stall/4 {
		e.alive = now
		_ = e.conn.SetDeadline(now.Add(stall + stall/4)) // a closed connection tells the next call
	}
}

// calm takes the deadline off, for the time between asks.
func (e *session) calm() error {
	e.alive = time.Time{}
	return e.conn.SetDeadline(time.Time{})
}

// resume begins to count time.
func (e *session) resume() { e.mark, e.waited = time.Now(), e.meter.waited }

// book enters the time since it was last called, or since resume.
func (e *session) book() {
	now, waited := time.Now(), e.meter.waited-e.waited
	e.books.waited.Add(int64(waited))
	e.books.busy.Add(int64(max(0, now.Sub(e.mark)-waited)))
	e.mark, e.waited = now, e.meter.waited
}
