package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract is openapi.json. Every request and every answer that passes a test's
// door is held against it.
type contract struct {
	mu       sync.Mutex // guards the compiler and what it made
	document map[string]any
	compiler *jsonschema.Compiler
}

func readContract(t testing.TB) *contract {
	t.Helper()
	data, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{document: document.(map[string]any), compiler: jsonschema.NewCompiler()}
	c.compiler.AssertFormat()
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	if err := c.compiler.AddResource("file:///openapi.json", document); err != nil {
		t.Fatal(err)
	}
	return c
}

// pointer makes a place in the document of its steps (RFC 6901).
func pointer(steps ...string) string {
	var b strings.Builder
	for _, step := range steps {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step))
	}
	return b.String()
}

// at gives what stands at a place, nil for nothing. It follows a reference, and
// says where that led.
func (c *contract) at(place string) (any, string) {
	var v any = c.document
	for step := range strings.SplitSeq(strings.TrimPrefix(place, "/"), "/") {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, place
		}
		v = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
	}
	if object, ok := v.(map[string]any); ok {
		if ref, ok := object["$ref"].(string); ok {
			return c.at(strings.TrimPrefix(ref, "#"))
		}
	}
	return v, place
}

// check holds a value against the schema at a place.
func (c *contract) check(place string, v any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fragment := (&url.URL{Fragment: place}).String()
	schema, err := c.compiler.Compile("file:///openapi.json" + fragment)
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

func (c *contract) checkJSON(place string, data []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return c.check(place, v)
}

// operation finds what a request is, "" for none.
func (c *contract) operation(method, path string) string {
	if id, found := strings.CutPrefix(path, "/v1/tickets/"); found && c.check("/components/schemas/ID", id) == nil {
		path = "/v1/tickets/{id}"
	}
	place := pointer("paths", path, strings.ToLower(method))
	if v, _ := c.at(place); v == nil {
		return ""
	}
	return place
}

// watch stands before a door and reports what the contract does not say.
func (c *contract) watch(t testing.TB, door http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var sent bytes.Buffer
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &sent), r.Body}
		seen := &recorder{ResponseWriter: w, status: http.StatusOK}
		door.ServeHTTP(seen, r)
		if err := c.judge(r, sent.Bytes(), seen); err != nil {
			t.Errorf("%s %.200s %.200s: %d %.500s: %v", r.Method, r.URL, sent.Bytes(), seen.status, seen.body.Bytes(), err)
		}
	})
}

type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.body.Write(p)
	return r.ResponseWriter.Write(p)
}

func (c *contract) judge(r *http.Request, sent []byte, seen *recorder) error {
	operation := c.operation(r.Method, r.URL.Path)
	if operation == "" {
		if seen.status != 401 && seen.status != 404 && seen.status != 405 && seen.status != 429 {
			return fmt.Errorf("this is no operation, and there is an answer")
		}
		return c.checkJSON("/components/schemas/Problem", seen.body.Bytes())
	}
	if seen.status < 300 {
		if err := c.judgeRequest(operation, r, sent); err != nil {
			return fmt.Errorf("the request: %w", err)
		}
	}
	declared, place := c.at(operation + pointer("responses", fmt.Sprint(seen.status)))
	response, ok := declared.(map[string]any)
	if !ok {
		return fmt.Errorf("the status is not declared")
	}
	headers, _ := response["headers"].(map[string]any)
	for name, header := range headers {
		value := seen.Header().Get(name)
		required := header.(map[string]any)["required"] == true
		schema := place + pointer("headers", name, "schema")
		if required && value == "" || value != "" && c.check(schema, c.typed(schema, value)) != nil {
			return fmt.Errorf("header %s is %q", name, value)
		}
	}
	content, _ := response["content"].(map[string]any)
	if content == nil && seen.body.Len() == 0 {
		return nil
	}
	contentType := seen.Header().Get("Content-Type")
	if content[contentType] == nil {
		return fmt.Errorf("type %q is not declared", contentType)
	}
	return c.checkJSON(place+pointer("content", contentType, "schema"), seen.body.Bytes())
}

func (c *contract) judgeRequest(operation string, r *http.Request, sent []byte) error {
	parameters, place := c.at(operation + pointer("parameters"))
	places := make(map[string]string)
	list, _ := parameters.([]any)
	for i, p := range list {
		places[p.(map[string]any)["name"].(string)] = place + pointer(fmt.Sprint(i), "schema")
	}
	for name, values := range r.URL.Query() {
		if places[name] == "" {
			return fmt.Errorf("parameter %s is not declared", name)
		}
		if err := c.check(places[name], c.typed(places[name], values[0])); err != nil {
			return fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	if body, at := c.at(operation + pointer("requestBody")); body != nil {
		return c.checkJSON(at+pointer("content", "application/json", "schema"), sent)
	}
	return nil
}

// typed gives a text as what a schema takes it for.
func (c *contract) typed(schema, value string) any {
	steps := strings.Split(strings.TrimPrefix(schema, "/"), "/")
	var v any = c.document
	for _, step := range steps {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			var i int
			_, _ = fmt.Sscan(step, &i)
			v = at[i]
		}
	}
	if kind := v.(map[string]any)["type"]; kind == "integer" || kind == "number" {
		return json.Number(value)
	}
	return value
}

// Both sides refuse a member that is not known: the door in requests, and whoever
// judges answers by the document.
func TestContractIsClosed(t *testing.T) {
	c := readContract(t)
	var walk func(place string, v any)
	walk = func(place string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if v["type"] == "object" && v["additionalProperties"] == nil {
				t.Errorf("%s takes any member", place)
			}
			for name, member := range v {
				walk(place+pointer(name), member)
			}
		case []any:
			for i, member := range v {
				walk(place+pointer(fmt.Sprint(i)), member)
			}
		}
	}
	schemas, place := c.at("/components/schemas")
	walk(place, schemas)
}

// The door and the document take and refuse the same bodies.
func TestContractAndDoorAgree(t *testing.T) {
	d, c := openDoor(t), readContract(t)
	long := strings.Repeat("u", 513)
	for _, test := range []struct {
		path, schema string
		good, bad    []string
	}{
		{"/v1/tickets", "IssueRequest", []string{
			`{"user":"u","device":"d"}`,
			`{"user":"u","device":"d","app":"a","platform":"p","groups":["g"],"services":["a:1"],"data":[{"name":"n","value":""}],"lifetime":1,"refreshable":true}`,
		}, []string{
			`{"user":"u"}`, `{"user":"u","device":""}`, `{"user":"u","device":"d","x":1}`, `{"user":"u","device":"d","services":[]}`,
			`{"user":"u","device":"d","lifetime":0}`, `{"user":"u","device":"d","lifetime":1.5}`, `{"user":"` + long + `","device":"d"}`,
			`{"user":"u","device":"d","data":[{"name":"n","value":"v","x":1}]}`, `{"user":null,"device":"d"}`, `[]`,
			`{"user":"u","device":"d","groups":[""]}`,
		}},
		{"/v1/revocations", "RevocationRequest", []string{
			`{"user":"u"}`, `{"user":"u","device":"d","operator":"ö","all_matching":true}`, `{"device":"d","before":"2026-03-01T09:00:00+02:00","all_matching":true}`,
			`{"family":"aaaa"}`, `{"all":true,"stage":86400}`, `{"all":true,"before":"2026-03-01T09:00:00Z"}`, `{"all":false,"user":"u"}`,
		}, []string{
			`{}`, `{"all":false}`, `{"all":true,"user":"u"}`, `{"ticket":"aaaa","family":"aaaa"}`, `{"user":"u","family":"aaaa"}`, `{"user":""}`,
			`{"all":true,"stage":0}`, `{"all":true,"stage":86401}`, `{"user":"u","stage":1}`, `{"family":"aaaa","before":"2026-03-01T09:00:00Z"}`,
			`{"all":true,"before":"yesterday"}`, `{"user":"u","operator":""}`, `{"user":"u","serial":1}`, `{"all":1}`, `{"ticket":"A"}`, `{"user":"` + long + `"}`,
		}},
		{"/v1/redeem", "RedeemRequest", nil, []string{`{}`, `{"hash":""}`, `{"hash":"abc"}`, `{"hash":1}`, `{"hash":"` + strings.Repeat("A", 43) + `","x":1}`}},
		{"/v1/cuts", "CutReport", []string{
			`{"applied":""}`, `{"applied":"a:1,b.c:22","cuts":{"a:1":0},"logs":{}}`,
		}, []string{
			`{}`, `{"applied":1}`, `{"applied":"a:0"}`, `{"applied":"a"}`, `{"applied":"","cuts":{"a":1}}`, `{"applied":"","cuts":{"a:1":-1}}`,
			`{"applied":"","cuts":{"a:1":"1"}}`, `{"applied":"","logs":{"a":"x.y.z"}}`, `{"applied":"","logs":{"a":["x"]}}`, `{"applied":"","x":{}}`,
		}},
	} {
		for i, body := range append(append([]string(nil), test.good...), test.bad...) {
			good := i < len(test.good)
			if err := c.checkJSON("/components/schemas/"+test.schema, []byte(body)); (err == nil) != good {
				t.Errorf("the document on %.200s: %v", body, err)
			}
			header := d.as("desk")
			if a := d.send(t, "POST", test.path, body, header); (a.StatusCode < 300) != good {
				t.Errorf("the door on %.200s: %d %s", body, a.StatusCode, a.body)
			}
		}
	}
}

// The document takes no key, and costs a stranger a connection.
func TestTheDocumentIsOpen(t *testing.T) {
	d := openDoor(t)
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range []http.Header{nil, {"Authorization": {"Bearer x"}}, d.as("desk"), d.as("elsewhere")} {
		a := d.send(t, "GET", "/v1/openapi.json", "", header)
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/json" || !bytes.Equal(a.body, want) {
			t.Errorf("%d %s: %d bytes", a.StatusCode, a.Header, len(a.body))
		}
	}
	for _, request := range [][2]string{{"POST", "/v1/openapi.json"}, {"GET", "/v1/openapi.json?x"}, {"GET", "/v1/openapi.json/"}, {"HEAD", "/v1/openapi.json"}} {
		if a := d.send(t, request[0], request[1], "", nil); a.StatusCode != 401 {
			t.Errorf("%v: a stranger is answered %d", request, a.StatusCode)
		}
	}
}
