package sta

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
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
	// Policies are the named policies it may ask for; "" among them is the
	// default one. nil means any.
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

// ClientConfig describes one client to [NewClients].
type ClientConfig struct {
	// Name is 1 to 64 of a-z A-Z 0-9 . _ and -; it goes into logs and audit.
	Name string
	// Keys are one or two pre-shared keys; two while one replaces the other.
	Keys []Key
	// May is what it may do; 0 means [DefaultRights].
	May Rights
	// Policies and MaxLifetime: see [Client].
	Policies    []string
	MaxLifetime time.Duration
}

// Clients knows the clients of an authority by their keys. It holds only hashes
// of the keys, is immutable, and safe for concurrent use.
type Clients struct{ keys []knownKey }

type knownKey struct {
	sum    [sha256.Size]byte
	client *Client
}

// NewClients refuses two clients with one name or one key: the audit log must
// be able to tell them apart.
func NewClients(configs []ClientConfig) (*Clients, error) {
	var clients Clients
	names := make(map[string]bool)
	owners := make(map[[sha256.Size]byte]string)
	for _, config := range configs {
		if err := checkClientName(config.Name); err != nil {
			return nil, err
		}
		if names[config.Name] {
			return nil, fmt.Errorf("two clients are called %s", config.Name)
		}
		names[config.Name] = true
		if n := len(config.Keys); n < 1 || n > MaxClientKeys {
			return nil, fmt.Errorf("client %s has %d keys; it takes 1 or %d", config.Name, n, MaxClientKeys)
		}
		if config.MaxLifetime < 0 {
			return nil, fmt.Errorf("client %s: a lifetime is not negative", config.Name)
		}
		client := &Client{
			Name: config.Name, May: config.May,
			Policies: slices.Clone(config.Policies), MaxLifetime: config.MaxLifetime,
		}
		if client.May == 0 {
			client.May = DefaultRights
		}
		for _, key := range config.Keys {
			if key.line == "" {
				return nil, fmt.Errorf("client %s has an empty key", config.Name)
			}
			sum := sha256.Sum256([]byte(key.line))
			if owner, taken := owners[sum]; taken {
				return nil, fmt.Errorf("clients %s and %s: one key twice", owner, config.Name)
			}
			owners[sum] = config.Name
			clients.keys = append(clients.keys, knownKey{sum, client})
		}
	}
	return &clients, nil
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

// errUnauthenticated is one value for every failure: nothing in it may tell why.
var errUnauthenticated = ticket.Refuse(ticket.Unauthenticated, "no valid key")

// Authenticate finds the client whose key was presented, or refuses with
// [ticket.Unauthenticated]. What it costs depends on the length of what was
// presented and on the number of keys, and on nothing else: hashes are compared,
// each in constant time, and all of them.
func (c *Clients) Authenticate(bearer string) (*Client, error) {
	if len(bearer) > MaxKeyLine {
		return nil, errUnauthenticated
	}
	sum := sha256.Sum256([]byte(bearer))
	found := -1
	for i := range c.keys {
		equal := subtle.ConstantTimeCompare(sum[:], c.keys[i].sum[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	if found < 0 {
		return nil, errUnauthenticated
	}
	return c.keys[found].client, nil
}
