package ctxsta_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ctxsta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// audit keeps events, or fails.
type audit struct {
	mu     sync.Mutex
	events []sta.Event
	err    error
}

func (a *audit) Append(_ context.Context, e sta.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.events = append(a.events, e)
	}
	return a.err
}

func (a *audit) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

func (a *audit) last() sta.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.events[len(a.events)-1]
}

// door is an authority behind its XML door, on loopback.
type door struct {
	authority *sta.Authority
	store     *forgetful
	audit     *audit
	verifier  *ticket.Verifier
	server    *httptest.Server
	keys      map[string]sta.Key // by client
	received  atomic.Int64       // bytes off the wire
	ahead     atomic.Int64       // nanoseconds by which the authority's clock is ahead

	mu     sync.Mutex
	access []ctxsta.Access
}

// forgetful is a store that can be made to give another record than it is asked for.
type forgetful struct {
	sta.Store
	give atomic.Pointer[sta.Record]
}

func (s *forgetful) ByHash(ctx context.Context, hash ticket.Hash) (*sta.Record, error) {
	if r := s.give.Load(); r != nil {
		return r.Clone(), nil
	}
	return s.Store.ByHash(ctx, hash)
}

func newKey(t testing.TB) sta.Key {
	t.Helper()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	keys, err := sta.ParseKeyFile([]byte(base64.StdEncoding.EncodeToString(raw) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return keys[0]
}

func openDoor(t testing.TB, change ...func(*ctxsta.Options)) *door {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	d := &door{audit: &audit{}, keys: make(map[string]sta.Key), store: &forgetful{Store: sta.NewMemoryStore()}}
	files := sta.KeyFiles{Root: filepath.Join(t.TempDir(), "root.key"), Signing: filepath.Join(t.TempDir(), "sta.key")}
	_, err := sta.Init(t.Context(), d.store, "STA01", files, time.Now())
	must(err)
	opened, err := sta.OpenKeys(t.Context(), d.store, "STA01", files.Signing)
	must(err)
	d.verifier, err = ticket.NewVerifier(opened.Set, "gw.example.com", d.now)
	must(err)
	d.authority, err = sta.New(sta.Config{
		ID: "STA01", Audience: []string{"gw.example.com"}, Signer: opened.Signer, Keys: opened.Set, Store: d.store, Audit: d.audit,
		Now: d.now, CutWait: time.Millisecond,
	})
	must(err)
	var configs []sta.ClientConfig
	for name, may := range map[string]sta.Rights{
		"enrolment": sta.MayIssue, "gw": sta.MayRedeem, "desk": sta.MayIssue | sta.MayRedeem,
	} {
		d.keys[name] = newKey(t)
		configs = append(configs, sta.ClientConfig{Name: name, Keys: []sta.Key{d.keys[name]}, May: may})
	}
	d.keys["short"], d.keys["stranger"] = newKey(t), newKey(t)
	configs = append(configs, sta.ClientConfig{
		Name: "short", Keys: []sta.Key{d.keys["short"]}, May: sta.MayIssue, MaxLifetime: 7 * time.Second,
	})
	clients, err := sta.NewClients(configs)
	must(err)
	options := ctxsta.Options{AuthorityID: "STA01", Verify: d.verifier.Verify, Log: d.log}
	for _, c := range change {
		c(&options)
	}
	handler, err := ctxsta.NewHandler(d.authority, clients, options)
	must(err)
	d.server = httptest.NewUnstartedServer(handler)
	d.server.Listener = &countingListener{d.server.Listener, &d.received}
	d.server.EnableHTTP2 = true
	d.server.StartTLS()
	t.Cleanup(d.server.Close)
	return d
}

func (d *door) now() time.Time { return time.Now().Add(time.Duration(d.ahead.Load())) }

func (d *door) log(a ctxsta.Access) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.access = append(d.access, a)
}

// logged waits for nothing: a request is logged before its connection takes the
// next, but after its answer, so it closes the server first.
func (d *door) logged() []ctxsta.Access {
	d.server.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.access
}

// countingListener counts what the server reads off its connections.
type countingListener struct {
	net.Listener
	count *atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{conn, l.count}, nil
}

type countingConn struct {
	net.Conn
	count *atomic.Int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.count.Add(int64(n))
	return n, err
}

func (d *door) tls() *tls.Config {
	return d.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

// answer is what came back, read whole.
type answer struct {
	*http.Response
	body string
}

// between gives what stands in the one element of this name, "" if there is none.
func (a *answer) between(name string) string {
	_, rest, found := strings.Cut(a.body, "<"+name+">")
	if !found {
		return ""
	}
	text, _, _ := strings.Cut(rest, "</"+name+">")
	return text
}

// as gives the header of a client's request.
func (d *door) as(name string) http.Header {
	return http.Header{"X-Citrix-Xmlservicekey": {d.keys[name].Reveal()}, "Content-Type": {"text/xml"}}
}

// send makes a request to any path with any header.
func (d *door) send(t testing.TB, method, path string, body io.Reader, header http.Header) *answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, d.server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	response, err := d.server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, response)
}

func readAnswer(t testing.TB, response *http.Response) *answer {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{response, string(data)}
}

// post sends a message as this client, and checks what is true of every answer.
func (d *door) post(t testing.TB, client, body string) *answer {
	t.Helper()
	a := d.send(t, "POST", "/scripts/CTXSTA.DLL", strings.NewReader(body), d.as(client))
	checkAnswer(t, a)
	return a
}

func checkAnswer(t testing.TB, a *answer) {
	t.Helper()
	const start = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<!DOCTYPE CtxSTAProtocol SYSTEM "CtxSTA.dtd">` + "\n<CtxSTAProtocol version="
	if !strings.HasPrefix(a.body, start) || a.between("AuthorityID") != "STA01" || a.Header.Get("Content-Type") != "text/xml" ||
		a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
}

// dial gives a connection for HTTP/1 in one's own words.
func (d *door) dial(t testing.TB) (net.Conn, *bufio.Reader) {
	t.Helper()
	config := d.tls()
	config.NextProtos = nil
	conn, err := tls.Dial("tcp", d.server.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn, bufio.NewReader(conn)
}

// next reads one answer off such a connection.
func next(t testing.TB, reader *bufio.Reader) *answer {
	t.Helper()
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, response)
}

// claims gives what was stated about the ticket of an answer.
func (d *door) claims(t testing.TB, a *answer) *ticket.Claims {
	t.Helper()
	handle, err := ticket.ParseHandle(a.between("Ticket"))
	if err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	statement, err := d.authority.Redeem(t.Context(), handle.Hash())
	if err != nil {
		t.Fatal(err)
	}
	claims, err := d.verifier.Verify(statement, handle.Hash())
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// verbatim is a request for a ticket as it is known from public traces.
const verbatim = `<?xml version="1.0"?><!DOCTYPE CtxSTAProtocol SYSTEM "CtxSTA.dtd"><CtxSTAProtocol version="4.0">` +
	`<RequestTicket><AllowedTicketType>STA-v4</AllowedTicketType><AllowedAuthorityIDType>STA-v1</AllowedAuthorityIDType>` +
	`<TicketData><Value name="ICAAddress">mail.example.com:1494</Value><Value name="XData">` + xdata + `</Value></TicketData>` +
	`<Control><Refreshable>true</Refreshable></Control></RequestTicket></CtxSTAProtocol>`

const xdata = `&lt;?xml version=&quot;1.0&quot;?&gt;&lt;CtxConnInfo version=&quot;1.0&quot;&gt;&lt;UserName&gt;user2&lt;/UserName&gt;` +
	`&lt;UserDomain&gt;CORP&lt;/UserDomain&gt;&lt;ApplicationName&gt;Secure Mail&lt;/ApplicationName&gt;&lt;/CtxConnInfo&gt;`

// message puts one into the envelope.
func message(text string) string {
	return `<?xml version="1.0"?><!DOCTYPE CtxSTAProtocol SYSTEM "CtxSTA.dtd"><CtxSTAProtocol version="4.0">` + text + `</CtxSTAProtocol>`
}

func redeem(handle string) string {
	return message(`<RequestData><Ticket>` + handle + `</Ticket><TicketVersion>40</TicketVersion></RequestData>`)
}
