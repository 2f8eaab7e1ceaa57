// Package export writes what a device or a console needs of a policy, and reads
// it back. It is pure: settings in, bytes out.
//
//	         JSON ────── for programs
//	         MDX ─────── what an administrator types into the console
//	Settings                                                    → Settings
//	         VPNConfig ─ what a hub holds: split tunnel, split DNS
//	         PAC ─────── what a browser asks: FindProxyForURL
//
// Each of the four forms carries everything, so that any of them can be turned
// into any other, and a policy that went through one has the same snapshot as
// before. What is written is in one spelling ([Settings.Normal]) and compiles;
// what is read is held to the same. A table of settings (fields.go) is the one
// place that knows them all.
//
// # Keys
//
// JSON names settings as the configuration file does; the XML forms use the
// same paths.
//
//	format                  1, the version of all four forms
//	name                    the policy's name
//	match.…                 apps, platforms, groups: as in gateway.policies.NAME.match
//	policy.…                as in gateway.policy
//	gateway                 gateway.fqdn with the public port
//	ticket_hours            sta.ticket_lifetime in hours; 168 if it is not set
//	suffixes                the suffixes of splitdns.zones
//	dns                     where devices ask inside a tunnel
//	pushreg                 the registration hosts of the push region
//	version                 the server's version
//
// # XML
//
// BackgroundServices and BackgroundServicesGateway are known from the vendor's
// policy log, SplitTunnel, SplitDNS and ServerBuildVersion from the log of its
// VPN configuration. The rest of those files is not public: the other elements'
// names, the roots and the words ON, OFF and so on are ours, compatible by
// inference. What the vendor has no setting for stands in a name space of our
// own, which its readers can pass over. sp:default stands before a value that holds
// because nobody has set another: the vendor's elements have no attributes, so that
// who looks for <BackgroundServices> finds it as in a log.
//
// A reader of XML takes UTF-8 without document type, entities of one's own,
// processing instructions or a third level, at most 4 MiB of it.
//
// # PAC
//
// The file is a table, the policy as JSON, and a program that is the same in
// every file. Between them stand the proxies ([Proxies]): those of sallyport connect
// on the device, or the gateway itself as an HTTPS proxy. The program never asks DNS
// and fails closed: behind a proxy there is never a DIRECT.
//
//	network access unrestricted                              DIRECT, all of it
//	the gateway's own name                                   DIRECT, so that no tunnel runs in a tunnel
//	a host that is neither a name nor an address, or a URL
//	  whose port is not known                                gateway
//	a single label                                           gateway
//	split tunnel off                                         gateway
//	split tunnel on                                          listed: gateway, others: DIRECT
//	split tunnel reverse                                     listed: DIRECT, others: gateway
//
// Listed is what the policy allows: host and port of the list, and of web
// domains with web_sso. Names are compared as the gateway compares them, with
// one difference: there are no tables of IDNA in a browser's engine, so a host
// that is not ASCII goes to the gateway, and an A-label is taken as it stands.
// Browsers send A-labels.
//
// Who can fetch the file can read the policy in it; there is no secret in it.
//
// # Apple's relays
//
// A configuration profile for a network relay ([AppleRelay]) is not one of the
// forms: it holds names and a ticket, and no policy could be read out of it. It is
// an XML property list.
//
//	appleplist.go   a property list, written
//	applereach.go   the split tunnel, as names to match and to exclude
//	apple.go        the profile around them, its identifiers and the ticket
//
// What its lists cannot say is said in notes beside it.
//
// All forms are ASCII, in which every other character is escaped: no reader's
// idea of encodings, line ends or invisible characters matters. Texts that are
// free, the words of match and the version, are escaped for the place in which
// they stand.
package export
