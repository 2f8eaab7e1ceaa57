package httpconnect

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sallyport/sallyport/tunnel"
)

const (
	dnsPath = "/dns-query" // RFC 8484 §4.1
	dnsType = "application/dns-message"
	// The gateway's own DNS, as a destination.
	dnsHost = "dns.sallyport.internal"
	dnsPort = 53
	// maxQuestion is the largest message that is taken, and maxReply the largest
	// that DNS over TCP can give, with its length before it (RFC 7766 §8).
	maxQuestion = 4 << 10
	maxReply    = 2 + 1<<16 - 1
	// maxAsking is how many questions of a connection are asked at a time; the others
	// wait. A browser has dozens for one page, and a device may have so many tunnels
	// to the DNS and no more.
	maxAsking = 8
)

// under is the connection that a question came on.
type under interface {
	endpoints
	enter() (*place, bool)
	granted() error
	// asking is full when no further question may be asked; nil if there is but one.
	asking() chan struct{}
}

// ownDoor is a connection with one question on it, which is over then: nothing has to
// be kept.
type ownDoor struct{ *tunnel.Door }

func (ownDoor) enter() (*place, bool) { return nil, true }
func (ownDoor) granted() error        { return nil }
func (ownDoor) asking() chan struct{} { return nil }

func (c *Carrier) isDNS(r *http.Request) bool {
	return c.config.DNS && r.URL.Path == dnsPath && !r.URL.IsAbs()
}

// answerDNS answers a question over HTTPS (RFC 8484). To the server the question is
// a tunnel to the gateway's DNS, in which one question is asked over TCP: so ticket,
// policy, limits and account are what they are for any other.
func (c *Carrier) answerDNS(peer tunnel.Peer, r *http.Request, on under) answer {
	message, status := questionOf(r)
	if status != 0 {
		a := tell(status, "")
		if status == http.StatusMethodNotAllowed {
			a.header.Set("Allow", "GET, POST")
		}
		return a
	}
	credential, err := credentialOf(r.Header, headerAuthorization, headerProxyAuthorization, c.config.Header)
	if err != nil {
		return unauthorized(answerTo(refuseCredential(err)))
	}
	place, free := on.enter()
	if !free {
		return busy()
	}
	q := &question{
		under: on, place: place, peer: peer, wish: wish{
			credential:  credential,
			destination: tunnel.Destination{Host: dnsHost, Port: dnsPort},
		},
		ask:  append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...),
		told: make(chan struct{}), closed: make(chan struct{}),
	}
	timer := time.NewTimer(tunnel.DefaultSetupTimeout)
	defer timer.Stop()
	if !q.waitForTurn(r.Context(), timer.C) || !c.offer(r.Context(), q) {
		_ = q.Close()
		return busy()
	}
	select {
	case <-q.told:
		return q.verdict()
	case <-q.closed:
		return q.verdict()
	case <-r.Context().Done():
	case <-timer.C:
	}
	_ = q.Close()
	return tell(http.StatusGatewayTimeout, sentences[http.StatusGatewayTimeout])
}

// questionOf reads the message of a request, or says with which status it is refused.
func questionOf(r *http.Request) (message []byte, status int) {
	var err error
	switch r.Method {
	case http.MethodGet:
		given := r.URL.Query()["dns"]
		if len(given) != 1 || len(given[0]) > base64.RawURLEncoding.EncodedLen(maxQuestion) {
			return nil, http.StatusBadRequest
		}
		message, err = base64.RawURLEncoding.Strict().DecodeString(given[0])
	case http.MethodPost:
		kind, _, typeErr := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if typeErr != nil || kind != dnsType {
			return nil, http.StatusUnsupportedMediaType
		}
		message, err = io.ReadAll(io.LimitReader(r.Body, maxQuestion+1))
		if len(message) > maxQuestion {
			return nil, http.StatusRequestEntityTooLarge
		}
	default:
		return nil, http.StatusMethodNotAllowed
	}
	if err != nil || !isQuestion(message) {
		return nil, http.StatusBadRequest
	}
	return message, 0
}

// isQuestion tells a query with one question.
func isQuestion(message []byte) bool {
	var p dnsmessage.Parser
	header, err := p.Start(message)
	if err != nil || header.Response {
		return false
	}
	if _, err := p.Question(); err != nil {
		return false
	}
	_, err = p.Question()
	return errors.Is(err, dnsmessage.ErrSectionDone)
}

// leastTTL is for how long a reply may be kept, in seconds: the least of its answers'
// TTLs, or what the zone says of names that have none (RFC 8484 §5.1, RFC 2308 §5).
func leastTTL(reply []byte) (uint32, error) {
	var p dnsmessage.Parser
	if _, err := p.Start(reply); err != nil {
		return 0, err
	}
	if err := p.SkipAllQuestions(); err != nil {
		return 0, err
	}
	answers, err := p.AllAnswers()
	if err != nil {
		return 0, err
	}
	if len(answers) > 0 {
		least := slices.MinFunc(answers, func(a, b dnsmessage.Resource) int { return int(int64(a.Header.TTL) - int64(b.Header.TTL)) })
		return least.Header.TTL, nil
	}
	authorities, err := p.AllAuthorities()
	if err != nil {
		return 0, err
	}
	for _, authority := range authorities {
		if soa, ok := authority.Body.(*dnsmessage.SOAResource); ok {
			return min(authority.Header.TTL, soa.MinTTL), nil
		}
	}
	return 0, nil
}

// question is a tunnel's stream in memory: what it sends is one question, and what it
// takes is the reply.
type question struct {
	under
	place  *place
	peer   tunnel.Peer
	wish   wish
	ask    []byte // what is still to be read; the server's
	settle func() error
	told   chan struct{} // closed when there is a verdict
	closed chan struct{}

	mu    sync.Mutex    // guards the rest
	turn  chan struct{} // whose element it has; nil before
	reply []byte
	said  answer // zero: there is none
	asked bool   // success was told
	over  bool
}

var _ tunnel.Carried = (*question)(nil)

// waitForTurn is true when the question may be asked, until its end.
func (q *question) waitForTurn(ctx context.Context, late <-chan time.Time) bool {
	turn := q.asking()
	if turn == nil {
		return true
	}
	select {
	case turn <- struct{}{}:
		q.mu.Lock()
		q.turn = turn
		q.mu.Unlock()
		return true
	case <-late:
	case <-ctx.Done():
	}
	return false
}

func (q *question) Peer() tunnel.Peer { return q.peer }

func (q *question) Negotiation(a tunnel.Admission) tunnel.Negotiation {
	q.settle = a.Settle
	return &negotiation{peer: a.Peer, wish: q.wish, voice: q}
}

func (q *question) refuse(a answer) {
	q.tell(unauthorized(a))
	_ = q.Close()
}

// unauthorized says as a resource what a proxy would say.
func unauthorized(a answer) answer {
	if a.status == http.StatusProxyAuthRequired {
		return tell(http.StatusUnauthorized, sentences[http.StatusProxyAuthRequired])
	}
	return a
}

func (q *question) succeed() (tunnel.Stream, error) {
	if err := q.settle(); err != nil {
		return nil, err
	}
	if err := q.granted(); err != nil {
		return nil, err
	}
	q.place.settled()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked = true
	return q, nil
}

// tell gives the verdict, once.
func (q *question) tell(a answer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.said.status == 0 {
		q.said = a
		close(q.told)
	}
}

// verdict is what the client is told. A question that nobody took has none, and one
// whose tunnel broke off neither.
func (q *question) verdict() answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.said.status != 0:
		return q.said
	case q.asked:
		return tell(http.StatusBadGateway, sentences[http.StatusBadGateway])
	}
	return busy()
}

// Read gives the question, and its end once the reply is here: DNS over TCP is closed
// by who asks.
func (q *question) Read(p []byte) (int, error) {
	if len(q.ask) > 0 {
		n := copy(p, q.ask)
		q.ask = q.ask[n:]
		return n, nil
	}
	select {
	case <-q.told:
		return 0, io.EOF
	case <-q.closed:
		return 0, net.ErrClosed
	}
}

func (q *question) Write(p []byte) (int, error) {
	q.mu.Lock()
	if q.over {
		q.mu.Unlock()
		return 0, net.ErrClosed
	}
	q.reply = append(q.reply, p[:min(len(p), maxReply-len(q.reply))]...)
	reply := q.reply
	q.mu.Unlock()
	if len(reply) >= 2 && len(reply)-2 >= int(binary.BigEndian.Uint16(reply)) {
		q.tell(replied(reply[2 : 2+int(binary.BigEndian.Uint16(reply))]))
	}
	return len(p), nil
}

func replied(reply []byte) answer {
	ttl, err := leastTTL(reply)
	if err != nil {
		return tell(http.StatusBadGateway, sentences[http.StatusBadGateway])
	}
	return answer{status: http.StatusOK, body: reply, header: http.Header{
		"Content-Type":  {dnsType},
		"Cache-Control": {"private, max-age=" + strconv.FormatUint(uint64(ttl), 10)},
	}}
}

// CloseWrite before there was a whole reply means that there will be none.
func (q *question) CloseWrite() error {
	q.tell(tell(http.StatusBadGateway, sentences[http.StatusBadGateway]))
	return nil
}

func (q *question) Close() error {
	q.end(false)
	return nil
}

// Abort is Close with the consequences of an Abort.
func (q *question) Abort() { q.end(true) }

func (q *question) end(abort bool) {
	q.mu.Lock()
	if !q.over {
		q.over = true
		close(q.closed)
		if q.turn != nil {
			<-q.turn
		}
	}
	q.mu.Unlock()
	q.place.leave(abort)
}

// SetDeadline and its two halves do nothing: who asks waits for so long and no longer.
func (q *question) SetDeadline(time.Time) error      { return nil }
func (q *question) SetReadDeadline(time.Time) error  { return nil }
func (q *question) SetWriteDeadline(time.Time) error { return nil }
