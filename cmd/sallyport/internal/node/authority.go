package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
	"github.com/sallyport/sallyport/sta/auditlog"
	"github.com/sallyport/sallyport/sta/ctxsta"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// authority is the part of a node that issues tickets.
type authority struct {
	*sta.Authority
	store    sta.Store
	log      *revlog.Log
	audit    *auditlog.Log
	clients  *sta.Clients
	audience string // one of the gateways that tickets are for
	pin      string // of the root
	server   *http.Server
	addr     netip.AddrPort
	door     atomic.Pointer[http.Handler] // both doors, for the clients in force
}

// stopTimeout is how long requests to the authority may take to finish when the
// node is stopped. Connections without a request count too, for as long.
const stopTimeout = 2 * time.Second

func (n *Node) startAuthority(ctx context.Context, c *config.Config) (_ *authority, err error) {
	a := &authority{}
	defer func() {
		if err != nil {
			_ = a.close()
		}
	}()
	if a.store, err = OpenStore(ctx, c.STA); err != nil {
		return nil, err
	}
	if a.log, err = revlog.Open(filepath.Join(c.STA.State, logFile), revlog.WriterName(c.Node)); err != nil {
		return nil, err
	}
	keys, err := n.openKeys(ctx, c.STA, a.store, a.log)
	if err != nil {
		return nil, err
	}
	a.pin = keys.Pin
	if a.audit, err = auditlog.Open(c.STA.Audit); err != nil {
		return nil, err
	}
	a.Authority, err = sta.New(sta.Config{
		ID: c.STA.ID, Audience: c.STA.Audience, Lifetime: c.STA.TicketLifetime,
		Signer: keys.Signer, Keys: keys.Set, Pin: keys.Pin, Store: a.store, Audit: a.audit,
		Node: c.Node, Log: a.log, Shared: c.STA.Store.Redis != nil,
		Hooks: n.authorityHooks(),
	})
	if err != nil {
		return nil, err
	}
	a.audience = c.STA.Audience[0]
	if err := a.admit(n, c.STA); err != nil {
		return nil, err
	}
	listener, err := listen(ctx, c, c.STA.Listen)
	if err != nil {
		return nil, err
	}
	a.addr = listener.Addr().(*net.TCPAddr).AddrPort()
	a.server = api.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*a.door.Load()).ServeHTTP(w, r)
	}))
	a.server.ErrorLog = n.serverLog("authority")
	secured := tls.NewListener(limitRequesters(listener), api.AskForCertificates(requesterTLS(n.certs.GetCertificate)))
	n.run("authority", func() error {
		if err := a.server.Serve(secured); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	n.run("authority's log", func() error { return a.Run(ctx) })
	n.log.Info().Str("event", "authority_ready").Str("authority", c.STA.ID).Stringer("listen", a.addr).
		Strs("keys", keys.Set.KeyIDs()).Str("signs_with", keys.Signer.KeyID()).Msg("the authority accepts requests")
	return a, nil
}

// logFile is the name of the revocation log in sta.state.
const logFile = "revocations.db"

// openKeys reads the authority's keys. A first start with an empty store of its
// own makes them, as `sta init` does; for a store that others share, somebody
// has to say so.
func (n *Node) openKeys(ctx context.Context, c *config.STA, store sta.Store, log *revlog.Log) (sta.Keys, error) {
	if err := sta.RestoreKeySet(ctx, store, log); err != nil {
		return sta.Keys{}, err
	}
	keys, err := sta.OpenKeys(ctx, store, c.ID, c.SigningKey)
	if !errors.Is(err, sta.ErrNotInitialised) {
		return keys, err
	}
	if c.Store.Redis != nil {
		return sta.Keys{}, fmt.Errorf("%w; run  sallyport sta init  on one node, and copy sta.signing_key and its .pin to the others", err)
	}
	files := sta.KeyFiles{Signing: c.SigningKey, Root: RootPath(c.SigningKey)}
	pin, err := sta.Init(ctx, store, c.ID, files, time.Now())
	if err != nil {
		return sta.Keys{}, err
	}
	n.log.Info().Str("event", "authority_initialised").Str("authority", c.ID).Str("pin", pin).
		Str("root", files.Root).Msg("made root and signing keys; take the root key off this machine")
	return sta.OpenKeys(ctx, store, c.ID, c.SigningKey)
}

// RootPath is where the root key is written when nobody says where: beside the
// signing key, as NAME-root.key.
func RootPath(signing string) string {
	ext := filepath.Ext(signing)
	return strings.TrimSuffix(signing, ext) + "-root" + ext
}

// admit puts the clients of the file in force. Whoever is not among them any
// more is a stranger from the next request on.
func (a *authority) admit(n *Node, c *config.STA) error {
	clients, err := openClients(c)
	if err != nil {
		return err
	}
	if a.clients != nil {
		clients.Inherit(a.clients)
	}
	a.clients = clients
	json := api.NewHandler(a.Authority, clients, api.Options{Log: n.logRequest})
	xml, err := ctxsta.NewHandler(a.Authority, clients, ctxsta.Options{
		AuthorityID: c.ID, Verify: a.verify, MaxLifetime: c.TicketLifetime, Log: n.logXMLRequest,
	})
	if err != nil {
		return err
	}
	var door http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctxsta.IsPath(r.URL.Path) {
			xml.ServeHTTP(w, r)
			return
		}
		json.ServeHTTP(w, r)
	})
	a.door.Store(&door)
	return nil
}

func openClients(c *config.STA) (*sta.Clients, error) {
	configs := make([]sta.ClientConfig, len(c.Clients))
	for i, client := range c.Clients {
		var keys []sta.Key
		if client.KeyFile != "" {
			var err error
			if keys, err = sta.ReadKeyFile(client.KeyFile); err != nil {
				return nil, fmt.Errorf("client %s: %w", client.Name, err)
			}
		}
		may, err := sta.ParseRights(client.May)
		if err != nil {
			return nil, fmt.Errorf("client %s: %w", client.Name, err)
		}
		configs[i] = sta.ClientConfig{
			Name: client.Name, Keys: keys, May: may,
			Policies: client.Policies, MaxLifetime: client.MaxLifetime,
			Certificates: client.Certificates, Sources: client.Sources, Rate: client.Rate,
		}
	}
	return sta.NewClients(configs)
}

// verify judges a statement by the key set in force, for the XML door.
func (a *authority) verify(statement string, handle ticket.Hash) (*ticket.Claims, error) {
	verifier, err := ticket.NewVerifier(a.Keys(), a.audience, nil)
	if err != nil {
		return nil, err
	}
	return verifier.Verify(statement, handle)
}

// stop lets requests finish, and then no more.
func (a *authority) stop(ctx context.Context) {
	if a.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		a.server.Close()
	}
}

// close gives the files back; nothing uses them any more.
func (a *authority) close() error {
	var errs []error
	if a.audit != nil {
		errs = append(errs, a.audit.Close())
	}
	if a.log != nil {
		errs = append(errs, a.log.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	return errors.Join(errs...)
}

// family is how package net is told to listen there by a protocol. It would take
// 0.0.0.0 for IPv6's addresses as well, which a firewall for IPv4 knows nothing of,
// and [::] for an error where there is no IPv6.
func family(protocol string, at netip.AddrPort) (network, address string) {
	switch {
	case at.Addr().Is4():
		return protocol + "4", at.String()
	case at.Addr() == netip.IPv6Unspecified():
		return protocol, fmt.Sprintf(":%d", at.Port())
	}
	return protocol, at.String()
}

// listen opens a listener; with development certificates on loopback only.
func listen(ctx context.Context, c *config.Config, at netip.AddrPort) (net.Listener, error) {
	if c.Certs.Mode == "dev" {
		if err := certs.CheckLoopback(at); err != nil {
			return nil, err
		}
	}
	lc := net.ListenConfig{KeepAlive: -1}
	network, address := family("tcp", at)
	listener, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", at, err)
	}
	return listener, nil
}
