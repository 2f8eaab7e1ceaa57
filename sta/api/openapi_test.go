package api

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sta/ticket"
)

// described is what these tests read of the document.
type described struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Name, In string
		}
	}
	Components struct {
		Schemas struct {
			Reason struct{ Enum []ticket.Reason }
		}
	}
}

func readDocument(t *testing.T) (d described) {
	t.Helper()
	var raw struct {
		Paths      map[string]map[string]json.RawMessage
		Components json.RawMessage
	}
	if err := json.Unmarshal(document, &raw); err != nil {
		t.Fatal(err)
	}
	for _, path := range raw.Paths {
		delete(path, "parameters") // of the path, which has none in its query
	}
	again, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Every route of the handler is in the document, with the parameters that it
// takes, and the other way round.
func TestDocumentHasTheRoutes(t *testing.T) {
	d := readDocument(t)
	for _, route := range routes {
		path := d.Paths[route.pattern]
		if len(path) != len(route.methods) {
			t.Errorf("%s: %d methods, and %d in the document", route.pattern, len(route.methods), len(path))
		}
		allow := strings.Split(route.allow, ", ")
		if len(allow) != len(route.methods) {
			t.Errorf("%s allows %q", route.pattern, route.allow)
		}
		for method, at := range route.methods {
			operation, found := path[strings.ToLower(method)]
			if !found || !slices.Contains(allow, method) {
				t.Errorf("%s %s is not in the document, or not allowed", method, route.pattern)
			}
			var names []string
			for _, parameter := range operation.Parameters {
				if parameter.In == "query" {
					names = append(names, parameter.Name)
				}
			}
			slices.Sort(names)
			if takes := slices.Sorted(slices.Values(at.takes)); !slices.Equal(names, takes) {
				t.Errorf("%s %s takes %v, and %v in the document", method, route.pattern, takes, names)
			}
		}
	}
	for path := range d.Paths {
		route, _, found := find(strings.Replace(path, "{id}", "aaaa", 1))
		if !found || route.pattern != path {
			t.Errorf("%s leads nowhere", path)
		}
	}
	if len(d.Paths) != len(routes) {
		t.Errorf("%d paths, and %d in the document", len(routes), len(d.Paths))
	}
}

// The reasons of the document, and those that a Client takes, are the closed list.
func TestReasonsAreTheClosedList(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../ticket/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var closed []ticket.Reason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Reason" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			closed = append(closed, ticket.Reason(text))
		}
		return true
	})
	slices.Sort(closed)
	if len(closed) < 20 {
		t.Fatalf("only %d reasons were found", len(closed))
	}
	if enum := slices.Sorted(slices.Values(readDocument(t).Components.Schemas.Reason.Enum)); !slices.Equal(enum, closed) {
		t.Errorf("the document has %v, the list is %v", enum, closed)
	}
	for _, reason := range closed {
		if !known(reason) {
			t.Errorf("a Client does not know %q", reason)
		}
	}
}
