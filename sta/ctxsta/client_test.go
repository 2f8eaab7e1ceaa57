package ctxsta_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ctxsta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func wantReason(t *testing.T, err error, want ticket.Reason) {
	t.Helper()
	var refusal *ticket.Error
	if !errors.As(err, &refusal) || refusal.Reason != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func (d *door) client(t *testing.T, name string) *ctxsta.Client {
	t.Helper()
	c, err := ctxsta.NewClient(ctxsta.ClientConfig{URL: d.server.URL, AuthorityID: "STA01", Key: d.keys[name], TLS: d.tls()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClientAtOurOwnDoor(t *testing.T) {
	d := openDoor(t)
	desk := d.client(t, "desk")
	for version, want := range map[int]int{0: 40, 10: 10, 20: 20, 22: 22, 40: 40} {
		got, err := desk.RequestTicket(t.Context(), ctxsta.TicketRequest{
			Version: version, User: "jürgen", Domain: "example.com", App: "A & <B>", Refreshable: true,
			Data: []ticket.Value{{Name: "CGPAddress", Value: "ämail:2598"}},
		})
		if err != nil || got.Authority != "STA01" || got.Version != want {
			t.Fatalf("%+v, %v", got, err)
		}
		values, err := desk.RequestData(t.Context(), got.Handle, version)
		if err != nil || len(values) != 2 || values[0] != (ticket.Value{Name: "CGPAddress", Value: "ämail:2598"}) ||
			!strings.Contains(values[1].Value, "<ApplicationName>A &amp; &lt;B&gt;</ApplicationName>") {
			t.Errorf("%q, %v", values, err)
		}
		if e := d.audit.last(); e.User != "jürgen@example.com" || e.App != "A & <B>" {
			t.Errorf("audited as %+v", e)
		}
	}
	_, err := desk.RequestData(t.Context(), ticket.NewHandle(), 40)
	wantReason(t, err, ticket.Unknown)
	_, err = desk.RequestData(t.Context(), ticket.Handle{}, 40)
	wantReason(t, err, ticket.Unknown)
	_, err = desk.RequestTicket(t.Context(), ctxsta.TicketRequest{User: "u\u202er"})
	wantReason(t, err, ticket.Invalid)
	_, err = desk.RequestTicket(t.Context(), ctxsta.TicketRequest{Version: 41})
	wantReason(t, err, ticket.Invalid)
	// A wrong key and a missing right say nothing of the ticket.
	for _, name := range []string{"stranger", "enrolment"} {
		_, err = d.client(t, name).RequestData(t.Context(), ticket.NewHandle(), 40)
		wantReason(t, err, ticket.Unavailable)
	}
	d.audit.fail(errors.New("disk full"))
	_, err = desk.RequestTicket(t.Context(), ctxsta.TicketRequest{})
	wantReason(t, err, ticket.Unavailable)
	d.server.Close()
	_, err = desk.RequestData(t.Context(), ticket.NewHandle(), 40)
	wantReason(t, err, ticket.Unavailable)
}

// foreign is an authority of another make: it answers as it is told.
type foreign struct {
	server *httptest.Server
	answer func(w http.ResponseWriter, r *http.Request)
	moved  int // requests to where redirects lead
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	f := new(foreign)
	mux := http.NewServeMux()
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { f.moved++ })
	mux.HandleFunc(ctxsta.Path, func(w http.ResponseWriter, r *http.Request) { f.answer(w, r) })
	f.server = httptest.NewTLSServer(mux)
	t.Cleanup(f.server.Close)
	return f
}

func (f *foreign) says(body string) {
	f.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-type", "text/xml")
		_, _ = w.Write([]byte(body))
	}
}

func (f *foreign) client(t *testing.T, key sta.Key) *ctxsta.Client {
	t.Helper()
	c, err := ctxsta.NewClient(ctxsta.ClientConfig{
		URL: f.server.URL, AuthorityID: "STA475DE9C8ABDA", Key: key, HTTP: f.server.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientAtAForeignAuthority(t *testing.T) {
	f := newForeign(t)
	c := f.client(t, sta.Key{})
	const start = `<?xml version="1.0" encoding="UTF-8" ?>` + "\n" + `<!DOCTYPE CtxSTAProtocol SYSTEM "CtxSTA.dtd">` + "\n" + `<CtxSTAProtocol version="4.0">`
	const handle = "6C0E28AB2BC545B98DEB2EA45F6D9E0A"
	var asked, shown string
	f.answer = func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		asked, shown = string(body), r.Header.Get(ctxsta.DefaultKeyHeader)
		w.Header().Set("Content-type", "text/xml")
		_, _ = w.Write([]byte(start + `<ResponseTicket><AuthorityID>STA475DE9C8ABDA</AuthorityID><Ticket>` + handle +
			`</Ticket><TicketVersion>40</TicketVersion></ResponseTicket></CtxSTAProtocol>` + "\r\n"))
	}
	got, err := c.RequestTicket(t.Context(), ctxsta.TicketRequest{Data: []ticket.Value{{Name: "ICAAddress", Value: "h:1494"}}})
	if err != nil || got.Handle.Reveal() != handle || got.Authority != "STA475DE9C8ABDA" || got.Version != 40 {
		t.Errorf("%+v, %v", got, err)
	}
	if shown != "" || !strings.Contains(asked, `<RequestTicket><AllowedTicketType>STA-v4</AllowedTicketType>`+
		`<AllowedAuthorityIDType>STA-v1</AllowedAuthorityIDType><TicketData><Value name="ICAAddress">h:1494</Value></TicketData>`+
		`<Control><Refreshable>false</Refreshable></Control></RequestTicket>`) {
		t.Errorf("asked by %q: %s", shown, asked)
	}
	f.says(start + `<ResponseData><TicketData><Value name="ICAAddress">h:1494</Value><Value name="CGPAddress">h:2598</Value></TicketData></ResponseData></CtxSTAProtocol>`)
	values, err := c.RequestData(t.Context(), got.Handle, 40)
	if err != nil || len(values) != 2 || values[1] != (ticket.Value{Name: "CGPAddress", Value: "h:2598"}) {
		t.Errorf("%q, %v", values, err)
	}
	for _, no := range []string{
		`<ResponseData><ErrorId>unspecified</ErrorId></ResponseData>`, `<ErrorId>no-such-ticket</ErrorId>`,
		`<ResponseData><AuthorityID>STA475DE9C8ABDA</AuthorityID><ErrorId/></ResponseData>`, `<ResponseError><ErrorId>` + handle + `</ErrorId></ResponseError>`,
	} {
		f.says(start + no + `</CtxSTAProtocol>`)
		_, err := c.RequestData(t.Context(), got.Handle, 40)
		if wantReason(t, err, ticket.Unknown); strings.Contains(err.Error(), handle) {
			t.Errorf("the error shows the ticket: %v", err)
		}
	}
}

// What answers at the address may be no authority, or an evil one.
func TestClientDistrustsAnswers(t *testing.T) {
	f, key := newForeign(t), newKey(t)
	c := f.client(t, key)
	bomb := `<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><CtxSTAProtocol><ResponseData><TicketData><Value name="x">&b;</Value></TicketData></ResponseData></CtxSTAProtocol>`
	good := `<CtxSTAProtocol><ResponseData><TicketData/></ResponseData></CtxSTAProtocol>`
	f.says(good)
	if _, err := c.RequestData(t.Context(), ticket.NewHandle(), 40); err != nil {
		t.Fatal(err)
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/xml")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(good))
		}
	}
	say := func(body string) func(http.ResponseWriter, *http.Request) {
		f.says(body)
		return f.answer
	}
	for name, reply := range map[string]func(http.ResponseWriter, *http.Request){
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
		},
		"page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(good))
		},
		"no key needed": status(401), "forbidden": status(403), "406": status(406), "500": status(500), "204": status(204),
		"bomb":              say(bomb),
		"too large":         say(strings.Repeat(" ", 64<<10) + good),
		"endless":           say(strings.Repeat("<CtxSTAProtocol>", 1<<16)),
		"empty":             say(""),
		"cut off":           say(good[:len(good)-5]),
		"another protocol":  say(`<NFuseProtocol><ResponseData><TicketData/></ResponseData></NFuseProtocol>`),
		"another answer":    say(`<CtxSTAProtocol><ResponseTicket><AuthorityID>STA475DE9C8ABDA</AuthorityID></ResponseTicket></CtxSTAProtocol>`),
		"two answers":       say(`<CtxSTAProtocol><ResponseData><TicketData/></ResponseData><ResponseData><TicketData/></ResponseData></CtxSTAProtocol>`),
		"no data":           say(`<CtxSTAProtocol><ResponseData/></CtxSTAProtocol>`),
		"value twice":       say(`<CtxSTAProtocol><ResponseData><TicketData><Value name="a"/><Value name="a"/></TicketData></ResponseData></CtxSTAProtocol>`),
		"another authority": say(`<CtxSTAProtocol><ResponseData><AuthorityID>STA666</AuthorityID><TicketData/></ResponseData></CtxSTAProtocol>`),
		"its refusal":       say(`<CtxSTAProtocol><ResponseData><AuthorityID>STA666</AuthorityID><ErrorId>x</ErrorId></ResponseData></CtxSTAProtocol>`),
		"not now":           say(`<CtxSTAProtocol><ResponseData><ErrorId>unavailable</ErrorId></ResponseData></CtxSTAProtocol>`),
		"not you":           say(`<CtxSTAProtocol><ResponseData><ErrorId>forbidden</ErrorId></ResponseData></CtxSTAProtocol>`),
	} {
		t.Run(name, func(t *testing.T) {
			f.answer = reply
			handle := ticket.NewHandle()
			_, err := c.RequestData(t.Context(), handle, 40)
			wantReason(t, err, ticket.Unavailable)
			if err != nil && (strings.Contains(err.Error(), key.Reveal()) || strings.Contains(err.Error(), handle.Reveal())) {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
	if f.moved != 0 {
		t.Error("a redirect was followed")
	}
	for name, ticketAnswer := range map[string]string{
		"no ID":       `<Ticket>6C0E28AB2BC545B98DEB2EA45F6D9E0A</Ticket><TicketVersion>40</TicketVersion>`,
		"no ticket":   `<AuthorityID>STA475DE9C8ABDA</AuthorityID><TicketVersion>40</TicketVersion>`,
		"odd ticket":  `<AuthorityID>STA475DE9C8ABDA</AuthorityID><Ticket>6c0e</Ticket><TicketVersion>40</TicketVersion>`,
		"odd version": `<AuthorityID>STA475DE9C8ABDA</AuthorityID><Ticket>6C0E28AB2BC545B98DEB2EA45F6D9E0A</Ticket><TicketVersion>50</TicketVersion>`,
	} {
		f.says(`<CtxSTAProtocol><ResponseTicket>` + ticketAnswer + `</ResponseTicket></CtxSTAProtocol>`)
		if _, err := c.RequestTicket(t.Context(), ctxsta.TicketRequest{}); ticket.ReasonOf(err) != ticket.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClientWaitsNoLongerThanItsContext(t *testing.T) {
	f := newForeign(t)
	release := make(chan struct{})
	f.answer = func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := f.client(t, sta.Key{}).RequestData(ctx, ticket.NewHandle(), 40)
	wantReason(t, err, ticket.Unavailable)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the cause is lost: %v", err)
	}
	close(release)
}

func TestNewClientRefuses(t *testing.T) {
	for _, url := range []string{
		"", "http://sta.example.com", "sta.example.com:443", "https://", "https://u:p@sta.example.com", "https://sta.example.com/?q",
		"https://sta.example.com#f", "://", "ctxsta+https://sta.example.com",
	} {
		if _, err := ctxsta.NewClient(ctxsta.ClientConfig{URL: url}); err == nil {
			t.Errorf("%q was accepted", url)
		}
	}
	if _, err := ctxsta.NewClient(ctxsta.ClientConfig{URL: "https://sta", AuthorityID: "sta1"}); err == nil {
		t.Error("an ID that is none was accepted")
	}
	if _, err := ctxsta.NewClient(ctxsta.ClientConfig{URL: "https://sta", KeyHeader: "a b"}); err == nil {
		t.Error("a header that is none was accepted")
	}
}
