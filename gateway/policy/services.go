package policy

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Service is one allowed host and port. Either Name or Addr is set.
type Service struct {
	// Name is normalised as by ParseHost.
	Name string
	// Addr is an IPv4 address.
	Addr netip.Addr
	// Wildcard widens Name to every name below it, and excludes Name itself.
	Wildcard bool
	// Port is 1–65535.
	Port uint16
}

// String returns the entry in the form in which it is listed, host:port.
func (s Service) String() string {
	return s.host() + ":" + strconv.Itoa(int(s.Port))
}

func (s Service) host() string {
	switch {
	case s.Addr.IsValid():
		return s.Addr.String()
	case s.Wildcard:
		return "*." + s.Name
	}
	return s.Name
}

// Bounds of a list. They are far above any that an administrator keeps, and
// keep a mistaken file from costing memory.
const (
	// MaxServices is the greatest number of entries in a list.
	MaxServices = 16_384
	// MaxListBytes is the greatest length of a list in bytes.
	MaxListBytes = 1 << 20
)

// ParseServices reads the console's list, "host:port,host:port": comma
// separated, no blanks anywhere, every entry with a port from 1 to 65535, no
// entry twice. An IPv4 address may be listed, an IPv6 address may not. The
// empty list is valid and allows nothing.
//
// The error is a *ListError about the first mistake; its Corrected mends all
// of them, where that can be done without guessing at hosts.
func ParseServices(list string) ([]Service, error) {
	services, mistake := parseList(list)
	if mistake != nil {
		mistake.Corrected = correct(list)
		return nil, mistake
	}
	return services, nil
}

// ListError reports the first mistake of a list.
type ListError struct {
	// Entry counts the entries from 1.
	Entry int
	// Column is where the mistake stands, in characters from the start of the
	// list, which is column 1.
	Column int
	// Problem says what is wrong with the entry and what to write instead. It
	// holds printable ASCII only.
	Problem string
	// Corrected is the whole list as it should be; "" if it cannot be derived.
	Corrected string
}

// Error names entry, column and problem, and shows the corrected list.
func (e *ListError) Error() string {
	s := "entry " + strconv.Itoa(e.Entry) + ", column " + strconv.Itoa(e.Column) + ": " + e.Problem
	if e.Corrected != "" {
		s += "; the corrected list is " + e.Corrected
	}
	return s
}

// parseList reads a list without thinking about corrections.
func parseList(list string) ([]Service, *ListError) {
	if list == "" {
		return nil, nil
	}
	if len(list) > MaxListBytes {
		return nil, mistakeAt(list, 1, 0, "the list is longer than "+strconv.Itoa(MaxListBytes>>10)+" KiB")
	}
	var services []Service
	seen := make(map[Service]int)
	start := 0
	for entry := range strings.SplitSeq(list, ",") {
		n := len(services) + 1
		if n > MaxServices {
			return nil, mistakeAt(list, n, start, "the list has more than "+strconv.Itoa(MaxServices)+" entries")
		}
		service, problem := parseEntry(entry)
		if problem != nil {
			return nil, mistakeAt(list, n, start+problem.offset, problem.text)
		}
		if first, dup := seen[service]; dup {
			return nil, mistakeAt(list, n, start, "repeats entry "+strconv.Itoa(first)+"; leave it out")
		}
		seen[service] = n
		services = append(services, service)
		start += len(entry) + 1
	}
	return services, nil
}

// mistakeAt turns a byte offset into a column of characters.
func mistakeAt(list string, entry, offset int, problem string) *ListError {
	return &ListError{Entry: entry, Column: utf8.RuneCountInString(list[:offset]) + 1, Problem: problem}
}
