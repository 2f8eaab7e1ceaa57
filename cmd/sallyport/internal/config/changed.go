package config

import (
	"reflect"
	"strings"
)

// Changed names the keys whose values differ, as paths such as
// gateway.max_tunnels. Lists and maps are one key each.
func Changed(old, current *Config) []string {
	return changed("", reflect.ValueOf(*old), reflect.ValueOf(*current))
}

func changed(path string, old, current reflect.Value) []string {
	if old.Kind() == reflect.Pointer && !old.IsNil() && !current.IsNil() {
		old, current = old.Elem(), current.Elem()
	}
	if old.Kind() != reflect.Struct || !isSection(old.Type()) {
		if reflect.DeepEqual(old.Interface(), current.Interface()) {
			return nil
		}
		return []string{path}
	}
	var keys []string
	for i := range old.NumField() {
		field := old.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		key, inline := strings.CutSuffix(field.Tag.Get("yaml"), ",inline")
		below := path
		if !inline {
			below = strings.TrimPrefix(path+"."+key, ".")
		}
		keys = append(keys, changed(below, old.Field(i), current.Field(i))...)
	}
	return keys
}

// isSection tells a section of ours from a value such as an address.
func isSection(t reflect.Type) bool {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") != "" {
			return true
		}
	}
	return false
}
