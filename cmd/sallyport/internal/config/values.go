package config

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"

	"github.com/sallyport/sallyport/gateway/policy"
)

// decodeScalar stores a value that is written as one word, and reports whether
// v can be written so at all.
func (r *reader) decodeScalar(n *yaml.Node, v reflect.Value, at key, tag reflect.StructTag) bool {
	switch v.Type() {
	case reflect.TypeFor[Authority]():
		if n.Value != "local" {
			r.reject(n, at, "needs "+wants(v.Type(), tag))
			return true
		}
		v.Set(reflect.ValueOf(Authority{Local: true}))
		return true
	case reflect.TypeFor[Several]():
		if n.Value == "" {
			return true
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return r.decodeScalar(n, v.Index(0), at, tag)
	}
	if !isScalarType(v.Type()) {
		return false
	}
	problem := ""
	if v.Kind() == reflect.String {
		var text string
		if text, problem = r.text(n, at, tag); problem == "" {
			v.SetString(text)
		}
	} else {
		problem = r.number(n.Value, v, tag)
	}
	if problem != "" {
		r.reject(n, at, problem)
	}
	return true
}

// text judges and completes a text.
func (r *reader) text(n *yaml.Node, at key, tag reflect.StructTag) (text, problem string) {
	text = n.Value
	words, is := strings.Fields(tag.Get("oneof")), tag.Get("is")
	_, hasDefault := tag.Lookup("default")
	switch {
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", "holds a control character or a line end"
	case len(words) > 0:
		if text == "" && !hasDefault || slices.Contains(words, text) {
			return text, ""
		}
		return "", "needs " + either(words) + didYouMean(text, words)
	case is == "fqdn" && text != "":
		return hostName(text)
	case is == "header" && text != "":
		return headerName(text)
	case is == "host" && text != "":
		host, err := policy.ParseHost(text)
		if err != nil {
			return "", err.Error()
		}
		return host.String(), ""
	case is == "path" || is == "file" || is == "secret" || is == "made":
		if text == "" {
			return "", "is empty; it needs " + wants(reflect.TypeFor[string](), tag)
		}
		path := text
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.base, path)
		}
		r.fileTests = append(r.fileTests, fileTest{n: n, at: at, is: is, path: path, written: text})
		return path, ""
	}
	return text, ""
}

// reservedHeaders are HTTP's own, those of programs on both ends, and those that a
// proxy on the way writes anew or takes out: a ticket in one of them would be read as
// something else, or twice, or never arrive whole. Authorization is free: some
// platforms can set nothing else.
var reservedHeaders = []string{
	"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Age", "Allow", "Alt-Svc", "Alt-Used",
	"Authentication-Info", "Cache-Control", "Cdn-Loop", "Connection", "Content-Encoding", "Content-Length",
	"Content-Type", "Cookie", "Cookie2", "Date", "Dnt", "Early-Data", "Expect", "Forwarded", "From", "Host",
	"Http2-Settings", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since",
	"Keep-Alive", "Location", "Max-Forwards", "Origin", "Pragma", "Priority", "Range", "Referer", "Server",
	"Set-Cookie", "Te", "Trailer", "Traceparent", "Tracestate", "Transfer-Encoding", "Upgrade",
	"Upgrade-Insecure-Requests", "User-Agent", "Vary", "Via", "Warning", "Www-Authenticate", "X-Real-Ip",
}

// reservedFamilies are the beginnings of others.
var reservedFamilies = []string{"Access-Control-", "Proxy-", "Sec-", "X-Forwarded-"}

func headerName(text string) (name, problem string) {
	name = http.CanonicalHeaderKey(text)
	isOfFamily := func(family string) bool { return strings.HasPrefix(name, family) }
	switch {
	case !httpguts.ValidHeaderFieldName(text):
		return "", "is no name of an HTTP header"
	case name == "Proxy-Authorization":
		return "", "is where a ticket is looked for in any case; leave it out, or name a further header such as X-Ticket"
	case slices.Contains(reservedHeaders, name), slices.ContainsFunc(reservedFamilies, isOfFamily):
		return "", name + " is a header of HTTP or of proxies with a meaning of its own, where a ticket would not stand alone or not arrive; take one such as X-Ticket, or Authorization"
	}
	return name, ""
}

// number stores everything that is one word and no text.
func (r *reader) number(text string, v reflect.Value, tag reflect.StructTag) (problem string) {
	bad := "needs " + wants(v.Type(), tag)
	switch v.Interface().(type) {
	case bool:
		switch text {
		case "true", "True", "TRUE":
			v.SetBool(true)
		case "false", "False", "FALSE":
			v.SetBool(false)
		default:
			return bad
		}
	case int, uint16:
		return setNumber(text, v, tag, bad)
	case time.Duration:
		return setDuration(text, v, tag, bad)
	case netip.AddrPort:
		return r.setListen(text, v, bad)
	case netip.Addr:
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return bad
		}
		v.Set(reflect.ValueOf(addr.Unmap()))
	case netip.Prefix:
		return setPrefix(text, v, bad)
	}
	return ""
}

func setNumber(text string, v reflect.Value, tag reflect.StructTag, bad string) string {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return bad + rangeOf(tag)
	}
	if lowest, highest, ok := bounds(tag); ok {
		low, _ := strconv.ParseInt(lowest, 10, 64)
		high, _ := strconv.ParseInt(highest, 10, 64)
		if n < low || n > high {
			return bad + rangeOf(tag)
		}
	}
	if v.CanUint() {
		v.SetUint(uint64(n))
	} else {
		v.SetInt(n)
	}
	return ""
}

func setDuration(text string, v reflect.Value, tag reflect.StructTag, bad string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		if days, ok := strings.CutSuffix(text, "d"); ok {
			if n, err := strconv.ParseUint(days, 10, 16); err == nil {
				return fmt.Sprintf("%s; there are no days here, write %dh", bad, n*24)
			}
		}
		return bad
	}
	if lowest, highest, ok := bounds(tag); ok {
		low, _ := time.ParseDuration(lowest)
		high, _ := time.ParseDuration(highest)
		if d < low || d > high {
			return "needs a duration" + rangeOf(tag)
		}
	}
	v.SetInt(int64(d))
	return ""
}

func setPrefix(text string, v reflect.Value, bad string) string {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return bad
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if whole := prefix.Masked(); whole != prefix {
		return "is an address within a network; write " + whole.String() + " for the network"
	}
	v.Set(reflect.ValueOf(prefix))
	return ""
}

// setListen reads the address of a listener. No name is looked up, localhost
// being known. No host means all addresses: IPv4 and, where the system has it, IPv6.
func (r *reader) setListen(text string, v reflect.Value, bad string) string {
	if text == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return bad
	}
	lowest := uint64(1)
	if r.allowPort0 {
		lowest = 0
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number < lowest || strings.HasPrefix(port, "+") {
		return "needs a port from 1 to 65535"
	}
	addr := netip.IPv6Unspecified() // and IPv4's
	switch host {
	case "":
	case "localhost":
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		if addr, err = netip.ParseAddr(host); err != nil {
			return bad + "; names are not looked up here"
		}
	}
	v.Set(reflect.ValueOf(netip.AddrPortFrom(addr.Unmap(), uint16(number))))
	return ""
}

func bounds(tag reflect.StructTag) (lowest, highest string, ok bool) {
	return strings.Cut(tag.Get("range"), "..")
}

// rangeOf is the end of a message about a value that is too small or large.
func rangeOf(tag reflect.StructTag) string {
	lowest, highest, ok := bounds(tag)
	if !ok {
		return ""
	}
	return " from " + lowest + " to " + highest
}

// hostName brings a name into its one spelling.
func hostName(text string) (name, problem string) {
	host, err := policy.ParseHost(text)
	switch {
	case err != nil:
		return "", err.Error()
	case host.Name == "":
		return "", "needs a host name such as mail.example.com, not an address"
	}
	return host.Name, ""
}

// oneText is how a YAML list of services is written in the console's way, or an
// example if that cannot be told.
func oneText(n *yaml.Node) string {
	const example = "mail.example.com:443,ews.example.com:443"
	var entries []string
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode {
			return example
		}
		entries = append(entries, item.Value)
	}
	list := strings.Join(entries, ",")
	var mistake *policy.ListError
	if _, err := policy.ParseServices(list); errors.As(err, &mistake) {
		list = mistake.Corrected
	}
	if list == "" || len(list) > maxShownList {
		return example
	}
	return list
}

const nameRule = "needs 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit"

// isName judges the names that users give to nodes, clients and policies. They
// go into logs and metrics.
func isName(s string) bool {
	for i, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// shown makes a text from the file fit for a message: bounded, and without
// what a terminal would obey.
func shown(text string) string {
	if quoted := strconv.Quote(text); text == "" || quoted[1:len(quoted)-1] != text {
		text = quoted
	}
	if runes := []rune(text); len(runes) > 200 {
		return string(runes[:200]) + "…"
	}
	return text
}
