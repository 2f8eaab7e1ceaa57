package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// field is one key of a section.
type field struct {
	name  string
	index []int
	tag   reflect.StructTag
}

// fieldsOf lists the keys of a section in the order of the struct.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for f := range structFields(t) {
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append(slices.Clone(f.Index), inner.index...)
				fields = append(fields, inner)
			}
		case name != "" && name != "-":
			fields = append(fields, field{name, f.Index, f.Tag})
		}
	}
	return fields
}

func structFields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

func containsField(fields []field, name string) bool {
	return slices.ContainsFunc(fields, func(f field) bool { return f.name == name })
}

// schemaKey is one key that a file may hold.
type schemaKey struct {
	form string
	typ  reflect.Type
	tag  reflect.StructTag
}

// schema lists every key that a file may hold, sections included, in the order
// of the structs.
func schema() []schemaKey {
	var keys []schemaKey
	var walk func(t reflect.Type, form string)
	walk = func(t reflect.Type, form string) {
		switch {
		case isScalarType(t):
		case t.Kind() == reflect.Pointer:
			walk(t.Elem(), form)
		case t.Kind() == reflect.Slice:
			walk(t.Elem(), form+"[]")
		case t.Kind() == reflect.Map:
			walk(t.Elem(), form+".NAME")
		case t.Kind() == reflect.Struct:
			for _, f := range fieldsOf(t) {
				child := key{form: form}.child(f.name).form
				typ := t.FieldByIndex(f.index).Type
				keys = append(keys, schemaKey{child, typ, f.tag})
				walk(typ, child)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return keys
}

// belongs says where an unknown key would be known, if that is one place.
func belongs(name, here string) string {
	found := ""
	for _, k := range schema() {
		if strings.HasSuffix(k.form, "."+name) && !strings.Contains(k.form, "[]") && !strings.Contains(k.form, "NAME") {
			if found != "" {
				return ""
			}
			found = k.form
		}
	}
	if found == "" || found == (key{form: here}).child(name).form {
		return ""
	}
	return "; it belongs under " + strings.TrimSuffix(found, "."+name)
}

// isScalarType reports whether values of the type are written as one word.
func isScalarType(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[netip.Addr](),
		reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[netip.Prefix]():
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Uint16:
		return true
	}
	return false
}

// wants says what a value of the type looks like, behind "needs".
func wants(t reflect.Type, tag reflect.StructTag) string {
	if words := strings.Fields(tag.Get("oneof")); len(words) > 0 && t.Kind() == reflect.String {
		return either(words)
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 168h"
	case reflect.TypeFor[netip.Addr]():
		return "an IP address such as 10.0.0.25"
	case reflect.TypeFor[netip.AddrPort]():
		return "an address and port such as 127.0.0.1:8443"
	case reflect.TypeFor[netip.Prefix]():
		if tag.Get("is") == "servers" {
			return "the address of a server such as 10.0.0.25, or a network of them such as 10.0.0.24/29"
		}
		return "a network such as 10.0.0.0/8"
	case reflect.TypeFor[Authority]():
		return "the word local, or a mapping with id, url and pin"
	case reflect.TypeFor[Several]():
		return "a name, or a list of names"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Uint16:
		return "a whole number"
	case reflect.Pointer:
		return wants(t.Elem(), tag)
	case reflect.Slice:
		return "a list such as [" + example(t.Elem(), tag) + "]"
	case reflect.Map, reflect.Struct:
		return "keys of its own, indented below it"
	}
	switch tag.Get("is") {
	case "path":
		return "a path"
	case "file", "secret", "made":
		return "the name of a file"
	case "header":
		return "the name of an HTTP header"
	case "host":
		return "a host name or an IPv4 address"
	case "fqdn":
		return "a host name such as mail.example.com"
	}
	return "a text"
}

// example shows the items of a list.
func example(t reflect.Type, tag reflect.StructTag) string {
	switch {
	case tag.Get("oneof") != "":
		return strings.Join(strings.Fields(tag.Get("oneof")), ", ")
	case t == reflect.TypeFor[netip.Addr](), tag.Get("is") == "servers":
		return "10.0.0.25"
	case t == reflect.TypeFor[netip.Prefix]():
		return "10.0.0.0/8"
	case t == reflect.TypeFor[Authority]():
		return "local"
	case t.Kind() == reflect.Struct:
		return "{" + fieldsOf(t)[0].name + ": …}"
	}
	return "a, b"
}
