package evidence

import (
	"fmt"
	"slices"
	"strings"
)

// Only is the host with these interfaces and no others, and without the gaps of the
// others; with no names it is the host as it is. A name that it does not have is an
// error which says what there is.
func (h Host) Only(names ...string) (Host, error) {
	if len(names) == 0 {
		return h, nil
	}
	var all []string
	for _, in := range h.Interfaces {
		all = append(all, in.Name)
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return Host{}, fmt.Errorf("there is no interface %s; there are %s", plain(name), plain(strings.Join(all, ", ")))
		}
	}
	all = slices.DeleteFunc(all, func(name string) bool { return slices.Contains(names, name) })
	h.Interfaces = slices.DeleteFunc(slices.Clone(h.Interfaces), func(in Interface) bool { return slices.Contains(all, in.Name) })
	h.Gaps = without(h.Gaps, all)
	return h, nil
}

// Only is the sample with these interfaces and no others; with no names it is the sample
// as it is. One that has gone meanwhile is left in the gaps.
func (s Sample) Only(names ...string) Sample {
	if len(names) == 0 {
		return s
	}
	var others []string
	for _, in := range s.Interfaces {
		if !slices.Contains(names, in.Name) {
			others = append(others, in.Name)
		}
	}
	s.Interfaces = slices.DeleteFunc(slices.Clone(s.Interfaces), func(t Traffic) bool { return slices.Contains(others, t.Name) })
	s.Qdiscs = slices.DeleteFunc(slices.Clone(s.Qdiscs), func(q QdiscTraffic) bool { return slices.Contains(others, q.Interface) })
	s.Gaps = without(s.Gaps, others)
	return s
}

// without leaves out what could not be read of some interfaces.
func without(list []Gap, interfaces []string) []Gap {
	return slices.DeleteFunc(slices.Clone(list), func(gap Gap) bool {
		return slices.ContainsFunc(interfaces, func(name string) bool {
			return gap.subject == subjectOf(name) || strings.HasPrefix(gap.subject, subjectOf(name)+" ")
		})
	})
}
