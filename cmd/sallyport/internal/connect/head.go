package connect

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/tunnel"
)

// maxHead bounds a request's head, in bytes.
const maxHead = 16 << 10

// What is wrong with a request. None of them holds any of it.
var (
	errHeadTooLong = errors.New("the head of the request is longer than 16 KiB")
	errHead        = errors.New("the request cannot be read")
	errAmbiguous   = errors.New("the request can be read in two ways")
	errTarget      = errors.New("the request's target is none for a proxy")
)

// readHead reads up to the blank line. behind is what came with it: the head's
// own bytes end before it.
func readHead(r io.Reader) (head, behind []byte, err error) {
	buf := make([]byte, 0, 2<<10)
	for {
		seen := max(0, len(buf)-3) // the blank line may have begun before
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(2*cap(buf), maxHead)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if i := bytes.Index(buf[seen:], []byte("\r\n\r\n")); i >= 0 {
			end := seen + i + 4
			return buf[:end], buf[end:], nil
		}
		switch {
		case len(buf) == maxHead:
			return nil, nil, errHeadTooLong
		case err == io.EOF && len(buf) > 0:
			return nil, nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, nil, err
		}
	}
}

// parseHead makes a request of a head that reads one way only, whoever reads
// it. net/http would take more: bare line feeds, folded lines, and a length
// beside chunks, which it drops (RFC 9112 sections 2.2, 5.2 and 6.3). The
// request's Body must not be read.
func parseHead(head []byte) (*http.Request, error) {
	if err := checkFraming(head); err != nil {
		return nil, err
	}
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil || request.ProtoMajor != 1 {
		return nil, errHead // its own error may hold the request
	}
	if strings.Contains(request.RequestURI, "#") {
		return nil, errTarget // there is no fragment in one, RFC 9112 section 3.2, and net/http would make it part of the path
	}
	return request, nil
}

// checkFraming judges the lines and the headers that say where a request ends
// and whom it is for.
func checkFraming(head []byte) error {
	lines := strings.Split(strings.TrimSuffix(string(head), "\r\n\r\n"), "\r\n")
	count := make(map[string]int)
	for i, line := range lines {
		if strings.ContainsAny(line, "\r\n\x00") {
			return errAmbiguous
		}
		if i == 0 {
			continue
		}
		name, _, found := strings.Cut(line, ":")
		if !found || !isToken(name) { // a folded line begins with a blank, and a blank before the colon is none either
			return errAmbiguous
		}
		count[strings.ToLower(name)]++
	}
	length, coding := count["content-length"], count["transfer-encoding"]
	old := strings.HasSuffix(lines[0], " HTTP/1.0")
	switch {
	case length+coding > 1, coding > 0 && old:
		return errAmbiguous
	case count["host"] > 1, count["host"] == 0 && !old:
		return errAmbiguous
	case count["proxy-authorization"] > 1:
		return errAmbiguous
	}
	return nil
}

// isToken tells the names of headers (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// targetOf reads where a request for a proxy wants to go: CONNECT host:port, or
// an absolute http URL, whose port may be left out.
func targetOf(r *http.Request) (tunnel.Destination, error) {
	if r.Method == http.MethodConnect {
		if r.ContentLength != 0 { // chunks count as -1
			return tunnel.Destination{}, errAmbiguous
		}
		return parseAuthority(r.RequestURI, 0)
	}
	if r.URL.Scheme != "http" || r.URL.User != nil || r.URL.Opaque != "" {
		return tunnel.Destination{}, errTarget
	}
	return parseAuthority(r.URL.Host, 80)
}

// parseAuthority reads host:port. A host that is no address is left as it is
// written; whether it is a name at all is for split and the gateway to say.
func parseAuthority(s string, defaultPort uint16) (tunnel.Destination, error) {
	d := tunnel.Destination{Port: defaultPort}
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
		if port == "" && defaultPort == 0 {
			return tunnel.Destination{}, errTarget
		}
	} else if defaultPort == 0 {
		return tunnel.Destination{}, errTarget
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '0' {
			return tunnel.Destination{}, errTarget
		}
		d.Port = uint16(n)
	}
	if literal, bracketed := strings.CutPrefix(host, "["); bracketed {
		literal, closed := strings.CutSuffix(literal, "]")
		addr, err := netip.ParseAddr(literal)
		if !closed || err != nil || !addr.Is6() || addr.Zone() != "" {
			return tunnel.Destination{}, errTarget
		}
		d.Addr = addr
		return d, nil
	}
	if host == "" || len(host) > maxField || strings.ContainsAny(host, ":[]/?#@\\") {
		return tunnel.Destination{}, errTarget
	}
	d.Host = host
	return d, nil
}

// isLoopbackHost tells a Host header that means this machine. Any other in a
// request for this proxy itself is a foreign page's, whose name has been made to
// lead here.
func isLoopbackHost(s string) bool {
	host := s
	if h, _, err := net.SplitHostPort(s); err == nil {
		host = h
	}
	if strings.EqualFold(host, localhost) {
		return true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && addr.IsLoopback()
}
