package httpconnect

import (
	"errors"
	"net/http"
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
		return wish{refusal: refuseCredential(err)}
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

// malformed is the refusal of a request; what is our own words.
func malformed(what string) *tunnel.Refusal {
	return &tunnel.Refusal{
		Reply: socks.GeneralFailure, Status: http.StatusBadRequest,
		Label: LabelMalformed, Text: "request: " + what,
	}
}

func refuseCredential(err error) *tunnel.Refusal {
	if !errors.Is(err, errNoCredential) {
		return malformed(err.Error())
	}
	return &tunnel.Refusal{
		Reply: socks.NotAllowed, Status: http.StatusProxyAuthRequired,
		Label: tunnel.LabelNoCredential, Text: "request: no credential",
	}
}
