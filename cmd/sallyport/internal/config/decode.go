package config

import (
	"cmp"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader turns one file into a Config and collects what there is to say.
type reader struct {
	file       string
	base       string
	allowPort0 bool
	// withoutSecrets is the option of that name.
	withoutSecrets bool
	lines          []string
	diagnostics    Diagnostics
	places         map[string]place
	fileTests      []fileTest
}

// place is where a key is, or where it would be.
type place struct {
	line, column int
	// form is the path without what is particular to this file: items are []
	// and names of the user's own are NAME.
	form string
	// given says that the file has the key; else it is a default, and the place
	// is that of the section around it.
	given bool
	// bad says that the value was refused, so that it is not judged twice.
	bad bool
	// value is the value as text, if the key has a single one.
	value string
	// single says that it has.
	single bool
}

// key is the path of a key: as in this file, and in general.
type key struct{ path, form string }

func (k key) child(name string) key {
	return key{strings.TrimPrefix(k.path+"."+name, "."), strings.TrimPrefix(k.form+"."+name, ".")}
}

func (k key) entry(name string) key {
	return key{k.path + "." + name, k.form + ".NAME"}
}

func (k key) item(i int) key {
	return key{k.path + "[" + strconv.Itoa(i) + "]", k.form + "[]"}
}

func (r *reader) add(line, column int, path string, severity Severity, message string) {
	r.diagnostics = append(r.diagnostics, Diagnostic{
		File: r.file, Line: max(line, 1), Column: max(column, 1), Key: path, Severity: severity, Message: message,
	})
}

// reject reports a value that cannot be used.
func (r *reader) reject(n *yaml.Node, at key, message string) {
	r.add(n.Line, n.Column, at.path, Error, message)
	r.markBad(at.path)
}

func (r *reader) markBad(path string) {
	p := r.places[path]
	p.bad = true
	r.places[path] = p
}

// decode stores a node in v, which the tags of its field rule.
func (r *reader) decode(n *yaml.Node, v reflect.Value, at key, tag reflect.StructTag) {
	switch {
	case n.Kind == yaml.AliasNode:
		r.markBad(at.path) // and reported already
		return
	case isEmpty(n):
		r.reject(n, at, "has no value; give it "+wants(v.Type(), tag)+", or leave it out")
		return
	case n.Kind == yaml.ScalarNode && r.decodeScalar(n, v, at, tag):
		return
	case n.Kind == yaml.SequenceNode && tag.Get("is") == "services":
		r.reject(n, at, "is a list; write it as one text: "+oneText(n))
		return
	case isScalarType(v.Type()):
		r.reject(n, at, "needs "+wants(v.Type(), tag))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.decode(n, v.Elem(), at, tag)
	case reflect.Slice:
		if r.wantKind(n, yaml.SequenceNode, v, at, tag) {
			r.decodeList(n, v, at, tag)
		}
	case reflect.Map:
		if r.wantKind(n, yaml.MappingNode, v, at, tag) {
			r.decodeNames(n, v, at, tag)
		}
	case reflect.Struct:
		if r.wantKind(n, yaml.MappingNode, v, at, tag) {
			r.decodeSection(n, v, at)
		}
	}
}

func (r *reader) wantKind(n *yaml.Node, kind yaml.Kind, v reflect.Value, at key, tag reflect.StructTag) bool {
	if n.Kind == kind {
		return true
	}
	r.reject(n, at, "needs "+wants(v.Type(), tag))
	return false
}

// decodeSection fills a struct from a mapping and gives defaults to the keys
// that are missing.
func (r *reader) decodeSection(n *yaml.Node, v reflect.Value, at key) {
	fields := fieldsOf(v.Type())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	seen := r.keysOf(n, at)
	for _, pair := range seen {
		if !containsField(fields, pair.name) {
			message := "unknown key"
			if len(r.diagnostics) < maxDiagnostics { // a hint costs far more than the rest
				message += hint(pair, n, names, at)
			}
			unknown := at.child(shown(pair.name)).path
			r.add(pair.key.Line, pair.key.Column, unknown, Error, message)
			r.markBad(unknown) // it may be a setting, misspelt
		}
	}
	for _, f := range fields {
		field, to := v.FieldByIndex(f.index), at.child(f.name)
		if pair, ok := pairOf(seen, f.name); ok {
			r.record(pair, to, true)
			r.decode(pair.value, field, to, f.tag)
		} else {
			r.decodeDefault(r.places[at.path], field, to, f.tag)
		}
	}
}

// hint is the end of a message about an unknown key.
func hint(pair keyPair, section *yaml.Node, known []string, at key) string {
	if near := didYouMean(pair.name, known); near != "" {
		return near
	}
	if section.Style&yaml.FlowStyle != 0 && isEmpty(pair.value) {
		// As in {background_services: a.example:443,b.example:443}.
		return "; between braces, quote a value that has commas"
	}
	return belongs(pair.name, at.form)
}

// decodeDefault gives a missing key its default, at the place of its section.
func (r *reader) decodeDefault(section place, v reflect.Value, at key, tag reflect.StructTag) {
	r.places[at.path] = place{line: section.line, column: section.column, form: at.form}
	if text, ok := tag.Lookup("default"); ok {
		node := defaultNode(text)
		move(node, section.line, section.column)
		r.decode(node, v, at, tag)
	} else if v.Kind() == reflect.Struct && !isScalarType(v.Type()) {
		r.decodeSection(&yaml.Node{Kind: yaml.MappingNode}, v, at)
	}
}

// defaultNode reads the default in a tag; one that is no YAML is a mistake of
// ours, which no test run survives.
func defaultNode(text string) *yaml.Node {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		panic("config: a default in the schema is no YAML: " + text)
	}
	return document.Content[0]
}

func move(n *yaml.Node, line, column int) {
	n.Line, n.Column = line, column
	for _, child := range n.Content {
		move(child, line, column)
	}
}

// decodeNames fills a map whose keys the user chooses. With the tag is, they
// are names of hosts.
func (r *reader) decodeNames(n *yaml.Node, v reflect.Value, at key, tag reflect.StructTag) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, pair := range r.keysOf(n, at) {
		name, problem := pair.name, ""
		if tag.Get("is") == "fqdn" {
			name, problem = hostName(pair.name)
		} else if !isName(pair.name) {
			problem = nameRule
		}
		to := at.entry(shown(cmp.Or(name, pair.name)))
		if problem == "" && v.MapIndex(reflect.ValueOf(name)).IsValid() {
			problem = "is the same name as one above, in another spelling"
		}
		if problem != "" {
			r.add(pair.key.Line, pair.key.Column, to.path, Error, problem)
			continue
		}
		r.record(pair, to, true)
		item := reflect.New(v.Type().Elem()).Elem()
		r.decode(pair.value, item, to, "")
		v.SetMapIndex(reflect.ValueOf(name), item)
	}
}

func (r *reader) decodeList(n *yaml.Node, v reflect.Value, at key, tag reflect.StructTag) {
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, child := range n.Content {
		to := at.item(i)
		r.record(keyPair{key: child, value: child}, to, true)
		if child.Kind == yaml.ScalarNode && child.Value == "" && v.Type().Elem().Kind() == reflect.String {
			r.reject(child, to, "is empty")
			continue
		}
		r.decode(child, v.Index(i), to, tag)
	}
}

// keyPair is one entry of a mapping.
type keyPair struct {
	name       string
	key, value *yaml.Node
}

// keysOf returns the entries of a mapping, without those whose keys are
// doubled or no words.
func (r *reader) keysOf(n *yaml.Node, at key) []keyPair {
	first := make(map[string]int, len(n.Content)/2)
	pairs := make([]keyPair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		switch line, doubled := first[name.Value]; {
		case name.Kind == yaml.AliasNode:
		case name.Kind != yaml.ScalarNode:
			r.add(name.Line, name.Column, at.path, Error, "needs words as keys")
		case name.Value == "<<" && name.Style == 0:
			r.add(name.Line, name.Column, at.path, Error, "a merge key (<<) is not used in this file; write the keys out")
		case doubled:
			r.add(name.Line, name.Column, at.child(shown(name.Value)).path, Error, "the key stands on line "+strconv.Itoa(line)+" already")
		default:
			first[name.Value] = name.Line
			pairs = append(pairs, keyPair{name.Value, name, value})
		}
	}
	return pairs
}

func pairOf(pairs []keyPair, name string) (keyPair, bool) {
	for _, p := range pairs {
		if p.name == name {
			return p, true
		}
	}
	return keyPair{}, false
}

// record notes where a key is: at its value, or, since the values of sections
// and lists may begin on the next line, at the key.
func (r *reader) record(pair keyPair, at key, given bool) {
	p := place{line: pair.key.Line, column: pair.key.Column, form: at.form, given: given}
	if pair.value.Kind == yaml.ScalarNode {
		p.line, p.column = pair.value.Line, pair.value.Column
		p.value, p.single = pair.value.Value, true
	}
	r.places[at.path] = p
}
