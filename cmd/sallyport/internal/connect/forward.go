package connect

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/tunnel"
)

// maxAnswerHead bounds the head of a service's answer, in bytes.
const maxAnswerHead = 256 << 10

// forwarder serves absolute-form requests, whose heads have been judged and
// whose askers are known. net/http frames bodies and notices applications that
// go away; every connection is good for one request, and every request has a
// tunnel of its own, so that nothing can be smuggled behind it.
type forwarder struct {
	proxy  *Proxy
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	served chan struct{} // closed when the server's own goroutine is gone
}

func newForwarder(ctx context.Context, p *Proxy, addr net.Addr) *forwarder {
	f := &forwarder{proxy: p, addr: addr, conns: make(chan net.Conn), closed: make(chan struct{}), served: make(chan struct{})}
	server := &http.Server{
		Handler:           f,
		ReadHeaderTimeout: requestLimit,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          log.New(io.Discard, "", 0), // it would hold what clients sent
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	server.SetKeepAlivesEnabled(false)
	go func() {
		defer close(f.served)
		_ = server.Serve(f) // until close
	}()
	return f
}

// serve returns when the connection is closed.
func (f *forwarder) serve(conn *replay) {
	f.conns <- conn // there is a Serve until close, which is after the last of us
	<-conn.closed
}

func (f *forwarder) close() {
	close(f.closed)
	<-f.served
}

// Accept, Close and Addr make a net.Listener of the forwarder, for http.Server.
func (f *forwarder) Accept() (net.Conn, error) {
	select {
	case conn := <-f.conns:
		return conn, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close does nothing: close is what ends it.
func (f *forwarder) Close() error { return nil }

// Addr is the listener's.
func (f *forwarder) Addr() net.Addr { return f.addr }

// ServeHTTP opens the tunnel and passes request and answer through it.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	control := http.NewResponseController(w)
	// What is left of the body is nobody's business afterwards.
	defer func() { _ = control.SetReadDeadline(time.Now().Add(partLimit)) }()

	wanted, err := targetOf(r)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
		return
	}
	setUp, cancel := context.WithDeadline(r.Context(), began.Add(setUpLimit))
	service, way, err := f.proxy.connect(setUp, wanted)
	cancel()
	f.proxy.tellTunnel(wanted, way, began, err)
	if err != nil {
		status, text := statusFor(err)
		http.Error(w, text, status)
		return
	}
	defer service.Close()
	through(service).ServeHTTP(w, r)
}

// through passes one request on over a tunnel. Headers that concern one hop go
// no further, in either direction.
func through(service tunnel.Stream) *httputil.ReverseProxy {
	var once sync.Once
	transport := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			var conn net.Conn
			once.Do(func() { conn = idling{service, tunnel.DefaultIdle} })
			if conn == nil {
				return nil, errors.New("one tunnel carries one request")
			}
			return conn, nil
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswerHead,
	}
	return &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery // as it came, whatever it looks like
			pr.Out.Header.Del("Connection")          // no other protocol may begin here
			pr.Out.Header.Del("Upgrade")
			pr.Out.Header.Del("Te")
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "The destination gave no answer.", http.StatusBadGateway)
		},
	}
}

// idling is a service's connection on which nothing may move for so long, as in
// a tunnel that is relayed.
type idling struct {
	tunnel.Stream
	limit time.Duration
}

func (c idling) Read(b []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(c.limit))
	return c.Stream.Read(b)
}

func (c idling) Write(b []byte) (int, error) {
	_ = c.SetDeadline(time.Now().Add(c.limit)) // what moves up keeps the reader waiting too
	return c.Stream.Write(b)
}

// replay is an application's connection whose first bytes have been read
// already.
type replay struct {
	tunnel.Stream
	ahead  []byte
	once   sync.Once
	closed chan struct{}
}

func newReplay(app tunnel.Stream, head, behind []byte) *replay {
	return &replay{Stream: app, ahead: slices.Concat(head, behind), closed: make(chan struct{})}
}

func (c *replay) Read(b []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Stream.Read(b)
}

func (c *replay) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(tunnel.DefaultWriteStall))
	return c.Stream.Write(b)
}

func (c *replay) Close() error {
	defer c.once.Do(func() { close(c.closed) })
	return c.Stream.Close()
}
