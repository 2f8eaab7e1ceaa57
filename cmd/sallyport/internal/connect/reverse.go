package connect

import (
	"strconv"
	"strings"
)

// isInsideReverse tells the names by which the names of private addresses are
// asked for: below 10.in-addr.arpa and the like (RFC 6303 §4, RFC 7793). Who asks
// for one has seen the address, and an answer outside could only be a lie.
func isInsideReverse(name string) bool {
	if v6, ok := below(name, "ip6.arpa"); ok {
		for _, prefix := range []string{"c.f", "d.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f"} {
			if _, ok := below(v6, prefix); ok || v6 == prefix {
				return true
			}
		}
		return false
	}
	v4, ok := below(name, "in-addr.arpa")
	if !ok {
		return false
	}
	labels := strings.Split(v4, ".")
	first := labels[len(labels)-1]
	second := -1
	if len(labels) > 1 {
		if n, err := strconv.Atoi(labels[len(labels)-2]); err == nil {
			second = n
		}
	}
	switch first {
	case "10":
		return true
	case "172":
		return 16 <= second && second <= 31
	case "192":
		return second == 168
	case "100":
		return 64 <= second && second <= 127
	case "169":
		return second == 254
	}
	return false
}

// below cuts a suffix of whole labels off.
func below(name, suffix string) (string, bool) {
	return strings.CutSuffix(name, "."+suffix)
}
