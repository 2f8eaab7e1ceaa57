package connect

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// PACPath is where the HTTP proxy's listener has its own PAC file.
const PACPath = "/proxy.pac"

// challenge is what a 407 asks for.
const challenge = `Basic realm="sallyport connect", charset="UTF-8"`

// ServeHTTPProxy is Serve for the HTTP proxy. Each connection serves one
// request: CONNECT, an absolute-form one for http, or one for the PAC file.
func (p *Proxy) ServeHTTPProxy(ctx context.Context, ln net.Listener) error {
	forwarding := newForwarder(ctx, p, ln.Addr())
	err := p.serve(ctx, ln, p.slots, func(ctx context.Context, app tunnel.Stream) {
		p.serveHTTP(ctx, app, forwarding)
	})
	forwarding.close()
	return err
}

// serveHTTP is the whole life of one connection. Nothing is read behind the
// head before it is known who asks, but for what came in the same packets.
func (p *Proxy) serveHTTP(ctx context.Context, app tunnel.Stream, forwarding *forwarder) {
	began := time.Now()
	_ = app.SetDeadline(began.Add(requestLimit))
	head, behind, err := readHead(app)
	if err != nil && !errors.Is(err, errHeadTooLong) {
		if err != io.EOF { // browsers open connections that they have no use for
			p.tellRefused(err)
		}
		_ = app.Close()
		return
	}
	var request *http.Request
	if err == nil {
		request, err = parseHead(head)
	}
	if err != nil {
		p.tellRefused(err)
		part(app, answerMistake(err))
		return
	}
	if strings.HasPrefix(request.RequestURI, "/") && request.Method != http.MethodConnect {
		part(app, p.answerOwn(request, app.LocalAddr()))
		return
	}
	if known, err := p.knows(request); !known {
		if err != nil { // an application's first try is without a password
			p.tellRefused(err)
		}
		part(app, answer(http.StatusProxyAuthRequired, "This proxy wants the user name and password that it printed.",
			"Proxy-Authenticate", challenge))
		return
	}
	wanted, err := targetOf(request)
	if err != nil {
		p.tellRefused(err)
		part(app, answerMistake(err))
		return
	}
	if request.Method == http.MethodConnect {
		p.serveConnect(ctx, app, wanted, behind, began)
		return
	}
	_ = app.SetDeadline(time.Time{})
	forwarding.serve(newReplay(app, head, behind))
}

// serveConnect makes a tunnel of the connection. What came ahead goes first into
// it; the rest waits in the kernel.
func (p *Proxy) serveConnect(ctx context.Context, app tunnel.Stream, wanted tunnel.Destination, ahead []byte, began time.Time) {
	late := began.Add(setUpLimit)
	setUp, cancel := context.WithDeadline(ctx, late)
	defer cancel()
	_ = app.SetDeadline(late)
	service, way, err := p.connect(setUp, wanted)
	if err == nil {
		err = pass(service, ahead, late)
	}
	if err == nil {
		err = succeed(app, []byte("HTTP/1.1 200 Connection established\r\n\r\n"))
	}
	p.tellTunnel(wanted, way, began, err)
	if err != nil {
		if service != nil {
			_ = service.Close()
		}
		status, text := statusFor(err)
		part(app, answer(status, text))
		return
	}
	tunnel.Relay(app, service, tunnel.Limits{})
}

// pass writes what came ahead into a tunnel that stands.
func pass(service tunnel.Stream, ahead []byte, late time.Time) error {
	if len(ahead) == 0 {
		return nil
	}
	_ = service.SetWriteDeadline(late)
	if _, err := service.Write(ahead); err != nil {
		return err
	}
	return service.SetWriteDeadline(time.Time{})
}

// knows tells whether a request has the local password; the error is nil if it
// has none at all.
func (p *Proxy) knows(r *http.Request) (bool, error) {
	shown := r.Header.Get("Proxy-Authorization")
	if shown == "" {
		return false, nil
	}
	scheme, encoded, _ := strings.Cut(shown, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return false, socks.NoMethod
	}
	plain, err := base64.StdEncoding.Strict().DecodeString(strings.TrimLeft(encoded, " "))
	if err != nil {
		return false, errPassword
	}
	user, password, _ := strings.Cut(string(plain), ":")
	if !p.authentic(user, password) {
		return false, errPassword
	}
	return true, nil
}

// answerOwn answers requests for this server itself: there is only the PAC
// file. Browsers fetch it without a password and it holds none; but it tells
// names of the inside, so pages from elsewhere do not get it.
func (p *Proxy) answerOwn(r *http.Request, at net.Addr) []byte {
	site := r.Header.Get("Sec-Fetch-Site")
	switch {
	case !isLoopbackHost(r.Host), r.Header.Get("Origin") != "", site != "" && site != "none" && site != "same-origin":
		return answer(http.StatusForbidden, "This is for programs of this machine.")
	case r.URL.Path != PACPath:
		return answer(http.StatusNotFound, "There is only "+PACPath+" here.")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return answer(http.StatusMethodNotAllowed, "Only GET is for this.", "Allow", "GET, HEAD")
	}
	script, err := p.pac.write(at.String())
	if err != nil {
		return answer(http.StatusInternalServerError, "The file could not be made.")
	}
	made := answerWith(http.StatusOK, script, "Content-Type", "application/x-ns-proxy-autoconfig",
		"X-Content-Type-Options", "nosniff", "Cross-Origin-Resource-Policy", "same-origin", "Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		made = made[:len(made)-len(script)]
	}
	return made
}

// answerMistake answers a request that nobody could serve.
func answerMistake(err error) []byte {
	status, text := http.StatusBadRequest, err.Error()
	if errors.Is(err, errHeadTooLong) {
		status = http.StatusRequestHeaderFieldsTooLarge
	}
	return answer(status, strings.ToUpper(text[:1])+text[1:]+".")
}

// answer makes a response of a sentence. The headers are names and values in
// turn.
func answer(status int, text string, headers ...string) []byte {
	return answerWith(status, []byte(text+"\n"), append([]string{"Content-Type", "text/plain; charset=utf-8"}, headers...)...)
}

func answerWith(status int, body []byte, headers ...string) []byte {
	header := make(http.Header)
	for i := 0; i+1 < len(headers); i += 2 {
		header.Set(headers[i], headers[i+1])
	}
	response := http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header, Close: true,
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}
	var b bytes.Buffer
	if err := response.Write(&b); err != nil {
		return fmt.Appendf(nil, "HTTP/1.1 500 %s\r\nConnection: close\r\n\r\n", http.StatusText(http.StatusInternalServerError))
	}
	return b.Bytes()
}
