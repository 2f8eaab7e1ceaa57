package splitdns

import (
	"fmt"
	"strings"
)

// Zone says who is asked for the names at and below a suffix.
type Zone struct {
	// Suffix is a normalised name: lower case, A-labels, no dots around it.
	// Labels are compared as wholes, and the longest suffix wins.
	Suffix string
	// Servers are asked for the zone's names, and for nothing else; nil asks
	// the public ones. Whoever made them closes them, after the Resolver.
	Servers Asker
}

// zone is a Zone in use. Each is a realm of its own, told apart by its pointer:
// what its servers say counts for the names that have this zone, even where two
// zones share their servers.
type zone struct {
	source  string // as Answer.Source tells it
	servers Asker
}

// zones finds the zone of a name.
type zones struct {
	bySuffix map[string]*zone
	public   *zone // of the names in no zone
}

func newZones(listed []Zone, public Asker) (zones, error) {
	z := zones{
		bySuffix: make(map[string]*zone, len(listed)),
		public:   &zone{source: SourcePublic, servers: public},
	}
	for _, one := range listed {
		if !isNormalised(one.Suffix) {
			return zones{}, fmt.Errorf("splitdns: zone %q is not written as a name: lower case, no blanks, no dots around it", one.Suffix)
		}
		if z.bySuffix[one.Suffix] != nil {
			return zones{}, fmt.Errorf("splitdns: zone %s is there twice", one.Suffix)
		}
		servers := one.Servers
		if servers == nil {
			servers = public
		}
		z.bySuffix[one.Suffix] = &zone{source: "zone " + one.Suffix, servers: servers}
	}
	return z, nil
}

// of returns the zone with the longest suffix that the name lies within.
func (z *zones) of(name string) *zone {
	for suffix := name; ; {
		if found := z.bySuffix[suffix]; found != nil {
			return found
		}
		_, rest, ok := strings.Cut(suffix, ".")
		if !ok {
			return z.public
		}
		suffix = rest
	}
}
