package ctxsta

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sallyport/sallyport/sta/ticket"
)

// checkTree fails for a tree that is over its bounds.
func checkTree(t *testing.T, root *element) {
	t.Helper()
	elements := 0
	var walk func(e *element, depth int)
	walk = func(e *element, depth int) {
		elements++
		if depth > maxDepth || len(e.attributes) > maxAttributes || len(e.name) > maxName || len(e.text) > maxText {
			t.Fatalf("over a bound: %+v", e)
		}
		if !utf8.ValidString(e.text) || e.text != strings.Trim(e.text, space) || e.text != "" && len(e.children) > 0 {
			t.Fatalf("text %q", e.text)
		}
		for _, c := range e.children {
			walk(c, depth+1)
		}
	}
	walk(root, 1)
	if elements > maxElements {
		t.Fatalf("%d elements", elements)
	}
}

func seed(f *testing.F) {
	for _, bomb := range bombs() {
		f.Add([]byte(bomb))
	}
	f.Add([]byte(published))
	f.Add([]byte(envelope("1.0", `<RequestTicket><TicketData><Value name="a&lt;">&#10;x]]&gt;</Value></TicketData></RequestTicket>`)))
	f.Add([]byte(envelope("2.2", "<RequestData><Ticket>6C0E28AB2BC545B98DEB2EA45F6D9E0A</Ticket><TicketVersion>22</TicketVersion></RequestData>")))
	f.Add([]byte(envelope("4.0", "<RequestSTAInfo/>")))
	f.Add([]byte(envelope("4.0", "<ResponseTicket><AuthorityID>STA475DE9C8ABDA</AuthorityID><Ticket>6C0E28AB2BC545B98DEB2EA45F6D9E0A</Ticket><TicketVersion>40</TicketVersion></ResponseTicket>")))
	f.Add([]byte(envelope("4.0", `<ResponseData><TicketData><Value name="CGPAddress">h:2598</Value></TicketData></ResponseData>`)))
	f.Add([]byte(envelope("4.0", "<ResponseData><ErrorId>unspecified</ErrorId></ResponseData>")))
	f.Add([]byte(`<CtxConnInfo><UserName>J&#xfc;rgen</UserName><UserDomain>D</UserDomain><ApplicationName>A</ApplicationName></CtxConnInfo>`))
	f.Add([]byte("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><CtxSTAProtocol version='4.0'><RequestTicket><TicketData><Value name='\xfc'>\xe4</Value></TicketData></RequestTicket></CtxSTAProtocol>"))
}

func FuzzParseXML(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, document []byte) {
		text, err := toUTF8(document, unstated)
		if err != nil {
			return
		}
		if root, err := parseXML(text); err == nil {
			checkTree(t, root)
		}
	})
}

// What was read of a request, written and read again is the same.
func FuzzParseRequest(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, document []byte) {
		r, err := parseRequest(document, unstated)
		if err != nil {
			if ticket.ReasonOf(err) == ticket.Unavailable {
				t.Fatalf("a refusal without a reason: %v", err)
			}
			return
		}
		again, err := parseRequest(r.encode(), utf8Charset)
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzParseConnInfo(f *testing.F) {
	f.Add(`<?xml version="1.0"?><CtxConnInfo><UserName>J&#xfc;rgen</UserName><UserDomain>D</UserDomain><ApplicationName>A</ApplicationName></CtxConnInfo>`)
	f.Add(`<CtxConnInfo><UserName>a&#9;&lt;b</UserName></CtxConnInfo>`)
	for _, bomb := range bombs() {
		f.Add(bomb)
	}
	f.Fuzz(func(t *testing.T, xdata string) {
		who, err := parseConnInfo(xdata)
		if err != nil {
			return
		}
		again, err := parseConnInfo(who.encode())
		if err != nil || who != again {
			t.Fatalf("%+v became %+v, %v", who, again, err)
		}
	})
}

// What was read of an answer, written and read again is the same.
func FuzzParseAnswer(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, document []byte) {
		for _, want := range []string{responseTicket, responseData} {
			a, err := parseAnswer(document, unstated, want)
			if err != nil {
				continue
			}
			again, err := parseAnswer(a.encode(), unstated, want)
			if err != nil || !reflect.DeepEqual(a, again) {
				t.Fatalf("%+v became %+v, %v", a, again, err)
			}
		}
	})
}
