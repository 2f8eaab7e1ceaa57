package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
}

// openTrust opens what the gateway knows of its authorities. Nothing is asked yet.
func (n *Node) openTrust(c *config.Config, g *gatewayPart) (_ *trust, err error) {
	t := &trust{}
	defer func() {
		if err != nil {
			_ = t.close()
		}
	}()
	var trusted []follow.Trusted
	for i := range c.Gateway.Authorities {
		entry := &c.Gateway.Authorities[i]
		one := follow.Trusted{Authority: entry.ID, Foreign: entry.Foreign(), Policies: policies(entry.Policies)}
		switch {
		case entry.Local:
			one.Authority = c.STA.ID
			one.Member, err = t.follow(n, c, g, follow.Config{
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

// follow makes the follower of one of our authorities.
func (t *trust) follow(n *Node, c *config.Config, g *gatewayPart, f follow.Config) (*follow.Follower, error) {
	log, err := revlog.Open(filepath.Join(c.Gateway.State, f.Authority+".db"), "")
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

func (t *trust) followRemote(n *Node, c *config.Config, g *gatewayPart, entry *config.Authority) (*follow.Follower, error) {
	secured, key, err := credentials(entry)
	if err != nil {
		return nil, err
	}
	var nodes []follow.Node
	for _, url := range entry.URL {
		client, err := api.NewClient(api.ClientConfig{URL: url, Key: key, TLS: secured})
		if err != nil {
			return nil, err
		}
		t.clients = append(t.clients, client)
		nodes = append(nodes, follow.Node{Name: url, Source: client})
	}
	return t.follow(n, c, g, follow.Config{
		Authority: entry.ID, Pin: entry.Pin, Nodes: nodes, Spread: entry.Spread, Bypass: entry.Bypass,
	})
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
		roots, err := readRoots(entry.CA)
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
	var errs []error
	for _, log := range t.logs {
		errs = append(errs, log.Close())
	}
	return errors.Join(errs...)
}
