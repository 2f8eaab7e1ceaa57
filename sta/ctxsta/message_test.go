package ctxsta

import (
	"reflect"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sta/ticket"
)

// published is a request as it was seen in public, blanks and line ends included.
const published = "<?xml version=\"1.0\"?>\n" + `<!DOCTYPE CtxSTAProtocol SYSTEM "CtxSTA.dtd">
<CtxSTAProtocol version="4.0">
<RequestTicket>
<AllowedTicketType>STA-v4</AllowedTicketType>
<AllowedAuthorityIDType>STA-v1</AllowedAuthorityIDType>
<TicketData>
<Value name="ICAAddress">172.19.0.49:1494</Value>
<Value name="XData">
&lt;?xml version=&quot;1.0&quot;?&gt;&lt;!--DOCTYPE CtxConnInfoProtocol SYSTEM &quot;CtxConnInfo.dtd&quot;--&gt;&lt;CtxConnInfo version=&quot;1.0&quot;&gt;&lt;ServerAddress&gt;172.19.0.49:1494&lt;/ServerAddress&gt;&lt;UserName&gt;administrator&lt;/UserName&gt;&lt;UserDomain&gt;xendesktop&lt;/UserDomain&gt;&lt;ApplicationName&gt;Notepad&lt;/ApplicationName&gt;&lt;Protocol&gt;ICA&lt;/Protocol&gt;&lt;/CtxConnInfo&gt; </Value>
</TicketData>
<Control>
<Refreshable>true</Refreshable>
</Control>
</RequestTicket>
</CtxSTAProtocol> `

func TestPublishedRequest(t *testing.T) {
	r, err := parseRequest([]byte(published), unstated)
	if err != nil {
		t.Fatal(err)
	}
	if r.protocol != "4.0" || r.message != requestTicket || r.ticket.version != 40 || !r.ticket.refreshable ||
		len(r.ticket.values) != 2 || r.ticket.value("ICAAddress") != "172.19.0.49:1494" {
		t.Errorf("read as %+v", r)
	}
	who, err := parseConnInfo(r.ticket.value(valueXData))
	if err != nil || who != (connInfo{"administrator", "xendesktop", "Notepad"}) {
		t.Errorf("for %+v, %v", who, err)
	}
}

// envelope puts a message into an envelope of this version.
func envelope(version, message string) string {
	return prologue + `<CtxSTAProtocol version="` + version + `">` + message + `</CtxSTAProtocol>`
}

func TestTicketVersions(t *testing.T) {
	allow := func(types ...string) string {
		var s strings.Builder
		for _, name := range types {
			s.WriteString("<AllowedTicketType>" + name + "</AllowedTicketType>")
		}
		return "<RequestTicket>" + s.String() + "<TicketData/></RequestTicket>"
	}
	for _, test := range []struct {
		protocol, message string
		want              int
	}{
		{"1.0", allow("STA-v1"), 10}, {"4.0", allow("STA-v1"), 10}, {"4.0", allow("STA-v2"), 20},
		{"4.0", allow("STA-v3"), 22}, {"4.0", allow("STA-v4"), 40}, {"1.0", allow("STA-v4"), 40},
		{"1.0", allow(), 10}, {"2.0", allow(), 20}, {"2.2", allow(), 22}, {"4.0", allow(), 40},
		{"4.0", allow("STA-v1", "STA-v4", "STA-v2"), 40}, {"4.0", allow("STA-v9", "STA-v1"), 10},
		{"4.0", `<RequestTicket/>`, 40},
	} {
		r, err := parseRequest([]byte(envelope(test.protocol, test.message)), unstated)
		if err != nil || r.ticket.version != test.want || r.protocol != test.protocol || r.ticket.refreshable {
			t.Errorf("%s %s: %+v, %v", test.protocol, test.message, r, err)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	handle := ticket.NewHandle().Reveal()
	for name, test := range map[string]struct {
		document string
		want     ticket.Reason
		message  string
	}{
		"another protocol":   {`<NFuseProtocol version="4.0"><RequestTicket/></NFuseProtocol>`, ticket.Invalid, ""},
		"no message":         {envelope("4.0", ""), ticket.Invalid, ""},
		"two messages":       {envelope("4.0", "<RequestTicket/><RequestTicket/>"), ticket.Invalid, ""},
		"unknown message":    {envelope("4.0", "<RequestWorld/>"), ticket.NotSupported, ""},
		"an answer":          {envelope("4.0", "<ResponseTicket/>"), ticket.NotSupported, ""},
		"other case":         {envelope("4.0", "<requestticket/>"), ticket.NotSupported, ""},
		"unknown protocol":   {envelope("9.9", "<RequestTicket/>"), ticket.NotSupported, ""},
		"no protocol":        {`<CtxSTAProtocol><RequestTicket/></CtxSTAProtocol>`, ticket.NotSupported, ""},
		"unknown type":       {envelope("4.0", "<RequestTicket><AllowedTicketType>STA-v9</AllowedTicketType></RequestTicket>"), ticket.NotSupported, requestTicket},
		"empty type":         {envelope("4.0", "<RequestTicket><AllowedTicketType/></RequestTicket>"), ticket.NotSupported, requestTicket},
		"type twice":         {envelope("4.0", strings.Replace("<RequestTicket>A</RequestTicket>", "A", strings.Repeat("<AllowedTicketType>STA-v4</AllowedTicketType>", 2), 1)), ticket.Invalid, requestTicket},
		"unknown ID type":    {envelope("4.0", "<RequestTicket><AllowedAuthorityIDType>STA-v9</AllowedAuthorityIDType></RequestTicket>"), ticket.NotSupported, requestTicket},
		"data twice":         {envelope("4.0", "<RequestTicket><TicketData/><TicketData/></RequestTicket>"), ticket.Invalid, requestTicket},
		"control twice":      {envelope("4.0", "<RequestTicket><Control/><Control/></RequestTicket>"), ticket.Invalid, requestTicket},
		"refreshable twice":  {envelope("4.0", "<RequestTicket><Control><Refreshable>true</Refreshable><Refreshable>false</Refreshable></Control></RequestTicket>"), ticket.Invalid, requestTicket},
		"refreshable maybe":  {envelope("4.0", "<RequestTicket><Control><Refreshable>1</Refreshable></Control></RequestTicket>"), ticket.Invalid, requestTicket},
		"value without name": {envelope("4.0", "<RequestTicket><TicketData><Value>x</Value></TicketData></RequestTicket>"), ticket.Invalid, requestTicket},
		"value twice":        {envelope("4.0", `<RequestTicket><TicketData><Value name="a">x</Value><Value name="a">x</Value></TicketData></RequestTicket>`), ticket.Invalid, requestTicket},
		"value of elements":  {envelope("4.0", `<RequestTicket><TicketData><Value name="a"><b/></Value></TicketData></RequestTicket>`), ticket.Invalid, requestTicket},
		"no value":           {envelope("4.0", `<RequestTicket><TicketData><Price name="a">x</Price></TicketData></RequestTicket>`), ticket.Invalid, requestTicket},
		"no ticket":          {envelope("4.0", "<RequestData/>"), ticket.Malformed, requestData},
		"short ticket":       {envelope("4.0", "<RequestData><Ticket>ABC</Ticket></RequestData>"), ticket.Malformed, requestData},
		"ticket twice":       {envelope("4.0", "<RequestData><Ticket>"+handle+"</Ticket><Ticket>"+handle+"</Ticket></RequestData>"), ticket.Invalid, requestData},
		"ticket of elements": {envelope("4.0", "<RequestData><Ticket><a/></Ticket></RequestData>"), ticket.Invalid, requestData},
		"ticket version":     {envelope("4.0", "<RequestData><Ticket>"+handle+"</Ticket><TicketVersion>41</TicketVersion></RequestData>"), ticket.NotSupported, requestData},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := parseRequest([]byte(test.document), unstated)
			if ticket.ReasonOf(err) != test.want || r.message != test.message {
				t.Errorf("message %q, %v; want %q, %s", r.message, err, test.message, test.want)
			}
			if err != nil && strings.Contains(err.Error(), handle) {
				t.Error("the error shows the ticket")
			}
		})
	}
}

func TestConnInfo(t *testing.T) {
	for xdata, want := range map[string]connInfo{
		`<CtxConnInfo/>`: {},
		`<?xml version="1.0" encoding="utf-16"?><CtxConnInfo><UserName>Jürgen €</UserName></CtxConnInfo>`:                    {user: "Jürgen €"},
		`<!DOCTYPE CtxConnInfoProtocol SYSTEM "CtxConnInfo.dtd"><CtxConnInfo><UserDomain>D</UserDomain></CtxConnInfo>`:       {domain: "D"},
		`<CtxConnInfo version="1.0"><ApplicationName>A &amp; B</ApplicationName><Future><x/></Future></CtxConnInfo>`:         {app: "A & B"},
		`<CtxConnInfo><UserName>` + "\n u \n" + `</UserName><UserDomain></UserDomain><Protocol>ICA</Protocol></CtxConnInfo>`: {user: "u"},
	} {
		if got, err := parseConnInfo(xdata); err != nil || got != want {
			t.Errorf("%s is %+v, %v", xdata, got, err)
		}
	}
	refused := bombs()
	refused["two users"] = `<CtxConnInfo><UserName>a</UserName><UserName>b</UserName></CtxConnInfo>`
	refused["user of elements"] = `<CtxConnInfo><UserName><a/></UserName></CtxConnInfo>`
	refused["cut user"] = `<CtxConnInfo><UserName>admin<!-- x -->istrator</UserName></CtxConnInfo>`
	refused["another document"] = `<ConnInfo/>`
	refused["no document"] = `administrator`
	for name, xdata := range refused {
		if got, err := parseConnInfo(xdata); ticket.ReasonOf(err) != ticket.Invalid {
			t.Errorf("%s is %+v, %v", name, got, err)
		}
	}
}

func TestFullUser(t *testing.T) {
	for want, who := range map[string]connInfo{
		"":                 {domain: "CORP"},
		"user":             {user: "user"},
		`CORP\user`:        {user: "user", domain: "CORP"},
		"user@example.com": {user: "user", domain: "example.com"},
		"u@example.com":    {user: "u@example.com", domain: "CORP"},
		`OTHER\user`:       {user: `OTHER\user`, domain: "CORP"},
		`FIRMA\jürgen`:     {user: "jürgen", domain: "FIRMA"},
	} {
		if got := who.fullUser(); got != want {
			t.Errorf("%+v is %q, want %q", who, got, want)
		}
	}
}

func TestWhatIsKeptOfXData(t *testing.T) {
	who := connInfo{"user", "CORP", "Secure Mail"}
	address := ticket.Value{Name: "ICAAddress", Value: "a:1494"}
	with := func(xdata string, others ...ticket.Value) []ticket.Value {
		request := ticketRequest{values: append(others, ticket.Value{Name: valueXData, Value: xdata})}
		return request.kept(who)
	}
	if got := with(who.encode(), address); len(got) != 2 {
		t.Errorf("small XData: %v", got)
	}
	if got := with("<CtxConnInfo>\n</CtxConnInfo>", address); !reflect.DeepEqual(got, []ticket.Value{address}) {
		t.Errorf("XData of two lines: %v", got)
	}
	if got := with(strings.Repeat("x", maxWithXData), address); !reflect.DeepEqual(got, []ticket.Value{address}) {
		t.Errorf("large XData: %d", len(got))
	}
	if got := with(who.encode(), make([]ticket.Value, ticket.MaxData)...); len(got) != ticket.MaxData {
		t.Errorf("one value too many: %d", len(got))
	}
}

func TestPathInAnyCase(t *testing.T) {
	for path, want := range map[string]bool{
		"/Scripts/CtxSTA.dll": true, "/scripts/ctxsta.dll": true, "/SCRIPTS/CTXSTA.DLL": true,
		"/scripts/ctxsta.dll/": false, "/": false, "": false, "/ſcripts/ctxsta.dll": false, "/scrİpts/ctxsta.dll": false,
		"/scripts//ctxsta.dll": false, "/scripts/ctxsta.dlI": false,
	} {
		if IsPath(path) != want {
			t.Errorf("%q: %t", path, !want)
		}
	}
	if !IsPath(Path) {
		t.Error("Path is not the path")
	}
}
