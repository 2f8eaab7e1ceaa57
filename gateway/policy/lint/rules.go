package lint

// The rules of Check and CheckNames. The list is closed.
const (
	rulePushRegMissing   = "pushreg-not-listed"
	rulePushRegElsewhere = "pushreg-other-region"
	ruleListener         = "mailboxlistener-listed"
	ruleXML              = "xml-spelling"

	ruleRichAccess   = "rich-push-network-access"
	ruleRichEWS      = "rich-push-ews-not-listed"
	ruleRichModern   = "rich-push-modern-authentication"
	ruleRichDerived  = "rich-push-derived-credentials"
	ruleRichIntune   = "rich-push-intune"
	ruleIntune       = "intune-with-sta"
	ruleEWSOnline    = "ews-exchange-online"
	ruleEWS          = "ews-not-listed"
	ruleExchange     = "exchange-not-listed"
	ruleOnline       = "exchange-online-not-listed"
	ruleOnlineTrust  = "exchange-online-not-trusted"
	ruleTrustMail    = "trusted-mail-server"
	ruleTrustSwapped = "trusted-swapped"
	ruleTrustPort    = "trusted-wrong-port"
	ruleADFS         = "adfs-not-listed"
	ruleADFSUnnamed  = "adfs-not-named"
	ruleLDAPPrompts  = "ldap-ios-prompts"
	ruleLDAP         = "ldap-not-listed"

	ruleWildcard     = "wildcard-swallows"
	ruleUnrestricted = "unrestricted-lists-services"
	ruleWebSSO       = "web-sso-without-hosts"
	ruleReverse      = "split-tunnel-reverse"
	ruleLocalDNS     = "split-dns-local-zone"
	ruleTold         = "services-gateway-differs"
	ruleGateway      = "gateway-listed"
	ruleSingle       = "single-label"
	ruleAddress      = "address-not-public"

	ruleUnresolved     = "name-not-resolved"
	ruleRefused        = "name-leads-nowhere"
	ruleDiffers        = "name-differs-outside"
	rulePrivateOutside = "name-private-outside"
	ruleNotCompared    = "names-not-compared"
)

// Rule describes a rule for people.
type Rule struct {
	// ID is what a Finding calls it.
	ID string `json:"rule"`
	// Severities are those that its findings have.
	Severities []Severity `json:"severities"`
	// About says when it finds something.
	About string `json:"about"`
	// Source is what it goes by.
	Source string `json:"source"`
}

// Rules lists every rule: first those of Check, then those of CheckNames.
func Rules() []Rule {
	one := func(s Severity) []Severity { return []Severity{s} }
	both := []Severity{Error, Warning}
	const (
		guide   = "Secure Mail guide"
		push    = "Secure Mail guide, push notifications"
		rich    = "rich push guide"
		gateway = "how the gateway decides"
		console = "console policies"
		dns     = "split DNS"
	)
	return []Rule{
		{rulePushRegMissing, one(Error), "split tunnel is off, and the registration host of push_region is not listed", push},
		{rulePushRegElsewhere, one(Warning), "the registration host of another region than push_region is listed", push},
		{ruleListener, one(Warning), "a mailboxlistener host is listed: Exchange posts there, devices do not", push},
		{ruleXML, one(Error), "a name ends in .xml.citrix.com, as one manual writes it", push},

		{ruleRichAccess, one(Error), "rich push with a network access other than unrestricted or tunneled", rich},
		{ruleRichEWS, one(Error), "rich push, tunneled, and the EWS host is not listed or not known", rich},
		{ruleRichModern, one(Error), "rich push with modern authentication", rich},
		{ruleRichDerived, one(Error), "rich push with derived credentials", rich},
		{ruleRichIntune, one(Warning), "rich push with Intune: the manuals disagree", rich},
		{ruleIntune, one(Error), "Intune at all: an STA does not work with it", guide},
		{ruleEWSOnline, both, "EWS in Exchange Online is used: a warning until it is gone, then an error", "MC1227454"},
		{ruleEWS, one(Error), "ews_host is another host than the mail server and is not listed", console},
		{ruleExchange, both, "an exchange_server is not listed: an error with split tunnel on, and for mailboxes on premises or hybrid", console},
		{ruleOnline, both, "iOS, mailboxes in Exchange Online, whose trusted names are not listed: an error with split tunnel on", console},
		{ruleOnlineTrust, one(Warning), "mailboxes in Exchange Online, and its usual name is not trusted", console},
		{ruleTrustMail, one(Warning), "a mail server of one's own is trusted as Exchange Online", console},
		{ruleTrustSwapped, one(Warning), "a usual name of Exchange Online is trusted as AD FS, or the other way round", console},
		{ruleTrustPort, one(Warning), "a trusted name is listed, but not with port 443", console},
		{ruleADFS, one(Error), "Android, mailboxes hybrid or in Exchange Online, and an AD FS host of one's own is not listed", console},
		{ruleADFSUnnamed, one(Warning), "the same, and no AD FS host of one's own is named", console},
		{ruleLDAPPrompts, one(Warning), "iOS, and an internal directory: users are asked to log on often", guide},
		{ruleLDAP, one(Error), "Android, and an internal directory is not listed", guide},

		{ruleWildcard, one(Warning), "a wildcard covers other entries", gateway},
		{ruleUnrestricted, one(Error), "network access is unrestricted, and services are listed", console},
		{ruleWebSSO, one(Warning), "network access is web_sso, and nothing is listed", gateway},
		{ruleReverse, one(Warning), "split tunnel is reverse, which none of the manuals knows", "gateway vendor"},
		{ruleLocalDNS, one(Warning), "split DNS is local, and a listed name lies in a zone of its own", dns},
		{ruleTold, one(Warning), "devices are told another gateway than this one", console},
		{ruleGateway, both, "the gateway's own name is listed: an error with the port that devices know", gateway},
		{ruleSingle, one(Warning), "a listed name has one label only", dns},
		{ruleAddress, one(Error), "a listed IPv4 address is not public", gateway},

		{ruleUnresolved, one(Error), "online: the gateway's resolver has no address for a listed name", dns},
		{ruleRefused, one(Error), "online: all addresses of a listed name are such that the gateway refuses them", gateway},
		{ruleDiffers, one(Warning), "online: a listed name has other addresses outside than inside", dns},
		{rulePrivateOutside, one(Warning), "online: public DNS answers with an address that is not public", dns},
		{ruleNotCompared, one(Warning), "online: public DNS gave no answer, so inside and outside are not compared", dns},
	}
}
