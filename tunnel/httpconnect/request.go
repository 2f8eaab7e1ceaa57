package httpconnect

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// The labels of refusals that begin here, beside those of package tunnel.
const (
	LabelMalformed   = "http_malformed"   // no request, or not one that CONNECT may be
	LabelUnsupported = "http_unsupported" // a request that is understood and not served
)

// wish is what a request asks for, or what is wrong with it.
type wish struct {
	credential  tunnel.Credential
	destination tunnel.Destination
	refusal     *tunnel.Refusal
}

// unasked tells a request without a credential, which has yet to be asked for one.
func (w *wish) unasked() bool { return w.refusal != nil && w.refusal.Label == tunnel.LabelNoCredential }

// wishOf reads a CONNECT (RFC 9110 §9.3.6, RFC 9113 §8.5, RFC 9114 §4.4). hosts are
// the Host headers, where the parser has not compared them with the target itself.
// inside says that no credential is wanted.
func (c *Carrier) wishOf(r *http.Request, hosts []string, inside bool) wish {
	if refusal := judge(r, hosts); refusal != nil {
		return wish{refusal: refusal}
	}
	destination, err := parseTarget(r.RequestURI)
	if err != nil {
		return wish{refusal: malformed(err.Error())}
	}
	if inside {
		return wish{credential: tunnel.Credential{By: tunnel.ByNothing}, destination: destination}
	}
	credential, err := credentialOf(r.Header, headerProxyAuthorization, c.config.Header)
	if err != nil {
		refusal := refuseCredential(err)
		if errors.Is(err, errNoCredential) {
			explain(refusal, misplaced(r.Header, headerProxyAuthorization, c.config.Header))
		}
		return wish{refusal: refusal}
	}
	return wish{credential: credential, destination: destination}
}

// judge finds what a CONNECT must not have.
func judge(r *http.Request, hosts []string) *tunnel.Refusal {
	switch {
	case isExtended(r):
		return &tunnel.Refusal{
			Reply: socks.CommandNotSupported, Status: http.StatusNotImplemented,
			Label: LabelUnsupported, Text: "request: extended CONNECT",
			Err: &Flaw{"extended CONNECT", "have the client ask for a tunnel by plain CONNECT: nothing else is served here"},
		}
	case strings.ContainsAny(r.RequestURI, "@/?#"):
		return malformed("the target has more than host and port")
	case r.ContentLength > 0 || len(r.Header["Content-Length"]) > 0 || len(r.TransferEncoding) > 0 ||
		len(r.Header["Transfer-Encoding"]) > 0:
		return malformed("a body on CONNECT")
	case len(hosts) > 1:
		return malformed("more than one Host")
	case len(hosts) == 1 && !strings.EqualFold(hosts[0], r.RequestURI):
		return malformed("Host is not the target")
	case len(hosts) == 0 && r.ProtoMajor == 1 && r.ProtoMinor > 0:
		return malformed("no Host")
	}
	return nil
}

// isExtended tells the CONNECT of RFC 8441 and RFC 9220, which starts another
// protocol than a tunnel. HTTP/2's library refuses it before us.
func isExtended(r *http.Request) bool {
	return len(r.Header[":protocol"]) > 0 || r.ProtoMajor == 3 && r.Proto != "HTTP/3.0"
}

// Flaw is the Err of a refusal for what a request lacks or has too much of: the same
// in words for whoever reads the log. They are ours; of what the client sent, they
// hold the name of a header at most.
type Flaw struct {
	Why, Fix string
}

// Error is the flaw alone.
func (f *Flaw) Error() string { return f.Why }

const fixRequest = "see what program this is: a tunnel is asked for by CONNECT HOST:PORT, with one Host that says the same and without a body"

// malformed is the refusal of a request; what is our own words.
func malformed(what string) *tunnel.Refusal { return flawed(&Flaw{what, fixRequest}) }

func flawed(f *Flaw) *tunnel.Refusal {
	return &tunnel.Refusal{
		Reply: socks.GeneralFailure, Status: http.StatusBadRequest,
		Label: LabelMalformed, Text: "request: " + f.Why, Err: f,
	}
}

// explain gives a refusal the words of its flaw.
func explain(r *tunnel.Refusal, f *Flaw) { r.Text, r.Err = "request: "+f.Why, f }

func refuseCredential(err error) *tunnel.Refusal {
	if !errors.Is(err, errNoCredential) {
		return flawed(&Flaw{err.Error(), "have the client send one ticket, in one header, as  Bearer TICKET  or as the password of Basic"})
	}
	return &tunnel.Refusal{
		Reply: socks.NotAllowed, Status: http.StatusProxyAuthRequired,
		Label: tunnel.LabelNoCredential, Text: "request: no credential",
	}
}

// maxShownHeader bounds a header's name in the log, in bytes.
const maxShownHeader = 64

// misplaced looks for the credential that a client meant where none was found in the
// named headers: in another shape, or in another header. It goes by shape alone, and
// the client hears nothing of it.
func misplaced(h http.Header, names ...string) *Flaw {
	for _, name := range names {
		if values := h.Values(name); len(values) > 0 {
			return misshapen(http.CanonicalHeaderKey(name), values[0])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		value := h.Get(name)
		scheme, rest, _ := strings.Cut(value, " ")
		known := strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "Basic")
		if known && rest != "" || looksLikeTicket(value) {
			return &Flaw{
				"no credential: one stands in " + shownHeader(name) + ", where none is looked for",
				"have the client send it in " + either(names) + ", or name its header in gateway.credential_header",
			}
		}
	}
	return &Flaw{"no credential", "have the client send a ticket in " + either(names) + "; a browser that asks its user for one begins like this"}
}

// misshapen is for a value that is none of a credential.
func misshapen(name, value string) *Flaw {
	if looksLikeTicket(value) {
		return &Flaw{"no credential: " + name + " has a ticket without Bearer before it", "have the client send  Bearer TICKET  there"}
	}
	return &Flaw{
		"no credential: " + name + " is neither Bearer nor Basic",
		"have the client send  Bearer TICKET  there, or Basic with the ticket as password",
	}
}

// looksLikeTicket tells a handle, a token and the form ;40;<authority>;<handle> by
// what they all end with: 32 capital letters and digits.
func looksLikeTicket(value string) bool {
	const handle = 32
	value = value[strings.LastIndexAny(value, ";~")+1:]
	return len(value) == handle && !strings.ContainsFunc(value, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}

// shownHeader is the name of a client's header as it may be written. A ticket in the
// place of a name is in lower case by now.
func shownHeader(name string) string {
	if upper := strings.ToUpper(name); tunnel.SafeText(upper, maxShownHeader) != upper {
		return "a header of another name"
	}
	return name
}

// either names the headers that there are, each once.
func either(names []string) string {
	var all []string
	for _, name := range names {
		if name = http.CanonicalHeaderKey(name); name != "" && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return strings.Join(all, " or ")
}
