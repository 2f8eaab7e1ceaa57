package lint

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// push judges the hosts of the listener service.
func (c *checker) push() {
	if !c.viaGateway() {
		return
	}
	region, known := c.Facts.Region(c.Spec.PushRegion)
	here := region.PushReg
	if known && c.split == "off" && !c.allows(policy.Host{Name: here.Host}, here.Port) {
		c.say(rulePushRegMissing, Error, "background_services",
			"lacks "+here.service().String()+": with split tunnel off, devices reach the registration host of "+region.Name+" through the gateway only",
			"add it")
		c.edits.add(here.service())
		c.mended()
	}
	for _, t := range c.entries() {
		if t.Wildcard {
			continue
		}
		switch other := c.regionOf(t.Name); {
		case c.isListener(t.Name):
			c.sayAt(ruleListener, Warning, t, "is where Exchange posts its notifications; devices do not go there",
				"leave it out, and let Exchange reach it")
		case known && other != "" && other != region.Name:
			c.sayAt(rulePushRegElsewhere, Warning, t, "is the registration host of "+other+", and push_region is "+region.Name,
				"leave it out, or correct push_region: it is the region of the Exchange server, not of the device")
		default:
			continue
		}
		c.edits.leaveOut(t)
		c.markMended(t)
	}
}

// regionOf is the region whose registration host it is, or "".
func (c *checker) regionOf(name string) string {
	for _, r := range c.Facts.Regions {
		if name != "" && r.PushReg.Host == name {
			return r.Name
		}
	}
	return ""
}

// richPush judges what rich push on iOS needs.
func (c *checker) richPush() {
	s := c.Spec.Console
	if !s.RichPush || !c.ios {
		return
	}
	if c.access == policy.AccessWebSSO {
		c.say(ruleRichAccess, Error, "rich_push", "needs network access unrestricted or tunneled, and it is web_sso",
			"write network_access: tunneled, or rich_push: false")
	}
	if s.ModernAuthentication {
		c.say(ruleRichModern, Error, "rich_push", "does not work with modern authentication",
			"write rich_push: false, or modern_authentication: false")
	}
	if s.DerivedCredentials {
		c.say(ruleRichDerived, Error, "rich_push", "does not work with derived credentials",
			"write rich_push: false, or derived_credentials: false")
	}
	if s.Intune {
		c.say(ruleRichIntune, Warning, "rich_push", "may not work with Intune: the manuals disagree", "try it on a device")
	}
	c.richPushEWS()
}

func (c *checker) richPushEWS() {
	switch {
	case c.access != policy.AccessTunneled:
	case c.ewsHost == policy.Host{}:
		c.say(ruleRichEWS, Error, "ews_host", "is not given, nor is exchange_server, and rich push fetches mail by EWS",
			"name the EWS host, and list it")
	case !c.knows(c.ewsHost):
		c.say(ruleRichEWS, Error, "background_services", "lacks the EWS host, "+c.ewsHost.String()+", by which rich push fetches mail",
			"add "+c.entry(c.ewsHost))
		c.wants(c.ewsHost)
	}
}

// entry is a host as an entry of the list, with the usual port.
func (c *checker) entry(host policy.Host) string {
	return serviceOf(host, c.Facts.port(HTTPS)).String()
}

// wants adds the host to the corrected list, which mends the last finding.
func (c *checker) wants(host policy.Host) { c.wantsService(serviceOf(host, c.Facts.port(HTTPS))) }

// wantsService is wants for another port. An address that is never dialled is not
// put on the list: a name must stand for it.
func (c *checker) wantsService(s policy.Service) {
	if privateAddress(s.Addr) {
		c.findings[len(c.findings)-1].Fix = "write a name in its place, list that with port " + strconv.Itoa(int(s.Port)) +
			", and pin it to " + s.Addr.String() + " under splitdns.hosts"
		return
	}
	c.edits.add(s)
	c.mended()
}

func (c *checker) intune() {
	if c.Spec.Console.Intune {
		c.say(ruleIntune, Error, "intune", "is on, and a ticket authority does not work with the Intune integration",
			"write intune: false, or give these apps another way to the mail server")
	}
}

// ewsOnline warns of the end of EWS in Exchange Online, if the policy uses it:
// by name, because the listener service is told of mail by it, or for rich push.
func (c *checker) ewsOnline() {
	s := c.Spec
	var users []string // the keys that use it
	if s.EWSHost != "" {
		users = append(users, "ews_host")
	}
	if s.PushRegion != "" {
		users = append(users, "push_region")
	}
	if s.Console.RichPush && c.ios {
		users = append(users, "rich_push")
	}
	if len(users) == 0 || !c.online(c.ewsHost) && s.Console.Mailboxes != inCloud {
		return
	}
	severity, when, fix := c.retirement()
	problem := "uses EWS in Exchange Online"
	if others := users[1:]; len(others) > 0 {
		problem += ", and so does " + strings.Join(others, " and ")
	}
	c.say(ruleEWSOnline, severity, users[0], problem+": "+when, fix)
}

// retirement is what to say of EWS in Exchange Online today.
func (c *checker) retirement() (severity Severity, when, fix string) {
	blocked, gone := c.Facts.EWS.Blocked, c.Facts.EWS.Gone
	const later = "plan for mail without EWS in Exchange Online; Exchange on premises keeps it"
	switch {
	case c.Now.Before(blocked.Time()):
		return Warning, "calls are blocked from " + string(blocked) + " unless the tenant asks otherwise, and EWS is gone for good from " + string(gone),
			"set EWSEnabled and allow the app's ID in the tenant before " + string(blocked) + ", and " + later
	case c.Now.Before(gone.Time()):
		return Warning, "since " + string(blocked) + " calls are blocked unless the tenant set EWSEnabled and allows the app's ID, and from " + string(gone) + " all are",
			"see that the tenant allows the app's ID, and " + later
	}
	return Error, "it is gone since " + string(gone),
		"do without rich push, push_region and ews_host for these mailboxes; Exchange on premises keeps EWS"
}

// ews: if EWS and ActiveSync live on different hosts, both must be allowed.
func (c *checker) ews() {
	if c.Spec.EWSHost == "" || !c.viaGateway() || slices.Contains(c.exchangeHosts, c.ewsHost) || c.knows(c.ewsHost) {
		return
	}
	if c.Spec.Console.RichPush && c.ios && c.access == policy.AccessTunneled {
		return // told with rich push
	}
	c.say(ruleEWS, Error, "ews_host", "is "+c.ewsHost.String()+", another host than the mail server, and is not listed",
		"add "+c.entry(c.ewsHost)+" to background_services")
	c.wants(c.ewsHost)
}

// exchange: what the mail server's own name needs. With mailboxes in Exchange
// Online, devices on iOS go by the trusted names in its place.
func (c *checker) exchange() {
	mailboxes := c.Spec.Console.Mailboxes
	online := mailboxes == inCloud
	if !c.viaGateway() || online && !c.android {
		return
	}
	for i, host := range c.exchangeHosts {
		if c.knows(host) || online && c.ios && c.online(host) {
			continue
		}
		severity := Warning
		if c.split == "on" || (mailboxes == onPremises || mailboxes == hybrid) && !c.online(host) {
			severity = Error
		}
		c.sayOf(ruleExchange, severity, "exchange_server", i, host.String()+" is not listed, so the gateway refuses it",
			"add "+c.entry(host)+" to background_services")
		c.wants(host)
	}
}

// iosOnline reports whether there are iOS devices with mailboxes in Exchange
// Online.
func (c *checker) iosOnline() bool {
	return c.Spec.Console.Mailboxes == inCloud && c.ios && c.viaGateway()
}

// exchangeOnline: on iOS the list has the names of Exchange Online.
func (c *checker) exchangeOnline() {
	if !c.iosOnline() {
		return
	}
	var missing []string
	for _, host := range c.trustedOnline() {
		if !c.allows(host, c.Facts.port(HTTPS)) {
			missing = append(missing, c.entry(host))
			c.edits.add(serviceOf(host, c.Facts.port(HTTPS)))
		}
	}
	if len(missing) == 0 {
		return
	}
	severity := Warning
	if c.split == "on" {
		severity = Error
	}
	c.say(ruleOnline, severity, "background_services", "lacks "+several(missing)+", where iOS devices find mailboxes in Exchange Online",
		"add what is missing")
	c.mended()
}

// trustedOnline are the names that devices take for Exchange Online.
func (c *checker) trustedOnline() []policy.Host {
	return hostsOr(c.Spec.Console.TrustedExchangeOnline, c.Facts.TrustedExchangeOnline)
}

func hostsOr(names []string, otherwise Hosts) []policy.Host {
	if len(names) == 0 {
		names = otherwise.Hosts
	}
	hosts := make([]policy.Host, len(names))
	for i, name := range names {
		hosts[i] = hostOf(name)
	}
	return hosts
}
