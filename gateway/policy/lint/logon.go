package lint

import (
	"slices"

	"github.com/sallyport/sallyport/gateway/policy"
)

// trusted judges the names that devices take for Exchange Online and for AD FS:
// by them they choose how to log on.
func (c *checker) trusted() {
	s := c.Spec.Console
	online := s.Mailboxes == hybrid || s.Mailboxes == inCloud
	if online && !slices.ContainsFunc(c.trustedOnline(), c.Facts.TrustedExchangeOnline.has) {
		c.say(ruleOnlineTrust, Warning, "trusted_exchange_online",
			"lacks "+several(c.Facts.TrustedExchangeOnline.Hosts)+", by which devices know that a mailbox is in Exchange Online",
			"add it")
	}
	const exchangeField, adfsField = "trusted_exchange_online", "trusted_adfs"
	for i, name := range s.TrustedExchangeOnline {
		host := hostOf(name)
		switch {
		case c.Facts.TrustedADFS.has(host):
			c.sayOf(ruleTrustSwapped, Warning, exchangeField, i, host.String()+" is a log-on service and not Exchange Online",
				"move it to trusted_adfs")
		case slices.Contains(c.exchangeHosts, host) && !c.online(host):
			c.sayOf(ruleTrustMail, Warning, exchangeField, i, host.String()+" is exchange_server too, a mail server of your own: devices would log on to it as to Exchange Online",
				"leave it out here")
		}
		if !c.iosOnline() {
			c.wrongPort(exchangeField, i, host)
		}
	}
	for i, name := range s.TrustedADFS {
		host := hostOf(name)
		if c.online(host) {
			c.sayOf(ruleTrustSwapped, Warning, adfsField, i, host.String()+" is Exchange Online and not a log-on service",
				"move it to trusted_exchange_online")
		}
		if !c.isADFSNeeded(host) {
			c.wrongPort(adfsField, i, host)
		}
	}
}

// wrongPort: devices speak HTTPS to trusted names, so an entry with another
// port alone says that something was mixed up.
func (c *checker) wrongPort(field string, i int, host policy.Host) {
	if !c.viaGateway() || c.allows(host, c.Facts.port(HTTPS)) || !c.knows(host) {
		return
	}
	c.sayOf(ruleTrustPort, Warning, field, i, host.String()+" is listed, but not with the port that devices use",
		"add "+c.entry(host)+" to background_services")
	c.wants(host)
}

// asksADFS reports whether the list must have AD FS: on Android, as soon as
// mailboxes are in Exchange Online.
func (c *checker) asksADFS() bool {
	m := c.Spec.Console.Mailboxes
	return c.android && c.viaGateway() && (m == hybrid || m == inCloud)
}

// isADFSNeeded reports whether the host is a log-on service that must be listed
// and is not.
func (c *checker) isADFSNeeded(host policy.Host) bool {
	return c.asksADFS() && c.ownADFS(host) && !c.allows(host, c.Facts.port(HTTPS))
}

// ownADFS tells a log-on service of one's own from those of Exchange Online.
func (c *checker) ownADFS(host policy.Host) bool {
	return !c.Facts.TrustedADFS.has(host) && !c.online(host)
}

// adfs judges what Android devices need to log on to mailboxes in the cloud.
func (c *checker) adfs() {
	if !c.asksADFS() {
		return
	}
	named := false
	for i, name := range c.Spec.Console.TrustedADFS {
		host := hostOf(name)
		named = named || c.ownADFS(host)
		if c.isADFSNeeded(host) {
			c.sayOf(ruleADFS, Error, "trusted_adfs", i, host.String()+" is not listed, and Android devices log on there through the gateway",
				"add "+c.entry(host)+" to background_services")
			c.wants(host)
		}
	}
	if !named {
		c.say(ruleADFSUnnamed, Warning, "trusted_adfs", "names no AD FS or identity provider of your own, which Android devices need on the list for such mailboxes",
			"name it here and list it; there is nothing to do if users log on at Microsoft only")
	}
}

// ldap judges internal directories, which S/MIME certificates are looked up in.
func (c *checker) ldap() {
	if !c.viaGateway() {
		return
	}
	if c.ios {
		c.ldapPrompts()
	}
	if !c.android {
		return
	}
	for i, server := range c.Spec.Console.LDAPServers {
		s, ok := hostPort(server)
		if !ok || c.allows(policy.Host{Name: s.Name, Addr: s.Addr}, s.Port) {
			continue
		}
		c.sayOf(ruleLDAP, Error, "ldap_servers", i, s.String()+" is not listed, and Android devices reach an internal directory through the gateway only",
			"add "+s.String()+" to background_services")
		c.wantsService(s)
	}
}

// ldapPrompts is one finding, however many directories there are.
func (c *checker) ldapPrompts() {
	const (
		problem = "is an internal directory: on iOS, users are asked to log on again and again"
		fix     = "give iOS devices a policy without it (match: {platforms: [ios]}), or a directory that they reach directly"
	)
	if len(c.Spec.Console.LDAPServers) > 0 {
		c.sayOf(ruleLDAPPrompts, Warning, "ldap_servers", 0, printable(c.Spec.Console.LDAPServers[0])+" "+problem, fix)
		return
	}
	i := slices.IndexFunc(c.list, func(t target) bool {
		return t.Port == c.Facts.port(LDAP) || t.Port == c.Facts.port(LDAPS)
	})
	if i >= 0 {
		c.sayAt(ruleLDAPPrompts, Warning, c.list[i], problem, fix)
	}
}
