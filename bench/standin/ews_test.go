package standin

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const ewsURL = "https://" + ewsHost + "/EWS/Exchange.asmx"

// soap wraps an operation as a client would.
func soap(operation string) string {
	return `<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="` + nsSOAP + `" xmlns:m="` + nsMessages + `" xmlns:t="` + nsTypes +
		`"><soap:Header><t:RequestServerVersion Version="Exchange2013_SP1"/></soap:Header><soap:Body>` + operation + `</soap:Body></soap:Envelope>`
}

const getInbox = `<m:GetFolder><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape><m:FolderIds><t:DistinguishedFolderId Id="inbox"/></m:FolderIds></m:GetFolder>`

// reply is what the tests want of an answer, read by encoding/xml's other half.
type reply struct {
	Version struct {
		Major string `xml:"MajorVersion,attr"`
	} `xml:"Header>ServerVersionInfo"`
	Body struct {
		Fault *struct {
			Code string `xml:"faultcode"`
		}
		Response struct {
			XMLName  xml.Name
			Messages struct {
				All []struct {
					Class  string `xml:"ResponseClass,attr"`
					Code   string `xml:"ResponseCode"`
					Status string `xml:"ConnectionStatus"`
					Sub    string `xml:"SubscriptionId"`
					Total  int    `xml:"Folders>Folder>TotalCount"`
					Root   struct {
						Total    int      `xml:"TotalItemsInView,attr"`
						Last     bool     `xml:"IncludesLastItemInRange,attr"`
						Subjects []string `xml:"Items>Message>Subject"`
					} `xml:"RootFolder"`
					Event struct {
						Sub  string `xml:"SubscriptionId"`
						Item struct {
							ID string `xml:"Id,attr"`
						} `xml:"NewMailEvent>ItemId"`
					} `xml:"Notifications>Notification"`
				} `xml:",any"`
			} `xml:"ResponseMessages"`
		} `xml:",any"`
	}
}

func parseReply(t *testing.T, body string) reply {
	t.Helper()
	var r reply
	if err := xml.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return r
}

func (r running) ews(t *testing.T, operation string) reply {
	t.Helper()
	got := r.do(t, "POST", ewsURL, "text/xml; charset=utf-8", soap(operation))
	if got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	return parseReply(t, got.body)
}

func TestGetFolderCounts(t *testing.T) {
	overBoth(t, func(t *testing.T, r running) {
		for want := range 3 {
			got := r.ews(t, getInbox)
			m := got.Body.Response.Messages.All
			if got.Version.Major != "15" || got.Body.Response.XMLName.Local != "GetFolderResponse" ||
				len(m) != 1 || m[0].Class != "Success" || m[0].Code != "NoError" || m[0].Total != want {
				t.Errorf("answered %+v", got)
			}
			r.Notify(Inbox)
			r.Notify(Sent)
		}
	})
}

func TestFindItemAndUnknownFolder(t *testing.T) {
	r := start(t, nil, false)
	for range maxEWSItems + 2 {
		r.Notify(Inbox)
	}
	got := r.ews(t, `<m:FindItem Traversal="Shallow"><m:ParentFolderIds><t:FolderId Id="1"/><t:FolderId Id="99"/></m:ParentFolderIds></m:FindItem>`)
	m := got.Body.Response.Messages.All
	if len(m) != 2 || m[0].Root.Total != 52 || m[0].Root.Last || len(m[0].Root.Subjects) != 50 || m[0].Root.Subjects[0] != "Message 52" {
		t.Errorf("answered %+v", m)
	}
	if m[1].Class != "Error" || m[1].Code != "ErrorFolderNotFound" {
		t.Errorf("answered %+v", m[1])
	}
}

func TestBadSOAP(t *testing.T) {
	deep := strings.Repeat("<a>", maxXMLDepth+1)
	tests := []struct {
		name, contentType, body string
		status                  int
	}{
		{"oversized", typeXML, soap(getInbox) + strings.Repeat(" ", maxSOAP), 413},
		{"type", "application/json", soap(getInbox), 415},
		{"empty", typeXML, "", 400},
		{"cut short", typeXML, soap(getInbox)[:300], 400},
		{"DTD", typeXML, `<!DOCTYPE a [<!ENTITY b "c">]>` + soap(getInbox), 400},
		{"entity", typeXML, soap("<m:GetFolder>&b;</m:GetFolder>"), 400},
		{"deep", typeXML, deep, 400},
		{"wide", typeXML, soap("<m:GetFolder>" + strings.Repeat("<a/>", maxXMLNodes) + "</m:GetFolder>"), 400},
		{"latin-1", typeXML, `<?xml version="1.0" encoding="iso-8859-1"?><a/>`, 400},
		{"no envelope", typeXML, "<a/>", 400},
		{"two roots", typeXML, "<a/><a/>", 400},
		{"text outside", typeXML, "x" + soap(getInbox), 400},
		{"SOAP 1.2", typeXML, strings.ReplaceAll(soap(getInbox), nsSOAP, "http://www.w3.org/2003/05/soap-envelope"), 400},
		{"empty body", typeXML, soap(""), 400},
		{"other namespace", typeXML, soap(`<GetFolder xmlns="urn:x"/>`), 500},
		{"unknown operation", typeXML, soap("<m:SendItem/>"), 500},
		{"no folders", typeXML, soap("<m:GetFolder/>"), 500},
		{"too many folders", typeXML, soap("<m:GetFolder><m:FolderIds>" + strings.Repeat(`<t:FolderId Id="1"/>`, maxEWSFolders+1) + "</m:FolderIds></m:GetFolder>"), 500},
		{"pull subscription", typeXML, soap("<m:Subscribe><m:PullSubscriptionRequest/></m:Subscribe>"), 500},
		{"no timeout", typeXML, soap("<m:GetStreamingEvents><m:SubscriptionIds><t:SubscriptionId>a</t:SubscriptionId></m:SubscriptionIds></m:GetStreamingEvents>"), 500},
	}
	r := start(t, nil, false)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.do(t, "POST", ewsURL, tt.contentType, tt.body)
			if got.status != tt.status {
				t.Fatalf("%d %s, want %d", got.status, got.body, tt.status)
			}
			if got.status == 500 && parseReply(t, got.body).Body.Fault == nil {
				t.Errorf("no fault in %s", got.body)
			}
		})
	}
}

func (r running) subscribe(t *testing.T) string {
	t.Helper()
	got := r.ews(t, `<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds><t:DistinguishedFolderId Id="inbox"/></t:FolderIds>`+
		`<t:EventTypes><t:EventType>NewMailEvent</t:EventType></t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>`)
	m := got.Body.Response.Messages.All
	if len(m) != 1 || m[0].Code != "NoError" || m[0].Sub == "" {
		t.Fatalf("answered %+v", got)
	}
	return m[0].Sub
}

func streamRequest(id, minutes string) string {
	return `<m:GetStreamingEvents><m:SubscriptionIds><t:SubscriptionId>` + id + `</t:SubscriptionId></m:SubscriptionIds>` +
		`<m:ConnectionTimeout>` + minutes + `</m:ConnectionTimeout></m:GetStreamingEvents>`
}

// A stream tells every message, those from before it was opened too, each in an
// envelope of its own, as they come; and it ends when the client said.
func TestStreaming(t *testing.T) {
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, nil, http2)
				r.Notify(Inbox) // before the subscription: not told
				id := r.subscribe(t)
				r.Notify(Inbox)
				began := time.Now()
				resp, err := r.client.Post(ewsURL, typeXML, strings.NewReader(soap(streamRequest(id, "30"))))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				next := envelopes(t, resp.Body)
				if m := next(); m.Status != "OK" {
					t.Fatalf("began with %+v", m)
				}
				if m := next(); m.Event.Item.ID != "1.2" || m.Event.Sub != id {
					t.Fatalf("then %+v", m)
				}
				time.Sleep(20 * time.Minute)
				r.Notify(Sent) // not watched
				r.Notify(Inbox)
				r.Notify(Inbox)
				for _, want := range []string{"1.3", "1.4"} {
					if m := next(); m.Event.Item.ID != want {
						t.Fatalf("then %+v, want %s", m, want)
					}
				}
				if m := next(); m.Status != "Closed" {
					t.Fatalf("ended with %+v", m)
				}
				if took := time.Since(began); took != 30*time.Minute {
					t.Errorf("lasted %v", took)
				}
			})
		})
	}
}

type message struct {
	Status string `xml:"Body>GetStreamingEventsResponse>ResponseMessages>GetStreamingEventsResponseMessage>ConnectionStatus"`
	Event  struct {
		Sub  string `xml:"SubscriptionId"`
		Item struct {
			ID string `xml:"Id,attr"`
		} `xml:"NewMailEvent>ItemId"`
	} `xml:"Body>GetStreamingEventsResponse>ResponseMessages>GetStreamingEventsResponseMessage>Notifications>Notification"`
}

// envelopes reads one envelope after the other off an open answer.
func envelopes(t *testing.T, body io.Reader) func() message {
	d := xml.NewDecoder(body)
	return func() message {
		t.Helper()
		var m message
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func TestSubscriptionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil, false)
		code := func(operation string) string {
			return r.ews(t, operation).Body.Response.Messages.All[0].Code
		}
		if got := code(streamRequest("unknown", "1")); got != errNoSubscription {
			t.Errorf("unknown: %s", got)
		}
		id := r.subscribe(t)
		unsubscribe := `<m:Unsubscribe><m:SubscriptionId>` + id + `</m:SubscriptionId></m:Unsubscribe>`
		if got := code(unsubscribe); got != "NoError" {
			t.Errorf("Unsubscribe: %s", got)
		}
		if got := code(unsubscribe); got != errNoSubscription {
			t.Errorf("twice: %s", got)
		}
		idle := r.subscribe(t)
		time.Sleep(subscriptionIdle + time.Second)
		if got := code(streamRequest(idle, "1")); got != errNoSubscription {
			t.Errorf("expired: %s", got)
		}
	})
}

func TestSubscriptionsAreBounded(t *testing.T) {
	s := newSubscriptions()
	now := time.Now()
	for range maxSubscriptions {
		if s.add([]string{Inbox}, now) == nil {
			t.Fatal("refused too early")
		}
	}
	if s.add(nil, now) != nil {
		t.Error("one too many")
	}
	if s.add(nil, now.Add(subscriptionIdle+1)) == nil {
		t.Error("dead ones take the place of the living")
	}
}

// FuzzSOAP: no request breaks the reader, and no DOCTYPE gets through.
func FuzzSOAP(f *testing.F) {
	f.Add([]byte(soap(getInbox)))
	f.Add([]byte(soap(streamRequest("a", "1"))))
	f.Add([]byte(`<!DOCTYPE a><a/>`))
	f.Add([]byte(`<a xmlns="` + nsSOAP + `">&lt;&#65;<!-- x --><![CDATA[y]]></a>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		op, err := parseSOAP(doc)
		if err != nil {
			if !errors.Is(err, errSOAP) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if depth := depthOf(op); depth > maxXMLDepth {
			t.Fatalf("%d levels", depth)
		}
		if _, err := parseXML(append([]byte("<!DOCTYPE a>"), doc...)); err == nil && !strings.HasPrefix(string(doc), "<?xml") {
			t.Fatal("a DOCTYPE was accepted")
		}
	})
}

func depthOf(n *node) int {
	deepest := 0
	for _, c := range n.children {
		deepest = max(deepest, depthOf(c))
	}
	return deepest + 1
}
