package report

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/sallyport/sallyport/bench/evidence"
)

// absent is what a side has of what it lacks.
const absent = "–"

// changes gathers what differs.
type changes []Change

func (c *changes) note(where, what, old, new string) {
	if old == new {
		return
	}
	if old == "" {
		old = absent
	}
	if new == "" {
		new = absent
	}
	*c = append(*c, Change{Where: where, What: what, Old: old, New: new})
}

// fields compares two structs field by field, by their names in JSON, so that a field
// which is added some day is compared, too.
func fields[T any](c *changes, where string, old, new *T, except ...string) {
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem()
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		if name == "" || contains(except, name) {
			continue
		}
		c.note(where, strings.ReplaceAll(name, "_", " "), shownField(a.Field(i).Interface()), shownField(b.Field(i).Interface()))
	}
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

func shownField(v any) string {
	switch v := v.(type) {
	case time.Duration:
		return lasting(v)
	case [2]time.Duration:
		return lasting(v[0]) + "–" + lasting(v[1])
	case float64:
		return significant(v, 6)
	case []string:
		return strings.Join(v, " ")
	case evidence.Pair:
		return both(v)
	}
	return fmt.Sprint(v)
}

// askedOtherwise is how the two plans differ in what they ask.
func askedOtherwise(old, new *Report) []Change {
	var c changes
	fields(&c, "scenario", &old.Plan.Scenario, &new.Plan.Scenario)
	fields(&c, "plan", &old.Plan, &new.Plan, "scenario", "endpoint", "service", "sources", "begin", "share", "seed")
	fields(&c, "endpoint", &old.Plan.Endpoint, &new.Plan.Endpoint, "name", "address", "server_name", "ca", "user", "tickets")
	return c
}

// environment is what else differs, the likeliest causes of a change first.
func environment(old, new *Report) []Change {
	var c changes
	c.note("sallyport", "version", old.Version, new.Version)
	c.note("sallyport", "commit", old.Commit, new.Commit)
	c.note("endpoints", "names", strings.Join(old.Endpoints, ", "), strings.Join(new.Endpoints, ", "))
	c.note("endpoint", "address", old.Plan.Endpoint.Address, new.Plan.Endpoint.Address)
	for i := range old.Hosts {
		a := &old.Hosts[i]
		if b := new.host(a.Role); b != nil {
			c.host(a.Role, &a.Host, &b.Host)
		} else {
			c.note(a.Role, "host", a.Name, absent)
		}
	}
	for i := range new.Hosts {
		if b := &new.Hosts[i]; old.host(b.Role) == nil {
			c.note(b.Role, "host", absent, b.Name)
		}
	}
	return c
}

func (r *Report) host(role string) *Host {
	for i := range r.Hosts {
		if r.Hosts[i].Role == role {
			return &r.Hosts[i]
		}
	}
	return nil
}

func (c *changes) host(where string, old, new *evidence.Host) {
	fields(c, where, old, new, "sysctls", "interfaces", "gaps", "memory_kib")
	if memory := func(h *evidence.Host) string { return quantity(float64(h.MemoryKiB), "KiB") }; memory(old) != memory(new) {
		c.note(where, "memory", memory(old), memory(new))
	}
	for _, name := range sortedKeys(joined(old.Sysctls, new.Sysctls)) {
		c.note(where, name, old.Sysctls[name], new.Sysctls[name])
	}
	for i := range old.Interfaces {
		a := &old.Interfaces[i]
		b := named(new, a.Name)
		if b == nil {
			c.note(where, a.Name, a.Kind, absent)
			continue
		}
		c.nic(where+" "+a.Name, a, b)
	}
	for i := range new.Interfaces {
		if b := &new.Interfaces[i]; named(old, b.Name) == nil {
			c.note(where, b.Name, absent, b.Kind)
		}
	}
}

func named(h *evidence.Host, name string) *evidence.Interface {
	w := watched{Host: &Host{Host: *h}}
	return w.named(name)
}

func (c *changes) nic(where string, old, new *evidence.Interface) {
	fields(c, where, old, new, "rss_key", "indirection", "offloads", "interrupts", "qdiscs", "xps", "rps")
	for _, name := range sortedKeys(joined(old.Offloads, new.Offloads)) {
		c.note(where, name, onOff(old.Offloads, name), onOff(new.Offloads, name))
	}
	c.note(where, "interrupts", interrupts(old.Interrupts), interrupts(new.Interrupts))
	c.note(where, "RSS table", indirection(old.Indirection), indirection(new.Indirection))
	c.note(where, "qdiscs", qdiscs(old.Qdiscs), qdiscs(new.Qdiscs))
	c.note(where, "XPS", strings.Join(old.XPS, " "), strings.Join(new.XPS, " "))
	c.note(where, "RPS", strings.Join(old.RPS, " "), strings.Join(new.RPS, " "))
}

func onOff(all map[string]bool, name string) string {
	on, known := all[name]
	switch {
	case !known:
		return ""
	case on:
		return "on"
	}
	return "off"
}

// joined has the keys of both.
func joined[V any](a, b map[string]V) map[string]V {
	out := make(map[string]V, len(a)+len(b))
	for _, m := range []map[string]V{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}
