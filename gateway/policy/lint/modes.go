package lint

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// unrestricted: nothing uses the gateway, so a list says that somebody expects
// otherwise.
func (c *checker) unrestricted() {
	if c.access == policy.AccessUnrestricted && len(c.list) > 0 {
		c.say(ruleUnrestricted, Error, "network_access",
			"is unrestricted, so devices send nothing here and the gateway refuses what arrives, but services are listed",
			"write tunneled, or leave background_services out")
	}
}

func (c *checker) webSSO() {
	if c.access == policy.AccessWebSSO && len(c.list)+len(c.web) == 0 {
		c.say(ruleWebSSO, Warning, "network_access",
			"is web_sso, and neither background_services nor web_domains has anything: no host may be reached, since what is not listed is refused in this mode too",
			"name the web hosts under web_domains")
	}
}

func (c *checker) reverse() {
	if c.split == "reverse" {
		c.say(ruleReverse, Warning, "split_tunnel",
			"is reverse, a mode of the gateway's vendor that none of the mail app's manuals knows",
			`write "on" or "off", unless it was tried on your devices`)
	}
}

// servicesGateway compares what devices are told with what this gateway is.
func (c *checker) servicesGateway() {
	told, ok := hostPort(c.Spec.Console.ServicesGateway)
	if !ok || c.gateway.Port == 0 || told == c.gateway || !c.viaGateway() {
		return
	}
	c.say(ruleTold, Warning, "services_gateway",
		"sends devices to "+told.String()+", and this gateway is known as "+c.gateway.String(),
		"write "+c.gateway.String()+", or leave it out, unless the other gateway has this policy too")
}

// localDNS: with split DNS local the device asks its own servers, and these do
// not know what zones hold.
func (c *checker) localDNS() {
	if c.Spec.SplitDNS != "local" || !c.viaGateway() {
		return
	}
	var names []string
	zone := ""
	for _, t := range c.entries() {
		if z := c.zoneOf(t.Name); z != "" {
			names = append(names, t.text())
			zone = cmp.Or(zone, z)
		}
	}
	if len(names) == 0 {
		return
	}
	c.say(ruleLocalDNS, Warning, "split_dns",
		"is local, so devices resolve "+several(names)+" outside, and only DNS servers inside know the zone "+zone,
		"write both or remote")
}

// zoneOf returns the zone that holds the name, or "".
func (c *checker) zoneOf(name string) string {
	for _, zone := range c.Zones {
		suffix := hostOf(zone).Name
		if suffix != "" && (name == suffix || strings.HasSuffix(name, "."+suffix)) {
			return suffix
		}
	}
	return ""
}

// several names the first of many.
func several(names []string) string {
	const shown = 3
	if len(names) > shown {
		return strings.Join(names[:shown], ", ") + " and " + strconv.Itoa(len(names)-shown) + " more"
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// targets judges each entry by itself.
func (c *checker) targets() {
	if !c.viaGateway() {
		return
	}
	for _, t := range c.entries() {
		c.ownName(t)
		c.xml(t)
		switch {
		case privateAddress(t.Addr):
			c.sayAt(ruleAddress, Error, t, "is no public address, and no such address is ever dialled by itself",
				"list a name in its place, and pin the name to "+t.Addr.String()+" under splitdns.hosts")
			c.edits.leaveOut(t) // a corrected list holds nothing that is refused
		case t.Name != "" && !strings.Contains(t.Name, "."):
			c.sayAt(ruleSingle, Warning, t, "has one label only, which devices ask nobody but the gateway for",
				"write the name with its domain")
		}
	}
}

// ownName finds the gateway's own name, which would lead a tunnel back in.
func (c *checker) ownName(t target) {
	if t.Wildcard || t.Name == "" || t.Name != c.gateway.Name {
		return
	}
	severity, problem := Warning, "is the gateway itself, where nothing but its own listeners is, and none of these may be reached"
	for _, port := range t.ports {
		if port == c.gateway.Port {
			severity, problem = Error, "is the gateway itself, and always refused: a tunnel would lead back in"
		}
	}
	c.sayAt(ruleGateway, severity, t, problem, "leave it out")
	c.edits.leaveOut(t)
	c.markMended(t)
}

// markMended is mended for what stands in background_services.
func (c *checker) markMended(t target) {
	if t.entry > 0 {
		c.mended()
	}
}

// xml finds the spelling of the one manual that the others contradict.
func (c *checker) xml(t target) {
	const wrong, right = ".xml.citrix.com", ".xm.citrix.com"
	front, ok := strings.CutSuffix("."+t.Name, wrong)
	if !ok {
		return
	}
	meant := t.Service
	meant.Name = strings.TrimPrefix(front+right, ".")
	problem := "is spelt as in one manual, and there is no such host"
	here, known := c.Facts.Region(c.Spec.PushRegion)
	other := c.regionOf(meant.Name)
	if c.isListener(meant.Name) || known && other != "" && other != here.Name {
		c.sayAt(ruleXML, Error, t, problem+"; the others write .xm., and devices have no business with that one either", "leave it out")
		c.edits.leaveOut(t)
	} else {
		c.sayAt(ruleXML, Error, t, problem, "write "+target{Service: meant}.text())
		c.edits.write(t, meant)
	}
	c.markMended(t)
}

func (c *checker) isListener(name string) bool {
	for _, r := range c.Facts.Regions {
		if r.MailboxListener.Host == name {
			return true
		}
	}
	return false
}

// wildcards finds entries that another one covers.
func (c *checker) wildcards() {
	if !c.viaGateway() {
		return
	}
	c.covered(c.list)
	c.covered(c.web)
}

// covered tells each wildcard's entries of one list. An entry is told with the
// widest wildcard, so that it is told once.
func (c *checker) covered(list []target) {
	type key struct {
		name string
		port uint16 // 0 for web domains
	}
	wide := make(map[key]int)
	for i, t := range list {
		if t.Wildcard {
			wide[key{t.Name, t.Port}] = i
		}
	}
	if len(wide) == 0 {
		return
	}
	under := make(map[int][]target)
	for _, t := range list {
		widest, found := 0, false
		for rest, ok := t.Name, t.Name != ""; ok; {
			if _, rest, ok = strings.Cut(rest, "."); ok {
				if i, is := wide[key{rest, t.Port}]; is {
					widest, found = i, true
				}
			}
		}
		if found {
			under[widest] = append(under[widest], t)
		}
	}
	for i, t := range list {
		if len(under[i]) > 0 {
			c.sayCovered(t, under[i])
		}
	}
}

func (c *checker) sayCovered(wide target, under []target) {
	names := make([]string, len(under))
	exact := false
	for i, t := range under {
		names[i] = t.text()
		exact = exact || !t.Wildcard
		c.edits.leaveOut(t)
	}
	fix := "leave those out"
	if exact && wide.entry > 0 {
		fix += ", unless devices send addresses in place of names: these are matched to exact entries only"
	}
	c.sayAt(ruleWildcard, Warning, wide, "covers "+several(names), fix)
	c.markMended(wide)
}

// serviceOf is a host and port as an entry of the list.
func serviceOf(host policy.Host, port uint16) policy.Service {
	return policy.Service{Name: host.Name, Addr: host.Addr, Port: port}
}
