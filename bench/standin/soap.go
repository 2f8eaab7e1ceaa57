package standin

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The namespaces of SOAP 1.1 and of EWS.
const (
	nsSOAP     = "http://schemas.xmlsoap.org/soap/envelope/"
	nsMessages = "http://schemas.microsoft.com/exchange/services/2006/messages"
	nsTypes    = "http://schemas.microsoft.com/exchange/services/2006/types"
)

// The most that a request may be.
const (
	maxSOAP      = 1 << 20 // bytes
	maxXMLDepth  = 32
	maxXMLNodes  = 20_000
	typeXML      = "text/xml"
	typeXMLReply = "text/xml; charset=utf-8"
)

// errSOAP is wrapped by every error about a request that cannot be read.
var errSOAP = errors.New("not a SOAP request")

// node is an element of a request.
type node struct {
	name     xml.Name
	attrs    []xml.Attr
	text     string
	raw      []byte // text while it is being read
	children []*node
}

// all returns the children with the name, of whatever namespace of EWS.
func (n *node) all(local string) []*node {
	var found []*node
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.name.Local == local && (c.name.Space == nsMessages || c.name.Space == nsTypes) {
			found = append(found, c)
		}
	}
	return found
}

// first returns the first of all, or nil.
func (n *node) first(local string) *node {
	if found := n.all(local); len(found) > 0 {
		return found[0]
	}
	return nil
}

func (n *node) attr(local string) string {
	for _, a := range n.attrs {
		if a.Name.Local == local && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// parseSOAP reads an envelope and returns the operation in its body. There is
// no DTD and no entity but XML's own five: a DOCTYPE is refused. Errors wrap
// errSOAP and repeat nothing of the request.
func parseSOAP(doc []byte) (*node, error) {
	root, err := parseXML(doc)
	if err != nil {
		return nil, err
	}
	if root.name != (xml.Name{Space: nsSOAP, Local: "Envelope"}) {
		return nil, fmt.Errorf("%w: the root is no SOAP 1.1 envelope", errSOAP)
	}
	for _, c := range root.children {
		if c.name == (xml.Name{Space: nsSOAP, Local: "Body"}) && len(c.children) == 1 {
			return c.children[0], nil
		}
	}
	return nil, fmt.Errorf("%w: the envelope has no body with one operation", errSOAP)
}

// parseXML reads one element with all that is in it.
func parseXML(doc []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	top := &node{}
	path := []*node{top}
	for nodes := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: broken XML at byte %d", errSOAP, d.InputOffset())
		}
		parent := path[len(path)-1]
		switch t := token.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("%w: a DOCTYPE is not accepted", errSOAP)
		case xml.StartElement:
			nodes++
			if nodes > maxXMLNodes || len(path) > maxXMLDepth {
				return nil, fmt.Errorf("%w: too many or too deeply nested elements", errSOAP)
			}
			n := &node{name: t.Name, attrs: t.Attr}
			parent.children = append(parent.children, n)
			path = append(path, n)
		case xml.EndElement:
			parent.text, parent.raw = strings.TrimSpace(string(parent.raw)), nil
			path = path[:len(path)-1]
		case xml.CharData:
			if parent == top && len(bytes.TrimSpace(t)) > 0 {
				return nil, fmt.Errorf("%w: text outside the root element", errSOAP)
			}
			if len(parent.children) == 0 { // text between elements is layout
				parent.raw = append(parent.raw, t...)
			}
		}
	}
	if len(top.children) != 1 {
		return nil, fmt.Errorf("%w: there must be one root element", errSOAP)
	}
	return top.children[0], nil
}

// envelope wraps an answer. Only text of our own may be put into it: nothing is
// escaped here, and nothing of a request is ever repeated.
func envelope(body string) string {
	return `<?xml version="1.0" encoding="utf-8"?>` + "\n" +
		`<s:Envelope xmlns:s="` + nsSOAP + `"><s:Header>` +
		`<h:ServerVersionInfo MajorVersion="15" MinorVersion="1" MajorBuildNumber="2507" MinorBuildNumber="6" Version="V2017_07_11" xmlns:h="` + nsTypes + `"/>` +
		`</s:Header><s:Body xmlns:m="` + nsMessages + `" xmlns:t="` + nsTypes + `">` + body + `</s:Body></s:Envelope>`
}

func writeSOAP(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", typeXMLReply)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, envelope(body))
}

// writeFault answers what is well-formed but no request of ours; SOAP 1.1 §6.2
// wants 500 for it, whoever is at fault.
func writeFault(w http.ResponseWriter, code, text string) {
	writeSOAP(w, http.StatusInternalServerError,
		`<s:Fault><faultcode xmlns:a="`+nsTypes+`">a:`+code+`</faultcode><faultstring xml:lang="en-US">`+text+`</faultstring>`+
			`<detail><e:ResponseCode xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">`+code+`</e:ResponseCode></detail></s:Fault>`)
}

// response wraps the messages of an operation's answer.
func response(operation string, messages ...string) string {
	return `<m:` + operation + `Response><m:ResponseMessages>` + strings.Join(messages, "") +
		`</m:ResponseMessages></m:` + operation + `Response>`
}

// good and bad are the two forms of a response message.
func good(operation, content string) string {
	return `<m:` + operation + `ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>` +
		content + `</m:` + operation + `ResponseMessage>`
}

func bad(operation, code, text string) string {
	return `<m:` + operation + `ResponseMessage ResponseClass="Error"><m:MessageText>` + text + `</m:MessageText><m:ResponseCode>` + code +
		`</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey></m:` + operation + `ResponseMessage>`
}
