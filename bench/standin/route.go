package standin

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

// Paths are compared in lower case: the servers that these names come from run
// on a file system that does not care, and clients know it.
const (
	pathActiveSync = "/microsoft-server-activesync"
	pathTraveler   = "/traveler/microsoft-server-activesync"
	pathEWS        = "/ews/exchange.asmx"
	pathRegister   = "/register"
	pathBulk       = "/bulk"
)

// ServeHTTP answers one request. It is public so that a test can do without TLS.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	kind, serve := s.route(r)
	s.counts[kind].Add(1)
	sw := &statusWriter{ResponseWriter: w}
	serve(sw, r)
	if s.cfg.Hooks != nil && s.cfg.Hooks.Request != nil {
		s.cfg.Hooks.Request(Request{Kind: kind, Status: sw.status, Took: time.Since(start)})
	}
}

// route picks the handler by host, path and method, in this order.
func (s *Server) route(r *http.Request) (Kind, http.HandlerFunc) {
	path := strings.ToLower(r.URL.Path)
	switch partOf(r.Host) {
	case partMail:
		if path == pathActiveSync || path == pathTraveler {
			return s.routeActiveSync(r)
		}
		return s.routeWeb(r, path)
	case partEWS:
		return s.routeWeb(r, path)
	case partPush:
		return s.routePush(r, path)
	}
	return Refused, refuse(http.StatusMisdirectedRequest, "stand-in: this server has no such host")
}

// routeWeb serves what the mail and the EWS host share.
func (s *Server) routeWeb(r *http.Request, path string) (Kind, http.HandlerFunc) {
	switch path {
	case "/":
		return page(r, "mail stand-in: ActiveSync at /Microsoft-Server-ActiveSync, EWS at /ews/exchange.asmx, bytes at /bulk?bytes=N")
	case pathEWS:
		if r.Method == http.MethodPost {
			return EWS, s.ews
		}
		return page(r, "EWS stand-in: this is exchange.asmx; POST a SOAP request to it")
	case pathBulk:
		switch r.Method {
		case http.MethodGet:
			return BulkDown, bulkDown
		case http.MethodPut, http.MethodPost:
			return BulkUp, bulkUp
		}
		return Refused, notAllowed("GET, POST, PUT")
	}
	return Refused, notFound
}

// page answers GET and HEAD with one line of text for people with curl.
func page(r *http.Request, text string) (Kind, http.HandlerFunc) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return Refused, notAllowed("GET, HEAD, POST")
	}
	return Page, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, text+"\n")
	}
}

func refuse(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, status) }
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "stand-in: nothing here", http.StatusNotFound)
}

func notAllowed(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allow)
		http.Error(w, "stand-in: use "+allow, http.StatusMethodNotAllowed)
	}
}

// part is the server that a host name stands for.
type part uint8

const (
	partNone part = iota
	partMail
	partEWS
	partPush
)

// partOf reads the part off the host name's leading labels; the port is ignored,
// for behind a tunnel it is rarely the one listened on.
func partOf(host string) part {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	if len(labels) < 2 {
		return partNone
	}
	switch {
	case labels[0] == "mail":
		return partMail
	case labels[0] == "ews":
		return partEWS
	case len(labels) > 2 && labels[0] != "" && labels[1] == "pushreg":
		return partPush
	}
	return partNone
}

// readBody reads a whole body of one of the given media types, at most limit
// bytes. When it cannot, it has answered (413, 415 or 400) and returns false. An
// empty body needs no type: a Ping may have none.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, types ...string) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		http.Error(w, fmt.Sprintf("stand-in: the body is over %d bytes", limit), http.StatusRequestEntityTooLarge)
		return nil, false
	}
	if err != nil {
		http.Error(w, "stand-in: the body could not be read", http.StatusBadRequest)
		return nil, false
	}
	if len(body) == 0 {
		return nil, true
	}
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	for _, want := range types {
		if err == nil && got == want {
			return body, true
		}
	}
	http.Error(w, "stand-in: the Content-Type must be "+strings.Join(types, " or "), http.StatusUnsupportedMediaType)
	return nil, false
}

// extend gives the request d more, and the time that a slow peer may stand still.
func extend(w http.ResponseWriter, d time.Duration) error {
	c := http.NewResponseController(w)
	read := time.Now().Add(d + stall)
	// While an HTTP/1 handler waits, net/http reads ahead to see the client
	// leave; an old read deadline would look like just that. The answer to a
	// body that stands still needs time beyond it.
	return errors.Join(c.SetReadDeadline(read), c.SetWriteDeadline(read.Add(stall)))
}

// statusWriter remembers the status for the Request hook.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the first final status.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implies 200, as in net/http.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}
