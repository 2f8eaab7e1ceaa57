package node

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
	"github.com/sallyport/sallyport/sta/ctxsta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// trust is every authority whose tickets the gateway takes, with what is
// remembered of each over a restart.
type trust struct {
	*follow.Set
	followers []*follow.Follower
	logs      []*revlog.Log
	clients   []interface{ Close() }
	ways      map[string]*way // to the remote authorities, by ID
}

// way is how a remote authority is asked at the moment.
type way struct {
	follower *follow.Follower
	clients  []*api.Client
	digest   [sha256.Size]byte // of what it was made of
}

// openTrust opens what the gateway knows of its authorities. Nothing is asked yet.
func (n *Node) openTrust(c *config.Config, g *gatewayPart) (_ *trust, err error) {
	t := &trust{ways: make(map[string]*way)}
	defer func() {
		if err != nil {
			_ = t.close()
		}
	}()
	var trusted []follow.Trusted
	for i := range c.Gateway.Authorities {
		entry := &c.Gateway.Authorities[i]
		one := follow.Trusted{Authority: entry.ID, Foreign: entry.Foreign(), Policies: mayName(entry.Policies)}
		switch {
		case entry.Local:
			one.Authority = c.STA.ID
			one.Member, err = t.follow(n, c, g, n.authority.pin, follow.Config{
				Authority: c.STA.ID, Keys: n.authority.Keys,
				Nodes: []follow.Node{{Name: "local", Source: n.authority.Authority}},
			})
		case one.Foreign:
			one.Member, err = t.ask(c, entry)
		default:
			one.Member, err = t.followRemote(n, c, g, entry)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.Authority, err)
		}
		trusted = append(trusted, one)
	}
	t.Set, err = follow.NewSet(trusted)
	return t, err
}

// mayName is what the tickets of an authority may name of the policies that they may
// have: one of them, or none. Which one the latter have is decided when it is chosen,
// see trustedPolicies.
func mayName(policies []string) []string {
	if policies == nil {
		return nil
	}
	return append([]string{""}, policies...)
}

// follow makes the follower of one of our authorities.
func (t *trust) follow(n *Node, c *config.Config, g *gatewayPart, pin string, f follow.Config) (*follow.Follower, error) {
	log, err := revlog.Open(filepath.Join(c.Gateway.State, stateFile(f.Authority, pin)), "")
	if err != nil {
		return nil, err
	}
	t.logs = append(t.logs, log)
	f.Gateway, f.Audience, f.Log, f.Hooks = c.Node, c.Gateway.FQDN, log, n.followHooks(f.Authority)
	f.Cut = func(r *ticket.Revocation) int { return g.Cut(f.Authority, r) }
	f.CutKeys = func(set *ticket.KeySet) int { return g.CutKeys(set) }
	follower, err := follow.New(f)
	if err != nil {
		return nil, err
	}
	t.followers = append(t.followers, follower)
	return follower, nil
}

// stateFile is where the gateway keeps what it knows of an authority. One that was
// set up anew, with another root, has another history.
func stateFile(authority, pin string) string {
	sum := sha256.Sum256([]byte(pin))
	return authority + "-" + hex.EncodeToString(sum[:4]) + ".db"
}

func (t *trust) followRemote(n *Node, c *config.Config, g *gatewayPart, entry *config.Authority) (*follow.Follower, error) {
	w, nodes, err := openWay(entry)
	if err != nil {
		return nil, err
	}
	t.ways[entry.ID] = w
	w.follower, err = t.follow(n, c, g, entry.Pin, follow.Config{
		Authority: entry.ID, Pin: entry.Pin, Nodes: nodes, Spread: entry.Spread, Bypass: entry.Bypass,
	})
	return w.follower, err
}

// openWay makes the clients that ask a remote authority.
func openWay(entry *config.Authority) (*way, []follow.Node, error) {
	secured, key, err := credentials(entry)
	if err != nil {
		return nil, nil, err
	}
	w := &way{}
	if w.digest, err = digestOf(entry); err != nil {
		return nil, nil, err
	}
	var nodes []follow.Node
	for _, url := range entry.URL {
		client, err := api.NewClient(api.ClientConfig{URL: url, Key: key, TLS: secured})
		if err != nil {
			return nil, nil, err
		}
		w.clients = append(w.clients, client)
		nodes = append(nodes, follow.Node{Name: url, Source: client})
	}
	return w, nodes, nil
}

// digestOf tells whether the way to an authority, or a file on it, has changed.
func digestOf(entry *config.Authority) (digest [sha256.Size]byte, err error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", []string(entry.URL))
	for _, file := range []string{entry.CA, entry.Cert, entry.Key, entry.KeyFile} {
		var data []byte
		if file != "" {
			if data, err = os.ReadFile(file); err != nil {
				return digest, err
			}
		}
		fmt.Fprintf(sum, "%q %x\n", file, sha256.Sum256(data))
	}
	return [sha256.Size]byte(sum.Sum(nil)), nil
}

// use asks the remote authorities in the way that c says from now on: where, and
// with which key. What was trusted before, and no more, is trusted.
func (t *trust) use(c *config.Config) error {
	var errs []error
	for i := range c.Gateway.Authorities {
		entry := &c.Gateway.Authorities[i]
		old := t.ways[entry.ID]
		if entry.Local || old == nil || entry.Foreign() {
			continue
		}
		digest, err := digestOf(entry)
		if err == nil && digest == old.digest {
			continue
		}
		if err == nil {
			err = t.replace(entry, old)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: the old way to it stays: %w", entry.ID, err))
		}
	}
	return errors.Join(errs...)
}

func (t *trust) replace(entry *config.Authority, old *way) error {
	w, nodes, err := openWay(entry)
	if err != nil {
		return err
	}
	if err := old.follower.Use(nodes); err != nil {
		return err
	}
	w.follower = old.follower
	t.ways[entry.ID] = w
	for _, client := range old.clients {
		client.Close()
	}
	return nil
}

// ask makes what asks an authority that speaks only XML.
func (t *trust) ask(c *config.Config, entry *config.Authority) (*follow.Foreign, error) {
	secured, key, err := credentials(entry)
	if err != nil {
		return nil, err
	}
	var vaults vaults
	for _, url := range entry.URL {
		client, err := ctxsta.NewClient(ctxsta.ClientConfig{
			URL: strings.TrimPrefix(url, "ctxsta+"), AuthorityID: entry.ID, Key: key, TLS: secured,
		})
		if err != nil {
			return nil, err
		}
		t.clients = append(t.clients, client)
		vaults = append(vaults, client)
	}
	return follow.NewForeign(follow.ForeignConfig{Authority: entry.ID, Gateway: c.Gateway.FQDN, Vault: vaults})
}

// vaults asks one after the other until one knows.
type vaults []follow.Vault

func (v vaults) RequestData(ctx context.Context, handle ticket.Handle, version int) (data []ticket.Value, err error) {
	for _, vault := range v {
		if data, err = vault.RequestData(ctx, handle, version); ticket.ReasonOf(err) != ticket.Unavailable {
			return data, err
		}
	}
	return nil, err
}

// credentials are how a remote authority is known, and how it knows us.
func credentials(entry *config.Authority) (*tls.Config, sta.Key, error) {
	secured := &tls.Config{MinVersion: tls.VersionTLS12}
	var key sta.Key
	if entry.CA != "" {
		roots, err := ReadRoots(entry.CA)
		if err != nil {
			return nil, key, err
		}
		secured.RootCAs = roots
	}
	if entry.Cert != "" {
		pair, err := tls.LoadX509KeyPair(entry.Cert, entry.Key)
		if err != nil {
			return nil, key, fmt.Errorf("client certificate: %w", err)
		}
		secured.Certificates = []tls.Certificate{pair}
	}
	if entry.KeyFile != "" {
		keys, err := sta.ReadKeyFile(entry.KeyFile)
		if err != nil {
			return nil, key, err
		}
		key = keys[0]
	}
	return secured, key, nil
}

// run follows every authority until ctx ends.
func (t *trust) run(ctx context.Context, n *Node) {
	for _, follower := range t.followers {
		n.run("revocations", func() error { return follower.Run(ctx) })
	}
}

// close gives the files back; nothing uses them any more.
func (t *trust) close() error {
	for _, client := range t.clients {
		client.Close()
	}
	for _, w := range t.ways {
		for _, client := range w.clients {
			client.Close()
		}
	}
	var errs []error
	for _, log := range t.logs {
		errs = append(errs, log.Close())
	}
	return errors.Join(errs...)
}
