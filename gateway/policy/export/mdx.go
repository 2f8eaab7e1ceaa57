package export

// mdx has the policies in the order in which the manuals treat them.
var mdx = form{
	root: "Policies",
	elements: []element{
		{name: "NetworkAccess", title: "Network access", key: "policy.network_access",
			words: []word{
				{"tunneled", "Tunneled to the internal network"},
				{"web_sso", "Tunneled \u2013 Web SSO"},
				{"unrestricted", "Unrestricted"},
			},
			standard: constant("Tunneled to the internal network")},
		{name: "ExchangeServer", title: "Exchange server", key: "policy.exchange_server"},
		{name: "BackgroundServices", title: "Background network services", key: "policy.background_services"},
		{name: "BackgroundServicesGateway", title: "Background network services gateway", key: "policy.services_gateway",
			standard: func(s *Settings) string { return s.Gateway }},
		{name: "BackgroundServicesTicketExpiration", title: "Background services ticket expiration", key: "ticket_hours"},
		{name: "PushNotificationsRegion", title: "Push notifications region", key: "policy.push_region",
			words: []word{{"americas", "Americas"}, {"emea", "EMEA"}, {"apac", "APAC"}}},
		{name: "EWSHostName", title: "EWS host name", key: "policy.ews_host"},
		{name: "TrustedExchangeOnlineHostNames", title: "Trusted Exchange Online host names", key: "policy.trusted_exchange_online",
			standard: constant("outlook.office365.com")},
		{name: "TrustedADFSHostNames", title: "Trusted AD FS host names", key: "policy.trusted_adfs",
			standard: constant("login.microsoftonline.com")},
	},
}

// MDX writes the settings as an administrator types them into the console, each
// with the name that the manuals give it. Before a value that holds although nobody
// set it there is sp:default. Errors are *Error.
func MDX(s Settings) ([]byte, error) { return mdx.write(s) }

// ParseMDX reads what MDX writes. Errors are *Error.
func ParseMDX(file []byte) (Settings, error) { return mdx.read(file) }
