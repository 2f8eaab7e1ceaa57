package ctxsta_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ctxsta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func TestVerbatimRequestGivesATicket(t *testing.T) {
	d := openDoor(t)
	a := d.post(t, "enrolment", verbatim)
	if a.StatusCode != http.StatusOK || !strings.HasSuffix(a.body, "</CtxSTAProtocol>\n") ||
		!strings.Contains(a.body, `<CtxSTAProtocol version="4.0"><ResponseTicket><AuthorityID>STA01</AuthorityID><Ticket>`) ||
		!strings.Contains(a.body, `</Ticket><TicketVersion>40</TicketVersion></ResponseTicket>`) {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	claims := d.claims(t, a)
	if claims.User != `CORP\user2` || claims.App != "Secure Mail" || claims.Device != "" || !claims.Refreshable ||
		claims.Expires.Sub(claims.NotBefore) != 168*time.Hour || len(claims.Data) != 2 ||
		claims.Data[0] != (ticket.Value{Name: "ICAAddress", Value: "mail.example.com:1494"}) {
		t.Errorf("claims are %+v", claims)
	}
	if e := d.audit.last(); e.Client != "enrolment" || e.Ticket != claims.ID || e.Source == "" ||
		e.Text != `STA ticket generated successfully for user "CORP\\user2" for app "Secure Mail"` {
		t.Errorf("audited as %+v", e)
	}
	back := d.post(t, "gw", redeem(a.between("Ticket")))
	if !strings.Contains(back.body, `<ResponseData><AuthorityID>STA01</AuthorityID><TicketData>`+
		`<Value name="ICAAddress">mail.example.com:1494</Value><Value name="XData">&lt;?xml version=&#34;1.0&#34;?&gt;`) {
		t.Errorf("redeemed as %s", back.body)
	}
	log := d.logged()
	log[0].Took, log[1].Took = 0, 0
	log[0].Source, log[1].Source = "", ""
	if log[0] != (ctxsta.Access{Client: "enrolment", Method: "POST", Route: ctxsta.Path, Message: "RequestTicket", Ticket: claims.ID, Status: 200}) ||
		log[1] != (ctxsta.Access{Client: "gw", Method: "POST", Route: ctxsta.Path, Message: "RequestData", Ticket: claims.ID, Status: 200}) {
		t.Errorf("logged as %+v", log)
	}
}

func TestEveryTicketVersion(t *testing.T) {
	d := openDoor(t)
	for allowed, want := range map[string]string{"STA-v1": "10", "STA-v2": "20", "STA-v3": "22", "STA-v4": "40"} {
		for _, protocol := range []string{"1.0", "4.0"} {
			body := strings.ReplaceAll(strings.ReplaceAll(verbatim, "STA-v4", allowed), `"4.0"`, `"`+protocol+`"`)
			a := d.post(t, "enrolment", body)
			if a.between("TicketVersion") != want || !strings.Contains(a.body, `<CtxSTAProtocol version="`+protocol+`">`) {
				t.Errorf("%s over %s: %s", allowed, protocol, a.body)
			}
		}
	}
}

func TestLifetimes(t *testing.T) {
	d := openDoor(t, func(o *ctxsta.Options) { o.MaxLifetime = 168 * time.Hour })
	short := strings.Replace(verbatim, "<Refreshable>true", "<Refreshable>false", 1)
	silent := strings.Replace(verbatim, "<Control><Refreshable>true</Refreshable></Control>", "", 1)
	for _, test := range []struct {
		client, body string
		want         time.Duration
	}{
		{"enrolment", short, 100 * time.Second}, {"enrolment", silent, 100 * time.Second}, {"enrolment", verbatim, 168 * time.Hour},
		{"short", short, 7 * time.Second}, {"short", verbatim, 7 * time.Second},
	} {
		claims := d.claims(t, d.post(t, test.client, test.body))
		if got := claims.Expires.Sub(claims.NotBefore); got != test.want || claims.Refreshable != (test.body == verbatim) {
			t.Errorf("%s: lives %s, refreshable %t", test.client, got, claims.Refreshable)
		}
	}
	brief := openDoor(t, func(o *ctxsta.Options) { o.MaxLifetime, o.NonRefreshableLifetime = time.Minute, 2*time.Minute })
	claims := brief.claims(t, brief.post(t, "enrolment", short))
	if got := claims.Expires.Sub(claims.NotBefore); got != time.Minute {
		t.Errorf("below the authority's bound: %s", got)
	}
}

func TestNamesComeOutRight(t *testing.T) {
	d := openDoor(t)
	named := func(declaration, name string) string {
		return declaration + `<CtxSTAProtocol version="4.0"><RequestTicket><TicketData><Value name="DeviceID">gerät</Value><Value name="XData">` +
			`&lt;CtxConnInfo&gt;&lt;UserName&gt;` + name + `&lt;/UserName&gt;&lt;/CtxConnInfo&gt;</Value></TicketData></RequestTicket></CtxSTAProtocol>`
	}
	const name = "Jürgen Groß €"
	latin1 := strings.NewReplacer("ä", "\xe4", "ü", "\xfc", "ß", "\xdf", "€", "&#8364;")
	for what, body := range map[string]string{
		"UTF-8":         named(`<?xml version="1.0" encoding="utf-8"?>`, name),
		"undeclared":    named("", name),
		"marked":        named("\ufeff", name),
		"escaped once":  named("", "J&#xFC;rgen Gro&#223; &#x20AC;"),
		"escaped twice": named("", "J&amp;#xFC;rgen Gro&amp;#223; &amp;#x20AC;"),
		"Latin 1":       latin1.Replace(named(`<?xml version="1.0" encoding="ISO-8859-1"?>`, name)),
	} {
		a := d.post(t, "enrolment", body)
		claims := d.claims(t, a)
		if claims.User != name || claims.Device != "gerät" || d.audit.last().User != name {
			t.Errorf("%s: %q of %q", what, claims.Device, claims.User)
		}
		if back := d.post(t, "gw", redeem(a.between("Ticket"))); !strings.Contains(back.body, `<Value name="DeviceID">gerät</Value>`) {
			t.Errorf("%s: %s", what, back.body)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	d := openDoor(t)
	var many strings.Builder
	for i := range ticket.MaxData + 1 {
		fmt.Fprintf(&many, `<Value name="v%d">x</Value>`, i)
	}
	data := func(values string) string {
		return message("<RequestTicket><TicketData>" + values + "</TicketData></RequestTicket>")
	}
	for name, test := range map[string]struct {
		client, body string
		status       int
		errorID      string
	}{
		"may not issue":      {"gw", verbatim, 403, "forbidden"},
		"may not redeem":     {"enrolment", redeem(ticket.NewHandle().Reveal()), 403, "forbidden"},
		"nor ask nonsense":   {"enrolment", redeem("nonsense"), 403, "forbidden"},
		"unknown message":    {"desk", message("<RequestWorld/>"), 200, "not_supported"},
		"unknown protocol":   {"desk", strings.Replace(verbatim, `"4.0"`, `"7.0"`, 1), 200, "not_supported"},
		"no XML":             {"desk", "ticket please", 400, "invalid_request"},
		"empty":              {"desk", "", 400, "invalid_request"},
		"too many values":    {"desk", data(many.String()), 200, "too_large"},
		"too large values":   {"desk", data(`<Value name="a">` + strings.Repeat("x", ticket.MaxDataBytes) + `</Value>`), 200, "too_large"},
		"too long a user":    {"desk", strings.Replace(verbatim, "user2", strings.Repeat("u", ticket.MaxText), 1), 200, "too_large"},
		"bidi in the user":   {"desk", strings.Replace(verbatim, "user2", "us\u202eer", 1), 200, "invalid_request"},
		"control in a value": {"desk", data(`<Value name="a">x&#10;y</Value>`), 200, "invalid_request"},
		"XData of no XML":    {"desk", data(`<Value name="XData">user2</Value>`), 200, "invalid_request"},
		"bomb in XData": {"desk", data(`<Value name="XData">&lt;!DOCTYPE r [&lt;!ENTITY a "b"&gt;]&gt;&lt;CtxConnInfo&gt;&lt;UserName&gt;&amp;a;` +
			`&lt;/UserName&gt;&lt;/CtxConnInfo&gt;</Value>`), 200, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.post(t, test.client, test.body)
			if a.StatusCode != test.status || a.between("ErrorId") != test.errorID || a.between("Ticket") != "" {
				t.Errorf("%d %s; want %d %s", a.StatusCode, a.body, test.status, test.errorID)
			}
		})
	}
}

func TestXDataThatDoesNotFitGivesItsUserAllTheSame(t *testing.T) {
	d := openDoor(t)
	body := strings.Replace(verbatim, "&lt;/CtxConnInfo", "&lt;Comment&gt;"+strings.Repeat("x", 4000)+"&lt;/Comment&gt;&lt;/CtxConnInfo", 1)
	claims := d.claims(t, d.post(t, "enrolment", body))
	if claims.User != `CORP\user2` || claims.App != "Secure Mail" || len(claims.Data) != 1 || claims.Data[0].Name != "ICAAddress" {
		t.Errorf("claims are %+v", claims)
	}
}

// A ticket without anybody's name is what an old client asks for.
func TestTicketForNobody(t *testing.T) {
	d := openDoor(t)
	claims := d.claims(t, d.post(t, "enrolment", `<CtxSTAProtocol version="1.0"><RequestTicket><AllowedTicketType>STA-v1</AllowedTicketType>`+
		`<TicketData><Value name="ICAAddress">mail.example.com:443</Value></TicketData></RequestTicket></CtxSTAProtocol>`))
	if claims.User != "" || claims.Device != "" || claims.App != "" || len(claims.Data) != 1 {
		t.Errorf("claims are %+v", claims)
	}
}

// changed gives s with another character at i.
func changed(s string, i int) string {
	with := "A"
	if s[i] == 'A' {
		with = "B"
	}
	return s[:i] + with + s[i+1:]
}

func TestBadTicketsAreAllAlike(t *testing.T) {
	d := openDoor(t)
	ask := func(handle string) *answer {
		a := d.post(t, "gw", redeem(handle))
		a.Header.Del("Date")
		return a
	}
	issue := func(body string) string { return d.post(t, "enrolment", body).between("Ticket") }
	good := issue(verbatim)
	revoked := issue(verbatim)
	desk := &sta.Client{Name: "desk", May: sta.MayRevoke}
	if _, err := d.authority.Revoke(t.Context(), desk, sta.RevokeRequest{Ticket: d.audit.last().Ticket}); err != nil {
		t.Fatal(err)
	}
	answers := map[string]*answer{
		"unknown": ask(ticket.NewHandle().Reveal()), "one bit off": ask(changed(good, 31)), "revoked": ask(revoked),
		"malformed": ask("nonsense"), "lower case": ask(strings.ToLower(good)), "empty": ask(""), "long": ask(good + good),
	}
	expired := issue(strings.Replace(verbatim, "<Refreshable>true", "<Refreshable>false", 1))
	d.ahead.Store(int64(101 * time.Second))
	answers["expired"] = ask(expired)

	swapped := d.post(t, "enrolment", verbatim)
	handle, _ := ticket.ParseHandle(swapped.between("Ticket"))
	record, err := d.store.ByHash(t.Context(), handle.Hash())
	if err != nil {
		t.Fatal(err)
	}
	d.store.give.Store(record)
	answers["another's record"] = ask(good)
	forged := record.Clone()
	forged.Statement = changed(forged.Statement, len(forged.Statement)-20)
	d.store.give.Store(forged)
	answers["forged"] = ask(handle.Reveal())
	d.store.give.Store(nil)

	if a := ask(good); !strings.Contains(a.body, "<TicketData>") {
		t.Errorf("the good one is answered %s", a.body)
	}
	first := answers["unknown"]
	if first.StatusCode != 200 || first.between("ErrorId") != string(ticket.Unknown) {
		t.Errorf("%d %s", first.StatusCode, first.body)
	}
	for name, a := range answers {
		if a.body != first.body || a.StatusCode != first.StatusCode || fmt.Sprint(a.Header) != fmt.Sprint(first.Header) {
			t.Errorf("%s is answered otherwise: %d %v %s", name, a.StatusCode, a.Header, a.body)
		}
	}
	reasons := make(map[ticket.Reason]int)
	for _, a := range d.logged() {
		reasons[a.Reason]++
		if a.Err != nil && strings.Contains(a.Err.Error(), good) {
			t.Errorf("the log shows the ticket: %v", a.Err)
		}
	}
	for _, reason := range []ticket.Reason{
		ticket.Unknown, ticket.Revoked, ticket.Malformed, ticket.Expired, ticket.Mismatch, ticket.BadSignature,
	} {
		if reasons[reason] == 0 {
			t.Errorf("the log has no %s among %v", reason, reasons)
		}
	}
}

func TestWhoIsThere(t *testing.T) {
	d := openDoor(t)
	for _, name := range []string{"STAInfo", "STAID", "AuthorityInfo", "AuthorityID", "ProtocolInfo", "Capabilities", "Ping"} {
		for _, client := range []string{"enrolment", "gw"} {
			a := d.post(t, client, message("<Request"+name+"/>"))
			if a.StatusCode != 200 || a.between("Response"+name) != "<AuthorityID>STA01</AuthorityID>" {
				t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
			}
		}
	}
}

func TestAnythingButPostIs406WithoutAKey(t *testing.T) {
	d := openDoor(t)
	for _, path := range []string{"/Scripts/CtxSTA.dll", "/scripts/ctxsta.dll", "/SCRIPTS/CTXSTA.DLL?x=y"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"} {
			for name, header := range map[string]http.Header{"nobody": {}, "a client": d.as("desk")} {
				a := d.send(t, method, path, http.NoBody, header)
				if a.StatusCode != http.StatusNotAcceptable {
					t.Errorf("%s %s by %s: %d", method, path, name, a.StatusCode)
				}
				if method != "HEAD" {
					checkAnswer(t, a)
				}
			}
		}
	}
	for _, a := range d.logged() {
		if a.Client != "" || a.Route != ctxsta.Path || a.Status != 406 || a.Reason != ticket.MethodNotAllowed ||
			a.Method != "GET" && a.Method != "HEAD" && a.Method != "other" {
			t.Errorf("logged as %+v", a)
		}
	}
}

func TestStrangersLearnNothing(t *testing.T) {
	d := openDoor(t)
	good := d.keys["desk"].Reveal()
	known := d.post(t, "enrolment", verbatim).between("Ticket")
	var first *answer
	for _, path := range []string{"/Scripts/CtxSTA.dll", "/scripts/ctxsta.dll", "/v1/tickets"} {
		for _, keys := range [][]string{nil, {""}, {"x"}, {good[:43]}, {good + "="}, {good, good}, {"Bearer " + good}, {d.keys["stranger"].Reveal()}} {
			for _, body := range []string{verbatim, redeem(known)} {
				header := http.Header{"X-Citrix-Xmlservicekey": keys, "Content-Type": {"text/plain"}}
				a := d.send(t, "POST", path, strings.NewReader(body), header)
				a.Header.Del("Date")
				if first == nil {
					first = a
				}
				if a.StatusCode != http.StatusUnauthorized || a.body != first.body || fmt.Sprint(a.Header) != fmt.Sprint(first.Header) {
					t.Fatalf("POST %s with %d keys: %d %v %s", path, len(keys), a.StatusCode, a.Header, a.body)
				}
			}
		}
	}
	checkAnswer(t, first)
	if first.between("ErrorId") != string(ticket.Unauthenticated) || strings.Contains(fmt.Sprint(first.Header), "Citrix") {
		t.Errorf("%v %s", first.Header, first.body)
	}
	if a := d.send(t, "GET", "/", nil, http.Header{}); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("GET of another address: %d", a.StatusCode)
	}
	if a := d.send(t, "POST", "/v1/tickets", strings.NewReader(verbatim), d.as("desk")); a.StatusCode != http.StatusNotFound {
		t.Errorf("a client at another address: %d", a.StatusCode)
	}
	for _, a := range d.logged() {
		if strings.Contains(fmt.Sprintf("%+v", a), good) || strings.Contains(fmt.Sprintf("%+v", a), known) {
			t.Errorf("the log shows a secret: %+v", a)
		}
	}
}

func TestUnavailableSaysWhenToComeBackAndNoMore(t *testing.T) {
	d := openDoor(t)
	d.audit.fail(errors.New("/secret/path: no space left on device"))
	a := d.post(t, "enrolment", verbatim)
	if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || a.between("ErrorId") != "unavailable" || strings.Contains(a.body, "secret") {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	if log := d.logged(); log[0].Err == nil || !strings.Contains(log[0].Err.Error(), "no space left") {
		t.Errorf("logged as %+v", log[0])
	}
}

// A document type may say where its definition is, and an entity might. Neither
// is ever fetched.
func TestNothingIsFetched(t *testing.T) {
	d := openDoor(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dialled := make(chan bool, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_ = conn.Close()
		}
		dialled <- err == nil
	}()
	at := "http://" + listener.Addr().String() + "/x"
	pointing := strings.Replace(verbatim, `"CtxSTA.dtd"`, `"`+at+`"`, 1)
	if a := d.post(t, "enrolment", pointing); a.between("Ticket") == "" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	for _, subset := range []string{
		`[<!ENTITY x SYSTEM "` + at + `">]`, `[<!ENTITY % x SYSTEM "` + at + `"> %x;]`, `SYSTEM "` + at + `" [<!ENTITY x "y">]`,
	} {
		body := strings.Replace(strings.Replace(verbatim, `SYSTEM "CtxSTA.dtd"`, subset, 1), "mail.example.com", "&x;", 1)
		if a := d.post(t, "enrolment", body); a.StatusCode != 400 {
			t.Errorf("%s: %d %s", subset, a.StatusCode, a.body)
		}
	}
	_ = listener.Close()
	if <-dialled {
		t.Error("somebody went and looked")
	}
}
