package node_test

//lint:file-ignore SA1019 The library points at http.Transport, which dials by itself, and here a connection is at hand.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/quic"
)

// way is a carrier as a device has it.
type way struct {
	name    string
	carrier string // in the log
	from    string // each way has an address of its own, so that the log tells them apart
	direct  bool   // at the node whose record layer is ours
	shared  bool   // one connection has many tunnels
	free    bool   // nobody is asked for a ticket
	parks   bool   // an idle tunnel costs no goroutine
	http    bool   // refusals have a status, and not a SOCKS5 reply
	connect func(*testing.T, *world, *way) device
}

var ways = []*way{
	{name: "socks5", carrier: "socks5", from: "127.1.0.1", parks: true, connect: connectSOCKS5},
	{name: "socks5-direct", carrier: "socks5", from: "127.1.0.2", parks: true, direct: true, connect: connectSOCKS5},
	{name: "h1", carrier: "h1", from: "127.1.0.3", parks: true, http: true, connect: connectHTTP1},
	{name: "h1-direct", carrier: "h1", from: "127.1.0.4", parks: true, direct: true, http: true, connect: connectHTTP1},
	{name: "h2", carrier: "h2", from: "127.1.0.5", shared: true, http: true, connect: connectHTTP2},
	{name: "h3", carrier: "h3", from: "127.1.0.6", shared: true, http: true, connect: connectHTTP3},
	{name: "quic", carrier: "quic", from: "127.1.0.7", shared: true, connect: connectQUIC},
	{name: "inside", carrier: "inside", from: "127.1.0.8", free: true, parks: true, http: true, connect: connectInside},
}

// device asks for tunnels: over one connection, if the way has it so.
type device interface {
	// ask sends early together with the request. A ticket of "" is none.
	ask(t *testing.T, ticket string, to target, early string) *heard
}

// target is where a device wants to go. An address is sent as one where the way has
// a form for it.
type target struct {
	host      string
	port      int
	isAddress bool
}

func (to target) String() string { return net.JoinHostPort(to.host, fmt.Sprint(to.port)) }

// heard is what a device got: a tunnel, or a refusal.
type heard struct {
	client string // as the log has it
	open   bool
	unsent error  // the client's library does not let us ask, or has no answer
	code   int    // a SOCKS5 reply, or a status
	said   string // a refusal, all of it, but for the date
	io.Reader
	io.Writer
	closeWrite func() error
	abort      func()
}

// netDial is a TCP connection from the way's address.
func (w *world) netDial(t *testing.T, v *way, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(v.from)}}
	conn, err := d.DialContext(t.Context(), "tcp", to.String())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(wait)))
	return conn.(*net.TCPConn)
}

func (w *world) tlsDial(t *testing.T, v *way, protocols ...string) (*tls.Conn, *net.TCPConn) {
	t.Helper()
	tcp := w.netDial(t, v, w.GatewayAddr())
	conn := tls.Client(strict{tcp}, w.clientTLS(protocols...))
	must(t, conn.HandshakeContext(t.Context()))
	return conn, tcp
}

// strict has crypto/tls tell an end without close_notify, as other libraries do.
type strict struct{ *net.TCPConn }

var errTruncated = errors.New("an end without close_notify")

func (s strict) Read(p []byte) (int, error) {
	n, err := s.TCPConn.Read(p)
	if err == io.EOF {
		err = errTruncated
	}
	return n, err
}

func (w *world) clientTLS(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: w.roots, ServerName: fqdn, NextProtos: protocols}
}

// reset closes a connection without a goodbye.
func reset(tcp *net.TCPConn) func() {
	return func() { _ = tcp.SetLinger(0); _ = tcp.Close() }
}

// perTunnel is a device that makes a connection for each tunnel.
type perTunnel func(t *testing.T, ticket string, to target, early string) *heard

func (ask perTunnel) ask(t *testing.T, ticket string, to target, early string) *heard {
	t.Helper()
	return ask(t, ticket, to, early)
}

func connectSOCKS5(_ *testing.T, w *world, v *way) device {
	return perTunnel(func(t *testing.T, ticket string, to target, early string) *heard {
		t.Helper()
		conn, tcp := w.tlsDial(t, v)
		h := &heard{client: tcp.LocalAddr().String(), abort: reset(tcp)}
		h.socks(conn, ticket, to, early)
		return h
	})
}

// socks says everything at once, and then listens.
func (h *heard) socks(s tunnel.Stream, ticket string, to target, early string) {
	h.Reader, h.Writer, h.closeWrite = s, s, s.CloseWrite
	ask := named(to.host, to.port)
	if to.isAddress {
		addr, kind := netip.MustParseAddr(to.host), byte(1)
		if addr.Is6() {
			kind = 4
		}
		ask = request(1, 0, kind, addr.AsSlice(), to.port)
	}
	before := []byte{5, 0}
	if ticket == "" {
		ask = join([]byte{5, 1, 0}, ask)
	} else {
		before, ask = accepted, join(greeting, login("u", ticket), ask)
	}
	if _, h.unsent = s.Write(append(ask, early...)); h.unsent != nil {
		return
	}
	answer := make([]byte, len(before)+10)
	n, err := io.ReadFull(s, answer)
	if h.open = err == nil && bytes.HasPrefix(answer, before) && answer[len(before)+1] == 0; h.open {
		return
	}
	if h.said = string(answer[:n]); n == len(answer) {
		h.code = int(answer[len(before)+1])
		_ = s.CloseWrite()
		rest, _ := io.ReadAll(s)
		h.said += string(rest)
	}
}

func connectHTTP1(_ *testing.T, w *world, v *way) device {
	return perTunnel(func(t *testing.T, ticket string, to target, early string) *heard {
		t.Helper()
		conn, tcp := w.tlsDial(t, v, "http/1.1")
		h := &heard{client: tcp.LocalAddr().String(), abort: reset(tcp)}
		h.http1(t, conn, ticket, to, early)
		return h
	})
}

func connectInside(_ *testing.T, w *world, v *way) device {
	return perTunnel(func(t *testing.T, _ string, to target, early string) *heard {
		t.Helper()
		tcp := w.netDial(t, v, w.InsideAddr())
		h := &heard{client: tcp.LocalAddr().String(), abort: reset(tcp)}
		h.http1(t, tcp, "", to, early)
		return h
	})
}

func (h *heard) http1(t *testing.T, s tunnel.Stream, ticket string, to target, early string) {
	t.Helper()
	head := fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n", to)
	if ticket != "" {
		head += "Proxy-Authorization: Bearer " + ticket + "\r\n"
	}
	_, err := io.WriteString(s, head+"\r\n"+early)
	must(t, err)
	var raw bytes.Buffer
	in := bufio.NewReader(io.TeeReader(s, &raw))
	response, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	must(t, err)
	h.code, h.open = response.StatusCode, response.StatusCode == http.StatusOK
	if h.open {
		rest, _ := in.Peek(in.Buffered())
		h.Reader, h.Writer, h.closeWrite = io.MultiReader(bytes.NewReader(bytes.Clone(rest)), s), s, s.CloseWrite
		return
	}
	_ = s.CloseWrite()
	_, _ = io.Copy(io.Discard, in)
	h.said = raw.String()
}

// header is a CONNECT's, for HTTP/2 and HTTP/3: as Basic, since HTTP/1.1 has the other.
func header(ticket string) http.Header {
	h := http.Header{}
	if ticket != "" {
		h.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("u:"+ticket)))
	}
	return h
}

// refusalOf reads a refusal.
func (h *heard) refusalOf(r *http.Response) {
	var fields []string
	for name, values := range r.Header {
		if name != "Date" {
			fields = append(fields, fmt.Sprintf("%s: %q", name, values))
		}
	}
	slices.Sort(fields)
	body, err := io.ReadAll(r.Body)
	h.said = fmt.Sprintf("%s\n%s\n%s%v", r.Status, strings.Join(fields, "\n"), body, err)
}

type deviceHTTP2 struct {
	conn   *http2.ClientConn
	client string
}

func connectHTTP2(t *testing.T, w *world, v *way) device {
	t.Helper()
	conn, tcp := w.tlsDial(t, v, "h2")
	shared, err := (&http2.Transport{}).NewClientConn(conn)
	must(t, err)
	t.Cleanup(func() { _ = shared.Close() })
	return deviceHTTP2{shared, tcp.LocalAddr().String()}
}

func (d deviceHTTP2) ask(t *testing.T, ticket string, to target, early string) *heard {
	t.Helper()
	h := &heard{client: d.client}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	up, in := io.Pipe()
	t.Cleanup(func() { _ = up.Close() })
	r := &http.Request{
		Method: http.MethodConnect, Host: to.String(), Header: header(ticket), ContentLength: -1,
		Body: struct {
			io.Reader
			io.Closer
		}{io.MultiReader(strings.NewReader(early), up), up},
	}
	r.URL = urlOf(to)
	response, err := d.conn.RoundTrip(r.WithContext(ctx))
	if err != nil {
		h.unsent = err
		return h
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	h.code, h.open = response.StatusCode, response.StatusCode == http.StatusOK
	if !h.open {
		h.refusalOf(response)
		return h
	}
	h.Reader, h.Writer, h.closeWrite = response.Body, in, in.Close
	h.abort = func() { _ = response.Body.Close() } // the context would wait for the request's body
	return h
}

// overUDP is a socket from the way's address.
func overUDP(t *testing.T, v *way) *net.UDPConn {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(v.from)})
	must(t, err)
	t.Cleanup(func() { _ = socket.Close() })
	return socket
}

type deviceHTTP3 struct {
	conn   *http3.ClientConn
	client string
}

func connectHTTP3(t *testing.T, w *world, v *way) device {
	t.Helper()
	socket := overUDP(t, v)
	conn, err := quicgo.Dial(t.Context(), socket, net.UDPAddrFromAddrPort(w.GatewayAddr()), w.clientTLS("h3"), nil)
	must(t, err)
	t.Cleanup(func() { _ = conn.CloseWithError(0x100, "") })
	return deviceHTTP3{(&http3.Transport{}).NewClientConn(conn), socket.LocalAddr().String()}
}

func (d deviceHTTP3) ask(t *testing.T, ticket string, to target, early string) *heard {
	t.Helper()
	h := &heard{client: d.client}
	s, err := d.conn.OpenRequestStream(t.Context())
	if err != nil {
		h.unsent = err
		return h
	}
	h.abort = func() {
		s.CancelRead(quicgo.StreamErrorCode(http3.ErrCodeRequestCanceled))
		s.CancelWrite(quicgo.StreamErrorCode(http3.ErrCodeRequestCanceled))
	}
	t.Cleanup(h.abort)
	r := &http.Request{Method: http.MethodConnect, Host: to.String(), URL: urlOf(to), Header: header(ticket)}
	if h.unsent = s.SendRequestHeader(r); h.unsent != nil {
		return h
	}
	must(t, s.SetDeadline(time.Now().Add(wait)))
	if early != "" {
		_, _ = io.WriteString(s, early) // it fails if the refusal comes first
	}
	response, err := s.ReadResponse()
	if err != nil {
		h.unsent = err
		return h
	}
	h.code, h.open = response.StatusCode, response.StatusCode == http.StatusOK
	if !h.open {
		h.refusalOf(response)
		return h
	}
	h.Reader, h.Writer, h.closeWrite = response.Body, s, s.Close
	return h
}

type deviceQUIC struct{ conn *quic.Conn }

func connectQUIC(t *testing.T, w *world, v *way) device {
	t.Helper()
	d := quic.Dialer{TLS: w.clientTLS(), Listen: func(context.Context) (net.PacketConn, error) { return overUDP(t, v), nil }}
	conn, err := d.Dial(t.Context(), w.GatewayAddr())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return deviceQUIC{conn}
}

func (d deviceQUIC) ask(t *testing.T, ticket string, to target, early string) *heard {
	t.Helper()
	h := &heard{client: d.conn.LocalAddr().String()}
	s, err := d.conn.Open(t.Context())
	if err != nil {
		h.unsent = err
		return h
	}
	must(t, s.SetDeadline(time.Now().Add(wait)))
	h.abort = func() { tunnel.Abort(s) }
	h.socks(s, ticket, to, early)
	return h
}
