package config

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"

	"github.com/sallyport/sallyport/gateway/policy"
)

// authorityID is what the field knows as the ID of an authority.
var authorityID = regexp.MustCompile(`^STA[0-9A-Z]{1,13}$`)

// check judges the configuration as a whole, and gives the defaults that
// depend on other keys. What the decoder has refused is not judged again.
func (r *reader) check(c *Config) {
	r.checkNode(c)
	if c.STA == nil && c.Gateway == nil && !r.bad("sta") && !r.bad("gateway") {
		r.say("", "there is nothing to do; "+least)
		return
	}
	if c.STA != nil && !r.bad("sta") {
		r.checkSTA(c)
	}
	if c.Gateway != nil && !r.bad("gateway") {
		r.checkGateway(c)
	}
	r.checkHosts(c)
	r.checkZones(c)
	r.checkCerts(c)
	r.checkListeners(c)
	r.checkMadePaths(c)
}

// say reports an error at the place of a key.
func (r *reader) say(path, message string) { r.sayAs(Error, path, message) }

func (r *reader) sayAs(severity Severity, path, message string) {
	p := r.places[path]
	r.add(p.line, p.column, path, severity, message)
}

func (r *reader) bad(path string) bool { return r.places[path].bad }

// need reports a required key that has no value; wanted says what it needs.
func (r *reader) need(path string, missing bool, wanted string) {
	if missing && !r.bad(path) {
		r.say(path, "is required: "+wanted)
	}
}

func (r *reader) checkNode(c *Config) {
	if !r.places["node"].given {
		name, err := os.Hostname()
		if err != nil || !isName(name) {
			r.say("node", "the host's own name cannot serve; it "+nameRule)
		}
		c.Node = name
		return
	}
	if !r.bad("node") && !isName(c.Node) {
		r.say("node", nameRule)
	}
}

func (r *reader) checkSTA(c *Config) {
	s := c.STA
	const idRule = "STA and 1 to 13 digits or upper-case letters, such as STA01"
	r.need("sta.id", s.ID == "", idRule)
	if s.ID != "" && !authorityID.MatchString(s.ID) {
		r.say("sta.id", "needs "+idRule)
	}
	r.need("sta.listen", s.Listen == netip.AddrPort{}, "an address and port such as 127.0.0.1:8442")
	r.checkAudience(c)
	r.checkRedis(s)
	r.need("sta.clients", len(s.Clients) == 0, "at least one client, such as {name: enrolment, key_file: enrolment.key}")
	r.checkClients(s.Clients)
}

// checkAudience takes the gateway of the same file as the audience where none
// is given: most authorities have one gateway, beside them.
func (r *reader) checkAudience(c *Config) {
	const path = "sta.audience"
	s, g := c.STA, c.Gateway
	if r.bad(path) || g != nil && (g.FQDN == "" || r.bad("gateway")) {
		return
	}
	if len(s.Audience) == 0 && g != nil {
		s.Audience = Several{g.FQDN}
	}
	r.need(path, len(s.Audience) == 0, "the names of the gateways that tickets are for")
	if g != nil && len(s.Audience) > 0 && takesLocal(g) && !slices.Contains(s.Audience, g.FQDN) {
		r.say(path, "lacks "+g.FQDN+", the gateway of this file, which would refuse every ticket")
	}
}

func takesLocal(g *Gateway) bool {
	return slices.ContainsFunc(g.Authorities, func(a Authority) bool { return a.Local })
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func (r *reader) checkClients(clients []Client) {
	names := make(map[string]bool)
	owner := make(map[string]string)  // of a key, by the key
	holder := make(map[string]string) // of a certificate, by its fingerprint
	for i, client := range clients {
		at := item("sta.clients", i)
		if r.bad(at) {
			continue
		}
		r.need(at+".name", client.Name == "", "a name of its own")
		switch {
		case client.Name == "":
		case !isName(client.Name):
			r.say(at+".name", nameRule)
		case names[client.Name]:
			r.say(at+".name", "another client has this name already")
		}
		names[client.Name] = true
		r.need(at+".may", len(client.May) == 0, "what the client may do, such as [issue, renew]")
		r.checkDoubled(at+".may", client.May)
		if path := at + ".policies"; client.Policies != nil && len(client.Policies) == 0 && !r.bad(path) {
			r.say(path, "is empty; name a policy, or leave it out for all")
		}
		for j, name := range client.Policies {
			if path := item(at+".policies", j); !r.bad(path) && !isName(name) {
				r.say(path, nameRule)
			}
		}
		r.need(at+".key_file", client.KeyFile == "" && len(client.Certificates) == 0, "the name of a file with the client's key; make one with  (umask 077; head -c32 /dev/urandom | base64 > NAME.key)")
		r.checkCertificates(at+".certificates", client, holder)
		if client.KeyFile != "" && !r.bad(at+".key_file") {
			r.checkClientKeys(at+".key_file", client, owner)
		}
	}
}

func (r *reader) checkDoubled(path string, words []string) {
	for i, word := range words {
		if slices.Index(words, word) < i && !r.bad(item(path, i)) {
			r.say(item(path, i), "stands in the list already")
		}
	}
}

func (r *reader) checkGateway(c *Config) {
	g := c.Gateway
	r.need("gateway.fqdn", g.FQDN == "", "the name that devices know the gateway by, such as gateway.example.com")
	r.need("gateway.listen", g.Listen == netip.AddrPort{}, "an address and port such as 127.0.0.1:8443")
	if !r.places["gateway.public_port"].given {
		g.PublicPort = g.Listen.Port()
	}
	r.need("gateway.authorities", len(g.Authorities) == 0, "whose tickets are taken, such as [local]")
	r.checkAuthorities(c)
	r.checkUpstream(&g.Upstream)
	if g.Inside != nil && !r.bad(insideKey) {
		r.checkInside(g.Inside)
	}
	if g.CredentialHeader != "" && !g.HTTPSProxy {
		r.sayAs(Warning, "gateway.credential_header", "does nothing without gateway.https_proxy")
	}
	r.checkPolicies(c)
}

func (r *reader) checkHosts(c *Config) {
	for name, addrs := range c.SplitDNS.Hosts {
		path := "splitdns.hosts." + name
		r.need(path, len(addrs) == 0, "at least one address")
		for i, addr := range addrs {
			if addr.IsValid() && policy.Classify(addr) == policy.Never {
				r.say(item(path, i), fmt.Sprintf("%s is no address that a server can have", addr))
			}
		}
	}
}
