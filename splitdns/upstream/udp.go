package upstream

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// packets asks a server over UDP. Every query has a socket of its own, hence a
// port that the kernel picked, and the socket is connected, hence deaf to every
// other sender.
//
//	write ──► read ──► matching ──────────────────────► answer
//	           ▲ │      └ cut short ──► ask over TCP ──► answer
//	           │ ├─ foreign ─► drop, count
//	           │ └─ unproven ─► drop, count, once: ask over TCP beside ──► answer
//	           └──────┘
//
// An unproven answer is the server's, if it does not keep the case of names, or
// a forger's, if he was lucky. TCP tells: he cannot answer there. Until it has,
// the honest answer may still come here, so both are waited for.
type packets struct {
	server Server
	dial   dialFunc
	stream *kept // the same server over TCP
	now    func() time.Time
	lied   func(Lie)
	start  func(func()) // runs a goroutine
	small  *buffers
	// While it holds, the server has been seen not to keep the case of names,
	// and is asked over TCP at once.
	caseless habit
}

// habit is something known of a server, for a while.
type habit struct{ until atomic.Int64 }

// habitLife is long enough to spare a server most of the superfluous queries,
// and short enough that its repair is noticed.
const habitLife = 5 * time.Minute

func (h *habit) set(now time.Time)        { h.until.Store(now.Add(habitLife).UnixNano()) }
func (h *habit) clear()                   { h.until.Store(0) }
func (h *habit) holds(now time.Time) bool { return now.UnixNano() < h.until.Load() }

func (p *packets) exchange(ctx context.Context, question Question, edns bool) (*query, []byte, error) {
	if p.caseless.holds(p.now()) {
		asked, answer, err := p.stream.exchange(ctx, question, edns)
		if err != nil {
			p.caseless.clear() // TCP may be no way out; the next one finds out anew
		}
		return asked, answer, err
	}
	conn, err := p.dial(ctx, "udp", p.server.Addr.String())
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	flight := &packetFlight{packets: p, conn: conn, question: question, asked: newQuery(question, form{mixed: true, edns: edns})}
	return flight.fly(ctx)
}

func (p *packets) close() { p.stream.close() }

// packetFlight is one query over UDP, and what became of it.
type packetFlight struct {
	*packets
	conn     net.Conn
	question Question
	asked    *query
	beside   chan answered // the outcome over TCP; nil until that is asked
	miscased bool          // why it is asked
}

// answered is an answer with the query that it answers.
type answered struct {
	asked  *query
	answer []byte
	err    error
}

var longAgo = time.Unix(1, 0)

func (f *packetFlight) fly(ctx context.Context) (*query, []byte, error) {
	defer context.AfterFunc(ctx, func() { f.conn.SetDeadline(longAgo) })()

	if _, err := f.conn.Write(f.asked.wire); err != nil {
		return nil, nil, err
	}
	borrowed := f.small.get()
	defer f.small.put(borrowed)
	buf := borrowed[:]
	for {
		n, err := f.conn.Read(buf)
		if err != nil {
			return f.land(err)
		}
		message := buf[:n]
		verdict, lie := f.asked.match(message)
		if lie != "" {
			f.lied(lie)
		}
		switch {
		case verdict == unproven && f.beside == nil:
			f.miscased = lie == lieCase
			f.askBeside(ctx)
		case verdict != matching:
		case n == len(buf) && len(buf) < maxMessage:
			// More than was asked for, and perhaps cut off by the buffer. There
			// is room for everything; there need not be for every query.
			buf = make([]byte, maxMessage)
			if _, err := f.conn.Write(f.asked.wire); err != nil {
				return f.land(err)
			}
		case isTruncated(message):
			return f.stream.exchange(ctx, f.question, f.asked.edns)
		default:
			return f.asked, bytes.Clone(message), nil
		}
	}
}

// askBeside asks over TCP while the socket is listened to. An answer ends the
// listening; a failure does not. It ends with the attempt.
func (f *packetFlight) askBeside(ctx context.Context) {
	beside := make(chan answered, 1)
	f.beside = beside
	f.start(func() {
		asked, answer, err := f.stream.exchange(ctx, f.question, f.asked.edns)
		beside <- answered{asked, answer, err}
		if err == nil {
			f.conn.SetDeadline(longAgo)
		}
	})
}

// land is for when the socket has no more to say.
func (f *packetFlight) land(err error) (*query, []byte, error) {
	if f.beside == nil {
		return nil, nil, err
	}
	got := <-f.beside
	if got.err != nil {
		return nil, nil, errors.Join(err, got.err)
	}
	if f.miscased {
		f.caseless.set(f.now())
	}
	return got.asked, got.answer, nil
}
