package tunnel

import (
	"errors"
	"io"
	"sync"

	"github.com/sallyport/sallyport/tunnel/record"
)

// codec is what lies between the bytes of a parked client's descriptor and those of
// its tunnel. It waits for nothing: errNoWait says that there is no more at the
// moment. The goroutine that the tunnel has at the moment uses it.
type codec interface {
	// receive reads from the client: a load for the service, and what came behind
	// it. Without a load, the error says why.
	receive(client *socket, large bool) (*load, error)
	// holds tells whether set-up has read what receive has not given yet.
	holds() bool
	// send reads from the service: a load for the client.
	send(service *socket, large bool) (*load, error)
	// owes tells whether the client is to be sent something of the protocol's own
	// before it is read again; owed takes it, or is nil.
	owes() bool
	owed() *load
	// end appends what ends our direction; nothing if the protocol has no such
	// thing, or it has been said. Of a tunnel that broke off it is only what the
	// client did wrong.
	end(l *load, brokeOff bool) error
	// closeWrite ends our direction of the connection, if end does not.
	closeWrite(client *socket) error
	// awake tells whether there is something that rest would let go of.
	awake() bool
	rest()
	// wipe is the end of it.
	wipe()
}

// plainCodec is for a client whose bytes are the tunnel's.
type plainCodec struct{}

func (plainCodec) receive(client *socket, large bool) (*load, error) { return readPlain(client, large) }
func (plainCodec) send(service *socket, large bool) (*load, error)   { return readPlain(service, large) }
func (plainCodec) holds() bool                                       { return false }
func (plainCodec) owes() bool                                        { return false }
func (plainCodec) owed() *load                                       { return nil }
func (plainCodec) end(*load, bool) error                             { return nil }
func (plainCodec) closeWrite(client *socket) error                   { return client.closeWrite() }
func (plainCodec) awake() bool                                       { return false }
func (plainCodec) rest()                                             {}
func (plainCodec) wipe()                                             {}

// readPlain reads what is passed on as it comes.
func readPlain(s *socket, large bool) (*load, error) {
	l := takeLoad(large)
	n, err := s.read(l.buf[:l.room()])
	if err != nil {
		l.release()
		return nil, err
	}
	l.filled = n == l.room()
	l.add(0, n)
	l.content = n
	return l, nil
}

// early is what a client sent ahead, and was read in set-up.
type early []byte

// take gives a load of it, or nil.
func (e *early) take() *load {
	if len(*e) == 0 {
		return nil
	}
	l := takeLoad(false)
	n := copy(l.buf[:l.room()], *e)
	if *e = (*e)[n:]; len(*e) == 0 {
		*e = nil
	}
	l.add(0, n)
	l.content = n
	return l
}

// directCodec is the record layer of our own.
type directCodec struct {
	layer record.Layer // in place: a collection visits each tunnel's parts
	early early
	ahead []byte // records that were read in set-up and not opened
	slept bool
	// failed is what the layer found wrong, which the client is told.
	failed error
	// part is the beginning of a record whose rest has not come.
	part []byte // of one of the pools; or nil
}

// Most parts are a header and little more, of a phone that lost its coverage.
const smallPart = 1 << 10

var (
	smallParts = sync.Pool{New: func() any { return new([smallPart]byte) }}
	parts      = sync.Pool{New: func() any { return new([record.MaxRecord]byte) }}
)

// keep makes b the part.
func (c *directCodec) keep(b []byte) {
	old := c.part
	switch {
	case len(b) == 0:
		c.part = nil
	case len(b) <= smallPart:
		c.part = smallParts.Get().(*[smallPart]byte)[:len(b)]
	default:
		c.part = parts.Get().(*[record.MaxRecord]byte)[:len(b)]
	}
	copy(c.part, b)
	switch cap(old) {
	case smallPart:
		smallParts.Put((*[smallPart]byte)(old[:smallPart]))
	case record.MaxRecord:
		parts.Put((*[record.MaxRecord]byte)(old[:record.MaxRecord]))
	}
}

func (c *directCodec) receive(client *socket, large bool) (*load, error) {
	if l := c.early.take(); l != nil {
		return l, nil
	}
	l, err := c.fetch(client, large)
	if err != nil {
		return nil, err
	}
	c.slept = false
	rest, err := c.open(l, l.buf[:l.end])
	c.keep(rest)
	if l.left == 0 {
		l.release()
		if err == nil {
			err = errNoWait
		}
		return nil, err
	}
	l.content = l.left
	return l, err
}

// fetch gives a load that begins with what there is to open, up to l.end.
func (c *directCodec) fetch(client *socket, large bool) (*load, error) {
	if len(c.ahead) > 0 {
		l := takeLoad(len(c.ahead) > smallRead)
		l.end = copy(l.buf, c.ahead)
		if c.ahead = c.ahead[l.end:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		return l, nil
	}
	l := takeLoad(large)
	l.end = copy(l.buf, c.part)
	n, err := client.read(l.buf[l.end : l.end+l.room()])
	if err == io.EOF && l.end > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		l.release()
		return nil, err
	}
	l.filled = n == l.room()
	l.end += n
	return l, nil
}

// open opens the records in b, which is at the front of the load's buffer, and
// returns what is left of it.
func (c *directCodec) open(l *load, b []byte) (rest []byte, err error) {
	at := 0
	for {
		plain, n, err := c.layer.Open(b[at:])
		if err != nil {
			c.failed = err
			return nil, err
		}
		if n == 0 {
			return b[at:], nil
		}
		if len(plain) > 0 {
			from := at + record.HeaderSize // in place
			l.add(from, from+len(plain))
		}
		at += n
	}
}

// owedRoom is what the control records take that go before a load's data.
const owedRoom = 64

func (c *directCodec) send(service *socket, large bool) (*load, error) {
	l := takeLoad(large)
	slots := l.vecs[:l.room()/record.MaxContent]
	for i := range slots {
		slots[i].Base = &l.buf[owedRoom+i*slot+record.HeaderSize]
		slots[i].SetLen(record.MaxContent)
	}
	n, err := service.readv(slots, l.room())
	clear(slots)
	if err == nil {
		err = c.seal(l, n)
	}
	if err != nil {
		l.release()
		return nil, err
	}
	l.filled = n == l.room()
	l.content = n
	return l, nil
}

// seal makes n bytes that lie in slots records.
func (c *directCodec) seal(l *load, n int) error {
	c.slept = false
	at := owedRoom
	for n > 0 {
		if c.layer.Owes() {
			// Rare: what is still to be sealed makes room.
			end := at + (n+record.MaxContent-1)/record.MaxContent*slot
			copy(l.buf[at+owedRoom:], l.buf[at:end])
			l.add(at, at+len(c.layer.AppendOwed(l.buf[at:at:at+owedRoom])))
			at += owedRoom
		}
		content := min(n, record.MaxContent)
		size, err := c.layer.Seal(l.buf[at:at+slot], content)
		if err != nil {
			return err
		}
		l.add(at, at+size)
		at += slot
		n -= content
	}
	return nil
}

func (c *directCodec) holds() bool              { return len(c.early)+len(c.ahead) > 0 }
func (c *directCodec) owes() bool               { return false } // it can wait, and reading go on
func (c *directCodec) closeWrite(*socket) error { return nil }
func (c *directCodec) awake() bool              { return !c.slept }

// owed is a KeyUpdate of ours.
func (c *directCodec) owed() *load {
	if !c.layer.Owes() {
		return nil
	}
	c.slept = false
	l := takeLoad(false)
	l.add(0, len(c.layer.AppendOwed(l.buf[:0])))
	return l
}

func (c *directCodec) rest() {
	c.slept = true
	c.layer.Rest()
}

func (c *directCodec) end(l *load, brokeOff bool) error {
	if brokeOff && !errors.As(c.failed, new(*record.Error)) {
		return nil
	}
	from := l.end // behind what else it is owed
	l.add(from, from+len(c.layer.AppendGoodbye(l.buf[from:from], c.failed)))
	return nil
}

func (c *directCodec) wipe() {
	c.keep(nil)
	c.layer.Wipe()
}
