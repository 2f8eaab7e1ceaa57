package sta

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
	"golang.org/x/time/rate"
)

// Rights is what a client may do; the zero value is nothing.
type Rights uint8

// The rights, by the names that configuration gives them.
const (
	MayIssue  Rights = 1 << iota // issue: ask for tickets
	MayRenew                     // renew: ask for a ticket's successor
	MayRedeem                    // redeem: ask whether a ticket is good
	MayRevoke                    // revoke: end tickets
	MayList                      // list: see tickets
)

// DefaultRights are those of a client whose configuration names none.
const DefaultRights = MayIssue | MayRenew

// ParseRights reads issue, renew, redeem, revoke and list. No name at all gives
// [DefaultRights].
func ParseRights(names []string) (Rights, error) {
	if len(names) == 0 {
		return DefaultRights, nil
	}
	var rights Rights
	for _, name := range names {
		switch name {
		case "issue":
			rights |= MayIssue
		case "renew":
			rights |= MayRenew
		case "redeem":
			rights |= MayRedeem
		case "revoke":
			rights |= MayRevoke
		case "list":
			rights |= MayList
		default:
			return 0, fmt.Errorf("%q is none of issue, renew, redeem, revoke, list", name)
		}
	}
	return rights, nil
}

// Client is somebody who may ask something of the authority: an enrolment
// server, a gateway, an operator's tool.
type Client struct {
	Name string
	May  Rights
	// Policies are the policies it may issue for; nil means any. If there are any,
	// each of its tickets names one of them, asked for or not: a client that chose
	// a ticket's groups, platform and app would choose its policy by them otherwise.
	Policies []string
	// MaxLifetime bounds the tickets it may ask for. 0 means as long as the
	// authority's own bound.
	MaxLifetime time.Duration
	// Source is the address that the request at hand came from; see From.
	Source string
}

// From gives a copy that notes where a request came from, for the audit log.
func (c *Client) From(source string) *Client {
	from := *c
	from.Source = source
	return &from
}

// Check refuses, with [ticket.Forbidden], what the client may not do. A nil
// client may do nothing: [ticket.Unauthenticated].
func (c *Client) Check(right Rights) error {
	switch {
	case c == nil:
		return ticket.Refuse(ticket.Unauthenticated, "nobody is asking")
	case c.May&right != right:
		return ticket.Refuse(ticket.Forbidden, "the client does not have this right")
	}
	return nil
}

// ClientConfig describes one client to [NewClients]. It has a key, or a
// certificate, or both.
type ClientConfig struct {
	// Name is 1 to 64 of a-z A-Z 0-9 . _ and -; it goes into logs and audit.
	Name string
	// Keys are up to two pre-shared keys; two while one replaces the other.
	Keys []Key
	// Certificates are the fingerprints of up to two client certificates' keys, in
	// the form of [ticket.Pin]: "sha256:" and base64url of SHA-256 over the
	// SubjectPublicKeyInfo. Who signed such a certificate, for what name and until
	// when does not count: the handshake proves that the client has the key, and
	// the fingerprint says whose it is. It ends when it is taken out here.
	Certificates []string
	// May is what it may do; 0 means [DefaultRights].
	May Rights
	// Policies and MaxLifetime: see [Client].
	Policies    []string
	MaxLifetime time.Duration
	// Sources are the networks that it may ask from. Empty means from anywhere.
	Sources []netip.Prefix
	// Rate bounds its requests a minute, on the average: at once it may make those
	// of 10 s, and at least 10 if the minute has as many. 0 means no bound.
	Rate int
}

// MaxClientCertificates is the most certificates that a client has at a time.
const MaxClientCertificates = 2

// Clients knows the clients of an authority by their keys and certificates. It
// holds only hashes of the keys. Once in use it does not change but for the rates,
// and is safe for concurrent use.
type Clients struct {
	byName       map[string]*known
	keys         []proof
	certificates []proof
}

// proof is SHA-256 of what shows that somebody is the client.
type proof struct {
	sum [sha256.Size]byte
	of  *known
}

// known is a client with what bounds it.
type known struct {
	client  *Client
	sources []netip.Prefix // IPv4 as such
	limit   *rate.Limiter  // nil for none
}

// NewClients refuses two clients with one name, key or certificate: the audit
// log must be able to tell them apart.
func NewClients(configs []ClientConfig) (*Clients, error) {
	c := &Clients{byName: make(map[string]*known, len(configs))}
	for i := range configs {
		if err := c.add(&configs[i]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Clients) add(config *ClientConfig) error {
	if err := checkClientName(config.Name); err != nil {
		return err
	}
	if err := config.check(); err != nil {
		return fmt.Errorf("client %s: %w", config.Name, err)
	}
	if c.byName[config.Name] != nil {
		return fmt.Errorf("two clients are called %s", config.Name)
	}
	k := &known{client: &Client{
		Name: config.Name, May: config.May,
		Policies: slices.Clone(config.Policies), MaxLifetime: config.MaxLifetime,
	}}
	if k.client.May == 0 {
		k.client.May = DefaultRights
	}
	if config.Rate > 0 {
		k.limit = rate.NewLimiter(rate.Limit(config.Rate)/60, min(config.Rate, max(10, config.Rate/6)))
	}
	for _, source := range config.Sources {
		plain, err := unmapped(source)
		if err != nil {
			return fmt.Errorf("client %s: %w", config.Name, err)
		}
		k.sources = append(k.sources, plain)
	}
	for _, key := range config.Keys {
		if err := addProof(&c.keys, sha256.Sum256([]byte(key.line)), k, "key"); err != nil {
			return err
		}
	}
	for _, pin := range config.Certificates {
		sum, err := ticket.ParseHash(strings.TrimPrefix(pin, "sha256:"))
		if err != nil {
			return fmt.Errorf("client %s: a certificate: %w", config.Name, err)
		}
		if err := addProof(&c.certificates, sum, k, "certificate"); err != nil {
			return err
		}
	}
	c.byName[config.Name] = k
	return nil
}

func (config *ClientConfig) check() error {
	switch keys, certificates := len(config.Keys), len(config.Certificates); {
	case keys == 0 && certificates == 0:
		return errors.New("it has neither a key nor a certificate")
	case keys > MaxClientKeys:
		return fmt.Errorf("it has %d keys, and takes at most %d", keys, MaxClientKeys)
	case certificates > MaxClientCertificates:
		return fmt.Errorf("it has %d certificates, and takes at most %d", certificates, MaxClientCertificates)
	case slices.ContainsFunc(config.Keys, Key.IsZero):
		return errors.New("a key is empty")
	case config.MaxLifetime < 0:
		return errors.New("a lifetime is not negative")
	case config.Rate < 0:
		return errors.New("a rate is not negative")
	}
	for _, pin := range config.Certificates {
		if err := ticket.CheckPin(pin); err != nil {
			return fmt.Errorf("a certificate: %w", err)
		}
	}
	return nil
}

// addProof adds what shows that somebody is a client, unless it shows that already.
func addProof(list *[]proof, sum [sha256.Size]byte, k *known, what string) error {
	for _, p := range *list {
		if p.sum == sum {
			return fmt.Errorf("clients %s and %s: one %s twice", p.of.client.Name, k.client.Name, what)
		}
	}
	*list = append(*list, proof{sum, k})
	return nil
}

// unmapped gives a network as the addresses in it will be compared.
func unmapped(network netip.Prefix) (netip.Prefix, error) {
	addr, bits := network.Addr(), network.Bits()
	if addr.Is4In6() {
		addr, bits = addr.Unmap(), bits-96
	}
	plain := netip.PrefixFrom(addr, bits)
	if !network.IsValid() || !plain.IsValid() {
		return plain, errors.New("a source is not a network")
	}
	return plain.Masked(), nil
}

func checkClientName(name string) error {
	stray := strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') &&
			r != '.' && r != '_' && r != '-'
	})
	if name == "" || len(name) > 64 || stray {
		return errors.New("a client's name is 1 to 64 of a-z A-Z 0-9 . _ -")
	}
	return nil
}

// Inherit takes over how much of their rates the clients of old, by name, have
// used up: to read the configuration again is no way to ask more often. It must
// be called before c is used.
func (c *Clients) Inherit(old *Clients) {
	for name, k := range c.byName {
		before := old.byName[name]
		if before == nil || before.limit == nil || k.limit == nil {
			continue
		}
		if before.limit.Limit() == k.limit.Limit() {
			k.limit = before.limit
			continue
		}
		now := time.Now()
		used := 1 - max(before.limit.TokensAt(now), 0)/float64(before.limit.Burst())
		k.limit.AllowN(now, int(used*float64(k.limit.Burst())))
	}
}

// Presented is how a request shows who makes it.
type Presented struct {
	// Key is the pre-shared key, as sent; "" for none.
	Key string
	// TLS is the connection's state, or nil. The first certificate in it is one
	// whose key the client proved to have; it need not be verified any further.
	TLS *tls.ConnectionState
	// Address is the peer's, as net/http gives it: host:port.
	Address string
}

// errUnauthenticated is what every failure looks like from outside: nothing but
// its cause, which is for logs, may tell why.
var errUnauthenticated = &ticket.Error{Reason: ticket.Unauthenticated, Text: "no valid key or certificate"}

// unauthenticated is the same with a cause.
func unauthenticated(format string, args ...any) error {
	e := *errUnauthenticated
	e.Err = fmt.Errorf(format, args...)
	return &e
}

// RateError says that a client asks more often than it may. It is a refusal with
// [ticket.Busy].
type RateError struct {
	Client string
	// After is how long the client should wait.
	After time.Duration
}

func (e *RateError) Error() string { return "the client asks more often than it may" }

// Unwrap gives the refusal.
func (e *RateError) Unwrap() error { return ticket.Refuse(ticket.Busy, "%s", e.Error()) }

// Admit finds the client who makes a request. Key and certificate must be the same
// client's; a certificate that is nobody's counts as none, for TLS libraries send
// what they happen to have, and a key that is nobody's is refused. Whoever is not
// known, or asks from where he may not, is refused with [ticket.Unauthenticated],
// and of its cause the client must not be told; whoever asks too often, with a
// [*RateError].
//
// What it costs to find nobody depends on the length of what was presented and on
// the number of clients, and on nothing else: hashes are compared, each in
// constant time, and all of them.
func (c *Clients) Admit(p Presented) (*Client, error) {
	k, err := c.find(&p)
	if err != nil {
		return nil, err
	}
	if len(k.sources) > 0 && !contain(k.sources, p.Address) {
		return nil, unauthenticated("client %s may not ask from this address", k.client.Name)
	}
	if k.limit != nil {
		if now := time.Now(); !k.limit.AllowN(now, 1) {
			lacks := 1 - k.limit.TokensAt(now)
			return nil, &RateError{k.client.Name, time.Duration(lacks / float64(k.limit.Limit()) * float64(time.Second))}
		}
	}
	return k.client, nil
}

// Authenticate is [Clients.Admit] for a key from an unknown address: a client
// with Sources is refused.
func (c *Clients) Authenticate(key string) (*Client, error) { return c.Admit(Presented{Key: key}) }

func (c *Clients) find(p *Presented) (*known, error) {
	if len(p.Key) > MaxKeyLine {
		return nil, errUnauthenticated
	}
	byKey := search(c.keys, []byte(p.Key))
	var byCertificate *known
	if p.TLS != nil && len(p.TLS.PeerCertificates) > 0 {
		byCertificate = search(c.certificates, p.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
	}
	switch {
	case p.Key == "" && byCertificate != nil:
		return byCertificate, nil
	case byKey == nil:
		return nil, errUnauthenticated
	case byCertificate != nil && byCertificate != byKey:
		return nil, unauthenticated("the key is that of client %s, the certificate that of %s",
			byKey.client.Name, byCertificate.client.Name)
	}
	return byKey, nil
}

// search compares with all of them, whatever it finds.
func search(list []proof, shown []byte) *known {
	sum := sha256.Sum256(shown)
	found := -1
	for i := range list {
		equal := subtle.ConstantTimeCompare(sum[:], list[i].sum[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	if found < 0 {
		return nil
	}
	return list[found].of
}

// contain tells whether an address, host:port, is in one of the networks. One
// that cannot be read is in none.
func contain(networks []netip.Prefix, address string) bool {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}
