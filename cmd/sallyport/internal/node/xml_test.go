package node_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// A ticket that an enrolment server of old asks for, with the request that it has
// always sent, opens a tunnel in each of the three ways that follow the vendor's.
func TestXMLTicketOpensATunnel(t *testing.T) {
	w := newWorld(t)
	const request = `<?xml version="1.0"?><!DOCTYPE CtxSTAProtocol SYSTEM "CtxSTA.dtd"><CtxSTAProtocol version="4.0"><RequestTicket>` +
		`<AllowedTicketType>STA-v4</AllowedTicketType><AllowedAuthorityIDType>STA-v1</AllowedAuthorityIDType>` +
		`<TicketData><Value name="ICAAddress">mail.example.com:PORT</Value></TicketData>` +
		`<Control><Refreshable>true</Refreshable></Control></RequestTicket></CtxSTAProtocol>`
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+w.AuthorityAddr().String()+"/scripts/CTXSTA.DLL",
		strings.NewReader(strings.ReplaceAll(request, "PORT", w.port)))
	must(t, err)
	r.Header.Set("Content-Type", "text/xml")
	r.Header.Set("X-Citrix-XmlServiceKey", w.key)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(r)
	must(t, err)
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	must(t, answer.Body.Close())
	found := regexp.MustCompile(`<AuthorityID>(STA01)</AuthorityID><Ticket>([0-9A-Z]{32})</Ticket><TicketVersion>(40)</TicketVersion>`).FindSubmatch(body)
	if found == nil {
		t.Fatalf("status %d, %s", answer.StatusCode, body)
	}
	ticket := string(found[2])
	named := ";" + string(found[3]) + ";" + string(found[1]) + ";" + ticket
	domain := func(name string) []byte { // of a CONNECT, port 1494
		return append(append([]byte{5, 1, 0, 3, byte(len(name))}, name...), 0x05, 0xd6)
	}
	login := append([]byte{1, 1, 'u', byte(len(named))}, named...)
	for name, send := range map[string]struct{ message, want []byte }{
		"1: as a password": {
			// RFC 1929 with ;40;STA01;…, then the wanted host.
			append(append([]byte{5, 1, 2}, login...), domainAt("mail.example.com", w.port)...),
			[]byte{5, 2, 1, 0, 5, 0},
		},
		"2: as the destination":         {append([]byte{5, 1, 0}, domain(named)...), []byte{5, 0, 5, 0}},
		"3: with a host behind it":      {append([]byte{5, 1, 0}, domainAt(named+";mail.example.com", w.port)...), []byte{5, 0, 5, 0}},
		"3: with a host and its port":   {append([]byte{5, 1, 0}, domain(named+";mail.example.com:"+w.port)...), []byte{5, 0, 5, 0}},
		"3: but another host is listed": {append([]byte{5, 1, 0}, domainAt(named+";evil.example.com", w.port)...), []byte{5, 0, 5, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := w.dial(true)
			defer conn.Close()
			_, err := conn.Write(send.message)
			must(t, err)
			got := make([]byte, len(send.want)+8)
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.HasPrefix(got, send.want) {
				t.Fatalf("answer % x, %v; want % x", got, err, send.want)
			}
			if send.want[len(send.want)-1] != 0 {
				return
			}
			_, err = io.WriteString(conn, "hello")
			must(t, err)
			echo := make([]byte, 5)
			if _, err := io.ReadFull(conn, echo); err != nil || string(echo) != "hello" {
				t.Errorf("the service answers %q, %v", echo, err)
			}
		})
	}
	if strings.Contains(w.log.String(), ticket) {
		t.Error("the log holds the ticket")
	}
}

// domainAt is a CONNECT to a name and port.
func domainAt(name, port string) []byte {
	n := 0
	for _, c := range port {
		n = n*10 + int(c-'0')
	}
	return append(append([]byte{5, 1, 0, 3, byte(len(name))}, name...), byte(n>>8), byte(n))
}
