package lint

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/gateway/policy"
)

// FactsError reports the first mistake of a file of facts.
type FactsError struct {
	// Line and Column count from 1, the column in characters.
	Line, Column int
	// Key is the path of the key, as in regions[0].pushreg.host, or "".
	Key string
	// Problem says what is wrong, in printable ASCII.
	Problem string
}

// Error names the place, the key and the problem.
func (e *FactsError) Error() string {
	s := "line " + strconv.Itoa(e.Line) + ", column " + strconv.Itoa(e.Column) + ": "
	if e.Key != "" {
		s += e.Key + ": "
	}
	return s + e.Problem
}

func factsErrorAt(data []byte, offset int, key, problem string) *FactsError {
	before := data[:min(offset, len(data))]
	line := strings.Count(string(before), "\n") + 1
	start := strings.LastIndexByte(string(before), '\n') + 1
	return &FactsError{line, utf8.RuneCount(before[start:]) + 1, key, problem}
}

// printable bounds text from a file and makes it safe to show.
func printable(s string) string { return printableTo(s, 80) }

// printableTo is printable with another bound, in bytes, for whole sentences.
func printableTo(s string, most int) string {
	cut := len(s) > most
	if cut {
		s = s[:most]
	}
	s = strconv.QuoteToASCII(s)
	s = s[1 : len(s)-1]
	if cut {
		s += "..."
	}
	return s
}

// ParseFacts reads a file of facts, which is JSON as Facts.JSON prints it. It is
// strict: every key is needed but note, no other is known, and none may stand
// twice. Names must be usable hosts, addresses public ones, and dates days.
// Errors are *FactsError.
func ParseFacts(data []byte) (*Facts, error) {
	root, err := readTree(data)
	if err != nil {
		return nil, err
	}
	f := new(Facts)
	r := &factsReader{data: data}
	r.object(root, "",
		field{"regions", func(n *node, at string) { f.Regions = r.regions(n, at) }},
		field{"exchange_online", func(n *node, at string) { f.ExchangeOnline = r.hosts(n, at) }},
		field{"trusted_exchange_online", func(n *node, at string) { f.TrustedExchangeOnline = r.hosts(n, at) }},
		field{"trusted_adfs", func(n *node, at string) { f.TrustedADFS = r.hosts(n, at) }},
		field{"ews_in_exchange_online", func(n *node, at string) { f.EWS = r.retirement(n, at) }},
		field{"ports", func(n *node, at string) { f.Ports = r.ports(n, at) }},
	)
	if r.err != nil {
		return nil, r.err
	}
	return f, nil
}

// factsReader turns nodes into facts, and keeps the first mistake.
type factsReader struct {
	data []byte
	err  *FactsError
}

func (r *factsReader) fail(offset int, key, problem string) {
	if r.err == nil {
		r.err = factsErrorAt(r.data, offset, key, problem)
	}
}

// field is a key of an object, and what to do with its value.
type field struct {
	key  string
	read func(n *node, at string)
}

const noteKey = "note" // the one key that may be missing

// object reads an object with exactly these fields.
func (r *factsReader) object(n *node, at string, fields ...field) {
	if n.value != json.Delim('{') {
		r.fail(n.offset, at, "needs an object, {...}")
		return
	}
	seen := make(map[string]bool)
	for _, m := range n.members {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == m.key })
		path := strings.TrimPrefix(at+"."+printable(m.key), ".")
		switch {
		case i < 0:
			r.fail(m.offset, path, "unknown key; the keys here are "+keys(fields))
		case seen[m.key]:
			r.fail(m.offset, path, "stands here already")
		default:
			seen[m.key] = true
			fields[i].read(m.node, path)
		}
	}
	for _, f := range fields {
		if !seen[f.key] && f.key != noteKey {
			r.fail(n.offset, strings.TrimPrefix(at+"."+f.key, "."), "is missing")
		}
	}
}

func keys(fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.key
	}
	return strings.Join(names, ", ")
}

// fact reads an object that says where it comes from.
func (r *factsReader) fact(n *node, at string, o *Origin, fields ...field) {
	r.object(n, at, append(fields,
		field{"source", func(n *node, at string) { o.Source = r.text(n, at) }},
		field{"as_of", func(n *node, at string) { o.AsOf = r.date(n, at) }},
		field{noteKey, func(n *node, at string) { o.Note = r.text(n, at) }})...)
}

// each reads a list of at least one item.
func (r *factsReader) each(n *node, at string, read func(n *node, at string)) {
	if n.value != json.Delim('[') || len(n.items) == 0 {
		r.fail(n.offset, at, "needs a list, [...], of at least one item")
		return
	}
	for i, item := range n.items {
		read(item, at+"["+strconv.Itoa(i)+"]")
	}
}

// text reads a string that is printable and not empty.
func (r *factsReader) text(n *node, at string) string {
	s, ok := n.value.(string)
	unprintable := strings.ContainsFunc(s, func(c rune) bool { return !strconv.IsPrint(c) })
	if !ok || s == "" || len(s) > 1024 || unprintable {
		r.fail(n.offset, at, "needs a text of 1 to 1024 printable characters")
		return ""
	}
	return s
}

func (r *factsReader) date(n *node, at string) Date {
	s, ok := n.value.(string)
	if _, err := time.Parse(time.DateOnly, s); !ok || err != nil {
		r.fail(n.offset, at, "needs a day, written 2026-10-01")
		return ""
	}
	return Date(s)
}

func (r *factsReader) port(n *node, at string) uint16 {
	number, _ := n.value.(json.Number)
	port, err := strconv.ParseUint(number.String(), 10, 16)
	if err != nil || port == 0 {
		r.fail(n.offset, at, "needs a number from 1 to 65535")
	}
	return uint16(port)
}

// host reads a name into its one spelling.
func (r *factsReader) host(n *node, at string) string {
	s, _ := n.value.(string)
	host, err := policy.ParseHost(s)
	if err != nil || host.Name == "" {
		r.fail(n.offset, at, "needs a host name")
	}
	return host.Name
}

func (r *factsReader) hosts(n *node, at string) (h Hosts) {
	r.fact(n, at, &h.Origin, field{"hosts", func(n *node, at string) {
		r.each(n, at, func(n *node, at string) {
			name := r.host(n, at)
			if slices.Contains(h.Hosts, name) {
				r.fail(n.offset, at, "stands in the list already")
			}
			h.Hosts = append(h.Hosts, name)
		})
	}})
	return h
}

func (r *factsReader) retirement(n *node, at string) (e Retirement) {
	r.fact(n, at, &e.Origin,
		field{"blocked", func(n *node, at string) { e.Blocked = r.date(n, at) }},
		field{"gone", func(n *node, at string) { e.Gone = r.date(n, at) }})
	if !e.Blocked.Time().Before(e.Gone.Time()) {
		r.fail(n.offset, at+".gone", "needs a later day than blocked")
	}
	return e
}

// regions reads the three regions that a policy can name.
func (r *factsReader) regions(n *node, at string) (all []Region) {
	known := []string{"americas", "emea", "apac"}
	r.each(n, at, func(n *node, at string) {
		var region Region
		r.object(n, at,
			field{"name", func(n *node, at string) {
				region.Name, _ = n.value.(string)
				if !slices.Contains(known, region.Name) {
					r.fail(n.offset, at, "needs one of "+strings.Join(known, ", "))
				}
			}},
			field{"pushreg", func(n *node, at string) { region.PushReg = r.endpoint(n, at) }},
			field{"mailboxlistener", func(n *node, at string) { region.MailboxListener = r.endpoint(n, at) }})
		if slices.ContainsFunc(all, func(other Region) bool { return other.Name == region.Name }) {
			r.fail(n.offset, at+".name", "stands in the list already")
		}
		all = append(all, region)
	})
	if len(all) < len(known) {
		r.fail(n.offset, at, "needs all of "+strings.Join(known, ", "))
	}
	return all
}

func (r *factsReader) endpoint(n *node, at string) (e Endpoint) {
	r.fact(n, at, &e.Origin,
		field{"host", func(n *node, at string) { e.Host = r.host(n, at) }},
		field{"port", func(n *node, at string) { e.Port = r.port(n, at) }},
		field{"addresses", func(n *node, at string) {
			r.each(n, at, func(n *node, at string) { e.Addresses = append(e.Addresses, r.address(n, at)) })
		}})
	return e
}

// address reads a public address: the catalogue can open no other.
func (r *factsReader) address(n *node, at string) netip.Addr {
	s, _ := n.value.(string)
	addr, err := netip.ParseAddr(s)
	if err != nil || policy.Classify(addr) != policy.Public {
		r.fail(n.offset, at, "needs a public IP address")
		return netip.Addr{}
	}
	return addr.Unmap()
}

// ports reads a port for each use.
func (r *factsReader) ports(n *node, at string) (all []Port) {
	known := []Use{HTTPS, Traveler, LDAP, LDAPS}
	r.each(n, at, func(n *node, at string) {
		var p Port
		r.fact(n, at, &p.Origin,
			field{"port", func(n *node, at string) { p.Port = r.port(n, at) }},
			field{"use", func(n *node, at string) {
				use, _ := n.value.(string)
				if p.Use = Use(use); !slices.Contains(known, p.Use) {
					r.fail(n.offset, at, "needs one of https, traveler, ldap, ldaps")
				}
			}},
			field{"meaning", func(n *node, at string) { p.Meaning = r.text(n, at) }})
		if slices.ContainsFunc(all, func(other Port) bool { return other.Use == p.Use }) {
			r.fail(n.offset, at+".use", "stands in the list already")
		}
		all = append(all, p)
	})
	if len(all) < len(known) {
		r.fail(n.offset, at, "needs one of each use: https, traveler, ldap, ldaps")
	}
	return all
}
