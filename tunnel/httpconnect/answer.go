package httpconnect

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/tunnel"
)

// answer is a response that is no tunnel. Its body is a fixed sentence.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// established is the success of HTTP/1.1, to the byte what most proxies say:
// some clients look for nothing else.
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// retryAfter is what a 503 asks for, in seconds: a set-up's time.
const retryAfter = "10"

// The challenges, by the header that they are in: a proxy's, and that of a resource,
// which DoH is.
var challenges = []string{`Basic realm="sallyport", charset="UTF-8"`, `Bearer realm="sallyport"`}

// nothingHere is what everything but CONNECT gets.
func nothingHere() answer { return answer{status: http.StatusNotFound} }

// noPlainProxy is what a browser gets that would have us fetch a page. Of all
// refusals it is the one whose words browsers show to their users.
func noPlainProxy() answer {
	return tell(http.StatusMethodNotAllowed, "The gateway does not fetch pages by http://. Try the same address with https:// in front of it.\n"+
		"If that does not help, ask your administrator.")
}

// answerTo puts a refusal into HTTP. Whatever is wrong with a ticket, the answer is
// the same: it goes by the status alone then.
func answerTo(err error) answer {
	var refusal *tunnel.Refusal
	if !errors.As(err, &refusal) {
		return tell(http.StatusBadGateway, sentences[http.StatusBadGateway])
	}
	status := refusal.Status
	switch {
	case refusal.Label == tunnel.LabelTooMuch:
		status = http.StatusRequestHeaderFieldsTooLarge
	case status < 400 || status > 599:
		status = http.StatusBadGateway
	}
	sentence := sentences[status]
	if status == http.StatusForbidden || status >= 500 {
		for prefix, said := range sentencesOf {
			if strings.HasPrefix(refusal.Label, prefix) {
				sentence = said
			}
		}
	}
	return tell(status, sentence)
}

// sentences are the bodies by status.
var sentences = map[int]string{
	http.StatusBadRequest:                  "The request is malformed.",
	http.StatusForbidden:                   "This destination is not on the list of what this device may reach.",
	http.StatusMethodNotAllowed:            "Only CONNECT is served here.",
	http.StatusProxyAuthRequired:           "A ticket is needed, and none that is good was presented.",
	http.StatusRequestTimeout:              "The request took too long.",
	http.StatusRequestHeaderFieldsTooLarge: "The request's headers are too large.",
	http.StatusInternalServerError:         "Something is wrong with the gateway. Ask your administrator.",
	http.StatusNotImplemented:              "Only plain CONNECT is served here.",
	http.StatusBadGateway:                  "The service cannot be reached.",
	http.StatusServiceUnavailable:          "The gateway is busy. Try again later.",
	http.StatusGatewayTimeout:              "The service did not answer in time.",
}

// sentencesOf are the bodies of some labels, by what they begin with; no two of them
// begin alike. Labels are the handler's, and one that is not here costs no more than
// the finer word.
var sentencesOf = map[string]string{
	"too_many_tunnels": "Too many tunnels are open. Try again later.",
	"name_not_found":   "There is no such name, or it has no address.",
	"name_timeout":     "The name could not be looked up in time.",
	"name_failed":      "The name could not be looked up.",
	"service_":         "The service does not answer.",
	"address_":         "The address behind this name is not one that may be reached.",
}

// tell is an answer in words.
func tell(status int, sentence string) answer {
	a := answer{status: status, header: http.Header{}}
	if sentence != "" {
		a.header.Set("Content-Type", "text/plain; charset=utf-8")
		a.body = []byte(sentence + "\n")
	}
	switch status {
	case http.StatusProxyAuthRequired:
		a.header["Proxy-Authenticate"] = challenges
	case http.StatusUnauthorized:
		a.header["Www-Authenticate"] = challenges
	case http.StatusServiceUnavailable:
		a.header.Set("Retry-After", retryAfter)
	case http.StatusMethodNotAllowed:
		a.header.Set("Allow", http.MethodConnect)
	}
	return a
}

// http1 is the answer in HTTP/1.1. No body goes to a HEAD.
func (a answer) http1(method string, last bool) []byte {
	response := http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Header: a.header, Close: last,
		ContentLength: int64(len(a.body)), Body: io.NopCloser(bytes.NewReader(a.body)),
		Request: &http.Request{Method: method},
	}
	var out bytes.Buffer
	_ = response.Write(&out) // neither of them fails
	return out.Bytes()
}

// send is the answer in HTTP/2 and HTTP/3. It does not wait for the client.
func (a answer) send(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	if len(a.body) > 0 {
		_, _ = w.Write(a.body)
	}
}
