package export

import (
	"crypto/sha1" // for UUIDs, which RFC 9562 makes so; nothing rests on it
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/gateway/policy"
)

// Relay is what a network relay's profile needs beside the settings.
type Relay struct {
	// HTTP3 says that the gateway listens on UDP too; devices then try that first.
	HTTP3 bool
	// Header is the field of each request that carries the ticket; "" is
	// Proxy-Authorization. At most 64 bytes, a token of RFC 9110 §5.6.2.
	Header string
	// Ticket is the device's; "" writes [TicketPlaceholder] in its place.
	Ticket Ticket
	// Domains says that the profile is for systems that know no exact names: each
	// name stands for all below it too.
	Domains bool
}

// Ticket is what a device presents as bearer: a handle or a token, at most 4,096
// bytes. It prints as "[secret]" in every format.
type Ticket string

// TicketPlaceholder stands in a profile for the ticket of whoever gets it.
const TicketPlaceholder = "${TICKET}"

const (
	defaultHeader = "Proxy-Authorization"
	maxHeader     = 64
	maxTicket     = 4096
)

// Format prints "[secret]" for every verb.
func (Ticket) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// AppleRelay writes a configuration profile with one payload,
// com.apple.relay.managed, by which devices of Apple's send what the split tunnel
// says to the gateway. It is an XML property list in ASCII.
//
// The notes are sentences on what the profile cannot say of these settings, or
// says only to some systems: for whoever installs it.
//
// A policy whose profile would send everything where it should send little is
// refused. Errors are *Error, and hold no ticket.
func AppleRelay(s Settings, r Relay) (file []byte, notes []string, err error) {
	s, err = s.Normal()
	if err != nil {
		return nil, nil, err
	}
	at, err := relayAddress(&s)
	if err != nil {
		return nil, nil, err
	}
	field, err := r.field()
	if err != nil {
		return nil, nil, err
	}
	reach, err := reachOf(&s, at.name, r.Domains)
	if err != nil {
		return nil, nil, err
	}
	file, err = bounded(property(at.profile(s.Name, r.HTTP3, field, reach)))
	if err != nil {
		return nil, nil, err
	}
	if r.Ticket == "" {
		reach.note("put each device's own ticket in the place of %s, as a management server does with a variable", TicketPlaceholder)
	}
	reach.note("tickets by this policy live %d hours from their issue: install the profile anew, with another ticket, before they are over", s.TicketHours)
	return file, reach.notes, nil
}

// relay is where devices find the gateway.
type relay struct{ name, port string }

// relayAddress wants a name: what is told to devices must be on a certificate.
func relayAddress(s *Settings) (relay, error) {
	key, told := "gateway", s.Gateway
	if s.Spec.Console.ServicesGateway != "" {
		key, told = "policy.services_gateway", s.Spec.Console.ServicesGateway
	}
	services, err := policy.ParseServices(told)
	if err != nil || len(services) != 1 || services[0].Name == "" {
		return relay{}, &Error{Key: key, Err: errors.New("needs name:port, not an address")}
	}
	return relay{services[0].Name, strconv.Itoa(int(services[0].Port))}, nil
}

// field is the header field that carries the ticket.
func (r Relay) field() (pair, error) {
	name, ticket := r.Header, string(r.Ticket)
	if name == "" {
		name = defaultHeader
	}
	if len(name) > maxHeader || strings.Trim(name, tokenCharacters) != "" {
		return pair{}, &Error{Key: "header", Err: fmt.Errorf("needs the name of a header field, at most %d letters, digits and '-'", maxHeader)}
	}
	if ticket == "" {
		return pair{name, "Bearer " + TicketPlaceholder}, nil
	}
	// RFC 6750 §2.1: other characters would end the credential, or the line.
	if len(ticket) > maxTicket || strings.Trim(ticket, bearerCharacters) != "" {
		return pair{}, &Error{Key: "ticket", Err: errors.New("needs a handle or a token")}
	}
	return pair{name, "Bearer " + ticket}, nil
}

const (
	alphanumerics    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	tokenCharacters  = alphanumerics + "!#$%&'*+-.^_`|~"
	bearerCharacters = alphanumerics + "-._~+/="
)

// profile is the property list. Keys and types are those of Apple's published
// schema for device management.
//
// There is no PayloadCertificateUUID, the device's own certificate: it would
// have to be a payload of the same profile, which a management server adds. Nor
// RawPublicKeys: they would put a key in the place of the gateway's certificate,
// and cut devices off when it changes.
func (at relay) profile(policyName string, http3 bool, field pair, reach *reach) dict {
	identifier := at.identifier(policyName)
	url := "https://" + net.JoinHostPort(at.name, at.port) + "/"
	var hop dict
	if http3 {
		hop = append(hop, pair{"HTTP3RelayURL", url})
	}
	hop = append(hop, pair{"HTTP2RelayURL", url}, pair{"AdditionalHTTPHeaderFields", dict{field}})

	payload := dict{
		{"PayloadType", "com.apple.relay.managed"},
		{"PayloadVersion", 1},
		{"PayloadIdentifier", identifier + ".relay"},
		{"PayloadUUID", at.uuid(policyName, "payload")},
		{"PayloadDisplayName", "Relay " + at.name},
		{"RelayUUID", at.uuid(policyName, "relay")},
		{"Relays", array{hop}},
	}
	payload = append(payload, reach.lists()...)
	return dict{
		{"PayloadType", "Configuration"},
		{"PayloadVersion", 1},
		{"PayloadIdentifier", identifier},
		{"PayloadUUID", at.uuid(policyName, "profile")},
		{"PayloadDisplayName", at.name + ", policy " + policyName},
		{"PayloadDescription", reach.says + " " + at.name + "."},
		// A ticket is one person's; other users of a Mac have their own.
		{"PayloadScope", "User"},
		{"PayloadRemovalDisallowed", false},
		{"PayloadContent", array{payload}},
	}
}

// identifier is the gateway's name from the top, and the policy's: a device puts
// a profile in the place of another by it.
func (at relay) identifier(policyName string) string {
	labels := strings.Split(at.name, ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + ".sallyport." + policyName
}

// urlSpace is the name space of RFC 9562 §6.6 for names that are URLs.
const urlSpace = "\x6b\xa7\xb8\x11\x9d\xad\x11\xd1\x80\xb4\x00\xc0\x4f\xd4\x30\xc8"

// uuid is version 5 (RFC 9562 §5.5) of https://NAME/POLICY#part. It stays when
// the policy's content, the port or the ticket changes, so that devices replace
// what they have and management servers can name it; and anybody can work it
// out.
func (at relay) uuid(policyName, part string) string {
	sum := sha1.Sum([]byte(urlSpace + "https://" + at.name + "/" + policyName + "#" + part))
	u := sum[:16]
	u[6] = u[6]&0x0f | 5<<4
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
