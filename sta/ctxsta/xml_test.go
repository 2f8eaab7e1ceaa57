package ctxsta

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sta/ticket"
)

// bombs are documents that make careless parsers grow, loop or go and fetch.
func bombs() map[string]string {
	laughs := `<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "ha">`
	for c := 'b'; c <= 'j'; c++ {
		laughs += fmt.Sprintf(`<!ENTITY %c "%s">`, c, strings.Repeat(fmt.Sprintf("&%c;", c-1), 10))
	}
	attributes := new(strings.Builder)
	for i := range 2000 {
		fmt.Fprintf(attributes, ` a%d="x"`, i)
	}
	return map[string]string{
		"billion laughs":      laughs + `]><r>&j;</r>`,
		"quadratic":           `<!DOCTYPE r [<!ENTITY a "` + strings.Repeat("x", 20000) + `">]><r>` + strings.Repeat("&a;", 5000) + `</r>`,
		"external entity":     `<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>`,
		"parameter entity":    `<!DOCTYPE r [<!ENTITY % x SYSTEM "http://127.0.0.1:1/"> %x;]><r/>`,
		"entity in attribute": `<!DOCTYPE r [<!ENTITY x "y">]><r a="&x;"/>`,
		"unknown entity":      `<r>&nbsp;</r>`,
		"loose entity":        `<!ENTITY x "y"><r/>`,
		"entity in the root":  `<r><!ENTITY x "y"></r>`,
		"deep":                strings.Repeat("<r>", 9000) + strings.Repeat("</r>", 9000),
		"deep and open":       strings.Repeat("<r>", 20000),
		"wide":                "<r>" + strings.Repeat("<a/>", 15000) + "</r>",
		"many attributes":     "<r" + attributes.String() + "/>",
		"long attribute":      `<r a="` + strings.Repeat("x", 60000) + `"/>`,
		"long name":           "<" + strings.Repeat("r", 60000) + "/>",
		"long text":           "<r>" + strings.Repeat("x", 60000) + "</r>",
		"text in pieces":      "<r>" + strings.Repeat("<![CDATA[xxxxxxxxxx]]>", 3000) + "</r>",
		"nested document types": `<!DOCTYPE r SYSTEM "a"` + strings.Repeat(`<!x `, 5000) + strings.Repeat(`>`, 5000) +
			`><r/>`,
	}
}

func TestBombsAreRefused(t *testing.T) {
	for name, document := range bombs() {
		t.Run(name, func(t *testing.T) {
			_, err := parseRequest([]byte(document), unstated)
			if ticket.ReasonOf(err) != ticket.Invalid {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestWhatCouldBeReadInTwoWaysIsRefused(t *testing.T) {
	for name, document := range map[string]string{
		"nothing":                        ``,
		"only space":                     " \n ",
		"only a declaration":             `<?xml version="1.0"?>`,
		"no XML":                         `{"a":1}`,
		"open":                           `<r>`,
		"crossed":                        `<r><a></r></a>`,
		"other case":                     `<r></R>`,
		"end first":                      `</r><r>`,
		"two roots":                      `<r/><r/>`,
		"text before":                    `x<r/>`,
		"text behind":                    `<r/>x`,
		"NUL behind":                     "<r/>\x00",
		"control character":              "<r>\x01</r>",
		"escaped control character":      `<r>&#1;</r>`,
		"escaped surrogate":              `<r>&#xD800;</r>`,
		"surrogate in an attribute":      `<r a="&#xDFFF;"/>`,
		"broken UTF-8":                   "<r>\xff</r>",
		"attribute twice":                `<r a="1" a="1"/>`,
		"attribute without quotes":       `<r a=1/>`,
		"prefix":                         `<x:r xmlns:x="y"/>`,
		"name space":                     `<r xmlns="y"/>`,
		"attribute with prefix":          `<r x:a="1"/>`,
		"processing instruction":         `<?php x?><r/>`,
		"stylesheet":                     `<?xml-stylesheet href="x"?><r/>`,
		"instruction inside":             `<r><?x y?></r>`,
		"second declaration":             `<?xml version="1.0"?><?xml version="1.0"?><r/>`,
		"declaration inside":             `<r><?xml version="1.0"?></r>`,
		"XML 1.1":                        `<?xml version="1.1"?><r/>`,
		"internal subset":                `<!DOCTYPE r SYSTEM "x" []><r/>`,
		"only an internal subset":        `<!DOCTYPE r []><r/>`,
		"document type without address":  `<!DOCTYPE r><r/>`,
		"document type with a comment":   `<!DOCTYPE r <!-- x --> SYSTEM "x"><r/>`,
		"document type twice":            `<!DOCTYPE r SYSTEM "x"><!DOCTYPE r SYSTEM "x"><r/>`,
		"document type inside":           `<r><!DOCTYPE r SYSTEM "x"></r>`,
		"document type behind":           `<r/><!DOCTYPE r SYSTEM "x">`,
		"document type in small letters": `<!doctype r SYSTEM "x"><r/>`,
		"notation":                       `<!NOTATION n SYSTEM "x"><r/>`,
		"text beside an element":         `<r>x<a/></r>`,
		"element beside text":            `<r><a/>x</r>`,
		"comment cuts a text":            `<r>admin<!-- -->istrator</r>`,
		"comment behind a text":          `<r>admin<!-- --></r>`,
		"open comment":                   `<!-- <r/>`,
		"open CDATA":                     `<r><![CDATA[x</r>`,
		"end of CDATA alone":             `<r>]]></r>`,
	} {
		t.Run(name, func(t *testing.T) {
			text, err := toUTF8([]byte(document), unstated)
			var root *element
			if err == nil {
				root, err = parseXML(text)
			}
			if ticket.ReasonOf(err) != ticket.Invalid {
				t.Errorf("read as %+v, %v", root, err)
			}
		})
	}
}

func TestHarmlessThingsAreRead(t *testing.T) {
	for _, document := range []string{
		`<r><a>x y</a></r>`,
		"\ufeff<r><a>x y</a></r>",
		"\n <?xml version='1.0' encoding='utf-8' standalone='yes' ?>\r\n<!DOCTYPE r SYSTEM 'r.dtd'>\n<r>\n <a>\n\tx y </a></r> \n",
		`<!DOCTYPE r PUBLIC "-//x//y" "r.dtd"><r><a>x&#32;y</a></r>`,
		`<!-- a --><r><!-- b --><a><![CDATA[x]]> y</a></r><!-- c -->`,
		`<!--DOCTYPE r SYSTEM "x"--><r b="1"><a c='2'>x y</a></r>`,
	} {
		text, err := toUTF8([]byte(document), unstated)
		if err != nil {
			t.Fatal(err)
		}
		root, err := parseXML(text)
		if err != nil || root.name != "r" || len(root.children) != 1 || root.children[0].text != "x y" {
			t.Errorf("%s is %+v, %v", document, root, err)
		}
	}
}

// The bounds are where they are said to be: what is just within passes.
func TestBounds(t *testing.T) {
	for name, test := range map[string]struct {
		document func(n int) string
		most     int
	}{
		"depth":      {func(n int) string { return strings.Repeat("<r>", n) + strings.Repeat("</r>", n) }, maxDepth},
		"elements":   {func(n int) string { return "<r>" + strings.Repeat("<a/>", n-1) + "</r>" }, maxElements},
		"attributes": {func(n int) string { return "<r" + ` a="" b="" c="" d="" e=""`[:n*5] + "/>" }, maxAttributes},
		"name":       {func(n int) string { return "<" + strings.Repeat("r", n) + "/>" }, maxName},
		"attribute":  {func(n int) string { return `<r a="` + strings.Repeat("x", n) + `"/>` }, maxAttribute},
		"its name":   {func(n int) string { return `<r ` + strings.Repeat("x", n) + `=""/>` }, maxName},
		"text":       {func(n int) string { return "<r>" + strings.Repeat("x", n) + "</r>" }, maxText},
	} {
		if _, err := parseXML([]byte(test.document(test.most))); err != nil {
			t.Errorf("%s of %d: %v", name, test.most, err)
		}
		if _, err := parseXML([]byte(test.document(test.most + 1))); err == nil {
			t.Errorf("%s of %d is accepted", name, test.most+1)
		}
	}
}

func TestCharsets(t *testing.T) {
	const want = "<r>Jürgen</r>"
	latin1 := "<r>J\xfcrgen</r>"
	for name, test := range map[string]struct {
		stated   string // by Content-Type
		document string
		ok       bool
	}{
		"nothing said":                  {"", want, true},
		"mark":                          {"", "\ufeff" + want, true},
		"UTF-8":                         {"utf-8", `<?xml version="1.0" encoding="UTF-8"?>` + want, true},
		"Latin 1 declared":              {"", `<?xml version="1.0" encoding="ISO-8859-1"?>` + latin1, true},
		"Latin 1 by type":               {"iso-8859-1", latin1, true},
		"Latin 1 by both":               {"ISO-8859-1", `<?xml version="1.0" encoding="iso-8859-1"?>` + latin1, true},
		"US-ASCII":                      {"us-ascii", "<r>J&#252;rgen</r>", true},
		"Latin 1 that says nothing":     {"", latin1, false},
		"Latin 1 that says UTF-8":       {"utf-8", latin1, false},
		"more than US-ASCII":            {"us-ascii", want, false},
		"type against declaration":      {"utf-8", `<?xml version="1.0" encoding="ISO-8859-1"?><r>Jurgen</r>`, false},
		"mark against declaration":      {"", "\ufeff" + `<?xml version="1.0" encoding="ISO-8859-1"?><r>Jurgen</r>`, false},
		"mark against type":             {"iso-8859-1", "\ufeff" + want, false},
		"an encoding that is not known": {"", `<?xml version="1.0" encoding="windows-1252"?>` + latin1, false},
		"UTF-16":                        {"", "\xff\xfe<\x00r\x00/\x00>\x00", false},
		"UTF-7":                         {"", `<?xml version="1.0" encoding="UTF-7"?>+ADw-r/+AD4-`, false},
	} {
		t.Run(name, func(t *testing.T) {
			stated, known := charsetOf(test.stated)
			if !known {
				t.Fatal("not known")
			}
			text, err := toUTF8([]byte(test.document), stated)
			var root *element
			if err == nil {
				root, err = parseXML(text)
			}
			if test.ok != (err == nil) || test.ok && root.text != "Jürgen" {
				t.Errorf("%+v, %v", root, err)
			}
		})
	}
}

func TestMediaTypes(t *testing.T) {
	for contentType, want := range map[string]bool{
		"text/xml": true, "Text/XML": true, "text/xml; charset=utf-8": true, `text/xml;charset="ISO-8859-1"`: true,
		"application/xml": true, "application/x-www-form-urlencoded": true,
		"": false, "text/plain": false, "application/json": false, "text/xml; charset=utf-16": false,
		"multipart/form-data; boundary=x": false, "text/html": false, "application/soap+xml": false,
	} {
		if _, got := isXML([]string{contentType}); got != want {
			t.Errorf("%q: %t", contentType, got)
		}
	}
	if _, ok := isXML([]string{"text/xml", "text/xml"}); ok {
		t.Error("two types are one too many")
	}
	if _, ok := isXML(nil); ok {
		t.Error("no type is none")
	}
}
