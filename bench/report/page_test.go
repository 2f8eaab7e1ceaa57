package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/html"
)

// hostile is what a host would send that wants to be more than text.
const hostile = `"'><script>alert(1)</script><img src=//evil.example/x onerror=alert(2)>` +
	`</style></svg></title><a href="javascript:alert(3)">` + "\x1b[31m\u202e{{.}}"

// poison puts it into every text of a value, keys included. Times, histograms and
// addresses keep theirs.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Pointer:
		poison(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().PkgPath() != "time" {
				poison(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			poison(v.Index(i))
		}
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String || v.Len() == 0 {
			return
		}
		poisoned := reflect.MakeMap(v.Type())
		value := reflect.New(v.Type().Elem()).Elem()
		value.Set(v.MapIndex(v.MapKeys()[0]))
		poison(value)
		poisoned.SetMapIndex(reflect.ValueOf(hostile), value)
		v.Set(poisoned)
	}
}

func poisoned() *Report {
	r := storm()
	r.Void = []Cause{{What: "sink", Says: "says", Evidence: []string{"evidence"}}}
	r.Rounds[0].Void = r.Void
	// The histograms are shared with nobody, and a poisoned scenario is of no kind.
	poison(reflect.ValueOf(r))
	r.Endpoints = r.Endpoints[:1]
	return r
}

// pages are one of each kind, by name, made once.
var pages = sync.OnceValues(func() (map[string]string, error) {
	void, single, bare := storm(), storm(), &Report{Format: Format}
	void.Void = []Cause{{What: "sink", Says: "The sink was the limit.", Evidence: []string{"busy 63 % of 214 s"}}}
	single.Endpoints = single.Endpoints[:1]
	pages := make(map[string]string)
	for name, write := range map[string]func(io.Writer) error{
		"storm": madeStorm().WritePage, "void": void.WritePage, "single": single.WritePage, "empty": bare.WritePage,
		"hostile": poisoned().WritePage, "difference": Diff(madeStorm(), later()).WritePage,
		"void difference": Diff(void, later()).WritePage, "hostile difference": Diff(poisoned(), storm()).WritePage,
		"empty difference": Diff(bare, bare).WritePage,
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		pages[name] = b.String()
	}
	return pages, nil
})

func pagesOf(t *testing.T) map[string]string {
	t.Helper()
	all, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestPagesAreWholeAndHarmless reads each page token by token: tags are closed in
// order, nothing is fetched, nothing runs.
func TestPagesAreWholeAndHarmless(t *testing.T) {
	for name, page := range pagesOf(t) {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(page, "ZgotmplZ") {
				t.Error("the template met something that it could not escape")
			}
			if strings.ContainsAny(page, "\x1b\u202e\u0000") {
				t.Error("a control character reached the page")
			}
			walk(t, page)
		})
	}
}

func walk(t *testing.T, page string) {
	var open, ids, links []string
	single := []string{"meta", "br"}
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				t.Fatal(z.Err())
			}
			if len(open) > 0 {
				t.Errorf("never closed: %v", open)
			}
			for _, l := range links {
				if !slices.Contains(ids, strings.TrimPrefix(l, "#")) {
					t.Errorf("a link to %s, which is not there", l)
				}
			}
			return
		case html.StartTagToken:
			tag := z.Token()
			ids, links = attributes(t, tag, ids, links)
			if !slices.Contains(single, tag.Data) {
				open = append(open, tag.Data)
			}
		case html.SelfClosingTagToken:
			ids, links = attributes(t, z.Token(), ids, links)
		case html.EndTagToken:
			tag := z.Token().Data
			if len(open) == 0 || open[len(open)-1] != tag {
				t.Fatalf("</%s> within %v", tag, open)
			}
			open = open[:len(open)-1]
		}
	}
}

// elements and attrs are all that a page is made of.
var (
	elements = strings.Fields(`html head meta title style body main header section nav div p h1 h2 h3 h4 ul li dl dt dd table thead tbody tr th td
		figure figcaption details summary small strong b i a span br pre svg path line rect circle text`)
	attrs = strings.Fields(`lang charset http-equiv content name class id role href scope colspan tabindex aria-label
		viewbox d x y x1 y1 x2 y2 cx cy r width height text-anchor`)
)

func attributes(t *testing.T, tag html.Token, ids, links []string) ([]string, []string) {
	t.Helper()
	if !slices.Contains(elements, tag.Data) {
		t.Errorf("<%s> on the page", tag.Data)
	}
	for _, a := range tag.Attr {
		switch {
		case !slices.Contains(attrs, strings.ToLower(a.Key)):
			t.Errorf("<%s %s=%q>", tag.Data, a.Key, a.Val)
		case a.Key == "id":
			ids = append(ids, a.Val)
		case a.Key == "href":
			if !strings.HasPrefix(a.Val, "#") {
				t.Errorf("a link to %q", a.Val)
			}
			links = append(links, a.Val)
		}
	}
	return ids, links
}

// TestPolicyNamesTheStyle: the hash in the policy is the one of the style sheet as it
// stands on the page, else a browser would not apply it.
func TestPolicyNamesTheStyle(t *testing.T) {
	for name, page := range pagesOf(t) {
		doc, err := html.Parse(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		var policy, style string
		for n := range doc.Descendants() {
			switch {
			case n.Type == html.ElementNode && n.Data == "style":
				style = n.FirstChild.Data
			case n.Type == html.ElementNode && n.Data == "meta" && n.Attr[0].Val == "Content-Security-Policy":
				policy = n.Attr[1].Val
			}
		}
		sum := sha256.Sum256([]byte(style))
		if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"; !strings.Contains(policy, want) {
			t.Errorf("%s: %q does not have %q", name, policy, want)
		}
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %q", name, policy)
		}
		for _, fetch := range []string{"@import", "url(", "//"} {
			if strings.Contains(style, fetch) {
				t.Errorf("the style sheet has %s", fetch)
			}
		}
	}
}

// TestStepsAreFolded: what the scenario is about is seen at once, the figures of its
// steps when they are asked for, and none of them is lost.
func TestStepsAreFolded(t *testing.T) {
	figures, rest, found := strings.Cut(pagesOf(t)["storm"], "<details>")
	folded, _, closed := strings.Cut(rest, "</details>")
	if !found || !closed || !strings.Contains(folded, "<summary>") {
		t.Fatal("nothing is folded")
	}
	for _, f := range madeStorm().Figures {
		row, in, out := `<th scope="row">`+f.Name+"<", figures, folded
		if f.Name == "setup p99" {
			in, out = out, in
		}
		if !strings.Contains(in, row) || strings.Contains(out, row) {
			t.Errorf("%q is not where it belongs", f.Name)
		}
	}
}

// TestVoidComesFirst: nobody may meet a figure of a void run before the word.
func TestVoidComesFirst(t *testing.T) {
	page := pagesOf(t)["void"]
	body := page[strings.Index(page, "<body"):]
	void, first := strings.Index(body, "VOID"), strings.Index(body, "ms")
	if void < 0 || first < void {
		t.Errorf("VOID stands at %d, the first figure at %d", void, first)
	}
	for _, want := range []string{"The sink was the limit.", "busy 63 % of 214 s", "not judged", "Nothing that counts."} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(body, ">met<") && strings.Contains(body[:strings.Index(body, `id="figures"`)], ">met<") {
		t.Error("an objective of a void run is said to be met")
	}
	if strings.Contains(pagesOf(t)["storm"], "VOID") {
		t.Error("a run that counts is called void")
	}
}
