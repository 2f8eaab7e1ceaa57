package httpconnect

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"

	"golang.org/x/net/http/httpguts"

	"github.com/sallyport/sallyport/tunnel"
)

// maxHead is the most that a request may have before its body, in each version.
const maxHead = 8 << 10

// maxUnasked is how many requests of one connection may come without a credential
// and be asked for one.
const maxUnasked = 3

var (
	errHead    = errors.New("not a request")
	errHeadTop = errors.New("a head of over 8 KiB")
)

// hearing reads the requests of HTTP/1.1 off a connection.
type hearing struct {
	src  io.Reader
	in   *bufio.Reader
	head []byte // what was read for the request at hand; nil when nobody wants it
	err  error  // of src, or that the head has grown too large
}

func newHearing(src io.Reader) *hearing {
	h := &hearing{src: src}
	// Not more than a Door reads at once: what is left over came with the last Read.
	h.in = bufio.NewReaderSize((*tap)(h), 1<<10)
	return h
}

// tap is the hearing's source. It keeps what it reads, and bounds it.
type tap hearing

func (t *tap) Read(p []byte) (int, error) {
	if t.head == nil {
		return t.src.Read(p)
	}
	room := maxHead - len(t.head)
	if room <= 0 {
		t.err = errHeadTop
		return 0, t.err
	}
	n, err := t.src.Read(p[:min(len(p), room)])
	t.head = append(t.head, p[:n]...)
	t.err = err
	return n, err
}

// next reads a request and its Host headers. If the connection is to blame for an
// error, h.err says how.
func (h *hearing) next() (*http.Request, []string, error) {
	held, _ := h.in.Peek(h.in.Buffered())
	h.head = append(make([]byte, 0, 512), held...)
	defer func() {
		clear(h.head) // it has seen a ticket
		h.head = nil
	}()
	r, err := http.ReadRequest(h.in)
	if err != nil {
		return nil, nil, errHead
	}
	hosts, err := hostsOf(h.head[:len(h.head)-h.in.Buffered()])
	if err != nil {
		return nil, nil, err
	}
	for name, values := range r.Header {
		for _, value := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
				return nil, nil, errHead
			}
		}
	}
	if r.ProtoMajor != 1 {
		return nil, nil, errHead
	}
	return r, hosts, nil
}

// hostsOf asks the parser behind http.ReadRequest once more, for what that one keeps
// to itself. Folded lines, which are obsolete, are where parsers differ.
func hostsOf(head []byte) ([]string, error) {
	if bytes.Contains(head, []byte("\n ")) || bytes.Contains(head, []byte("\n\t")) {
		return nil, errHead
	}
	lines := textproto.NewReader(bufio.NewReader(bytes.NewReader(head)))
	if _, err := lines.ReadLine(); err != nil {
		return nil, errHead
	}
	header, err := lines.ReadMIMEHeader()
	if err != nil {
		return nil, errHead
	}
	return header["Host"], nil
}

// serveHTTP1 answers what is no tunnel itself. A nil Negotiation means that all has
// been said.
func (c *Carrier) serveHTTP1(ctx context.Context, door *tunnel.Door) tunnel.Negotiation {
	n := &negotiation{peer: door.Peer(), voice: doorVoice{door}}
	n.peer.Carrier = CarrierHTTP1
	heard := newHearing(door)
	for asked := 0; ; asked++ {
		r, hosts, err := heard.next()
		switch {
		case err != nil && asked > 0 && errors.Is(heard.err, io.EOF):
			return n // asked for a ticket, it has none: as the wish still says
		case err != nil:
			n.wish = wish{refusal: unheard(door, heard.err, err)}
			return n
		case r.Method == http.MethodConnect:
			n.wish = c.wishOf(r, hosts, false)
			if n.wish.unasked() && asked < maxUnasked-1 {
				if _, err := door.Write(answerTo(n.wish.refusal).http1(r.Method, false)); err == nil {
					continue
				}
			}
			door.Unread(heard.in.Buffered())
			return n
		case c.isDNS(r) && len(hosts) == 1:
			door.Refuse(c.answerDNS(n.peer, r.WithContext(ctx), ownDoor{door}).http1(r.Method, true))
			return nil
		case r.URL.IsAbs():
			door.Refuse(noPlainProxy().http1(r.Method, true))
			return nil
		default:
			door.Refuse(nothingHere().http1(r.Method, true))
			return nil
		}
	}
}

// unheard is the refusal for a request that could not be read: because of the
// connection, if that has failed, or else because it is none.
func unheard(door *tunnel.Door, read, err error) *tunnel.Refusal {
	switch {
	case errors.Is(read, errHeadTop):
		return tooLarge()
	case read != nil:
		return door.Failed("request", read)
	}
	return malformed(err.Error())
}

func tooLarge() *tunnel.Refusal {
	refusal := malformed(errHeadTop.Error())
	refusal.Status, refusal.Label = http.StatusRequestHeaderFieldsTooLarge, tunnel.LabelTooMuch
	return refusal
}

// doorVoice answers on a connection of a request's own.
type doorVoice struct{ door *tunnel.Door }

func (v doorVoice) refuse(a answer) { v.door.Refuse(a.http1(http.MethodConnect, true)) }

func (v doorVoice) succeed() (tunnel.Stream, error) { return v.door.Succeed([]byte(established)) }
