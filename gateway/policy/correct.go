package policy

import (
	"strings"
	"unicode"
)

// correct derives the list that the administrator most likely meant, or "".
// It mends form only (blanks, separators, URLs, missing ports, repetitions)
// and never invents a host. What it returns parses.
func correct(list string) string {
	if len(list) > MaxListBytes {
		return ""
	}
	// A blank is usually litter beside a comma; where taking it out glues two
	// entries together it was meant as a separator.
	if mended := mend(strings.FieldsFunc(dropBlanks(list), isSeparator)); mended != "" {
		return mended
	}
	return mend(strings.FieldsFunc(list, func(r rune) bool {
		return isSeparator(r) || unicode.IsSpace(r)
	}))
}

func isSeparator(r rune) bool { return r == ',' || r == ';' }

func dropBlanks(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

// mend joins the entries again, each in its one spelling and only once; "" if
// one of them cannot be mended.
func mend(entries []string) string {
	var mended []string
	seen := make(map[Service]bool)
	for _, entry := range entries {
		service, f := parseEntry(mendEntry(entry))
		if f != nil {
			return ""
		}
		if !seen[service] {
			seen[service] = true
			mended = append(mended, service.String())
		}
	}
	if len(mended) > MaxServices {
		return ""
	}
	return strings.Join(mended, ",")
}

// mendEntry takes the host and port out of a URL and adds the port that is
// missing: 80 where the URL says http, else 443.
func mendEntry(entry string) string {
	port := "443"
	if scheme, rest, ok := strings.Cut(entry, "://"); ok {
		switch strings.ToLower(scheme) {
		case "http":
			port = "80"
		case "https":
		default:
			return entry
		}
		entry, _, _ = strings.Cut(rest, "/")
	}
	host, given, _ := strings.Cut(entry, ":")
	if given = strings.TrimLeft(given, "0"); given != "" {
		port = given
	} else if strings.HasSuffix(entry, "0") && strings.Contains(entry, ":") {
		return entry // port 0: nobody can know which one was meant
	}
	return host + ":" + port
}
