package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
	"github.com/sallyport/sallyport/sta/ticket"
)

// authorityFlags say which authority a command talks to, and as whom.
type authorityFlags struct {
	config, server, ca, keyFile string
}

func (f *authorityFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "find server, CA and key in this configuration `FILE`")
	flags.StringVar(&f.server, "server", "", "the authority's `URL`, https://host:port")
	flags.StringVar(&f.ca, "ca", "", "PEM `FILE` of roots to trust (default: the system's)")
	flags.StringVar(&f.keyFile, "key-file", "", "`FILE` with the client's key")
}

// client makes a client that has, if the configuration chooses it, the right
// that is needed.
func (f *authorityFlags) client(right string, stderr io.Writer) (*api.Client, error) {
	switch {
	case f.config != "":
		return f.fromConfig(right, stderr)
	case f.server == "" || f.keyFile == "":
		return nil, usage(errors.New("needs --config FILE, or --server URL and --key-file FILE"))
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if err := f.trustCA(trust); err != nil {
		return nil, err
	}
	return newClient(f.server, f.keyFile, trust)
}

func (f *authorityFlags) fromConfig(right string, stderr io.Writer) (*api.Client, error) {
	c, err := loadConfig(f.config, stderr)
	if err != nil {
		return nil, err
	}
	if c.STA == nil {
		return nil, usage(fmt.Errorf("%s has no sta section; use --server, --ca and --key-file", f.config))
	}
	server, keyFile := f.server, f.keyFile
	if server == "" {
		server = "https://" + reachable(c.STA.Listen).String()
	}
	if keyFile == "" {
		if keyFile, err = keyWith(right, c.STA.Clients); err != nil {
			return nil, usage(fmt.Errorf("%s: %w", f.config, err))
		}
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		err = f.trustCA(trust)
	} else {
		err = trustConfigured(trust, &c.Certs)
	}
	if err != nil {
		return nil, err
	}
	return newClient(server, keyFile, trust)
}

func newClient(server, keyFile string, trust *tls.Config) (*api.Client, error) {
	keys, err := sta.ReadKeyFile(keyFile)
	if err != nil {
		return nil, usage(err)
	}
	client, err := api.NewClient(api.ClientConfig{URL: server, Key: keys[0], TLS: trust})
	if err != nil {
		return nil, usage(err)
	}
	return client, nil
}

// keyWith gives the key file of the first client that may do it.
func keyWith(right string, clients []config.Client) (string, error) {
	for _, c := range clients {
		if slices.Contains(c.May, right) && c.KeyFile != "" {
			return c.KeyFile, nil
		}
	}
	return "", fmt.Errorf("none of sta.clients that has a key_file may %s; use --key-file", right)
}

// reachable is where a client on this machine reaches a listener: one on every
// address is reached by loopback.
func reachable(listen netip.AddrPort) netip.AddrPort {
	switch {
	case !listen.Addr().IsUnspecified():
		return listen
	case listen.Addr().Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), listen.Port())
	default:
		return netip.AddrPortFrom(netip.IPv6Loopback(), listen.Port())
	}
}

func (f *authorityFlags) trustCA(trust *tls.Config) error {
	if f.ca == "" {
		return nil
	}
	roots, err := readRoots(f.ca)
	trust.RootCAs = roots
	return err
}

func readRoots(file string) (*x509.CertPool, error) {
	roots, err := node.ReadRoots(file)
	if err != nil {
		return nil, usage(err)
	}
	return roots, nil
}

// trustConfigured trusts what the configuration says the server has: the
// development CA, or exactly the first certificate, whatever its name. The
// address comes out of the same file, so there is no name to be sure of.
func trustConfigured(trust *tls.Config, c *config.Certs) error {
	if c.Mode == "dev" {
		roots, err := certs.DevRoots(c.Dir)
		if err != nil {
			return fmt.Errorf("has the authority been started yet? %w", err)
		}
		trust.RootCAs = roots
		return nil
	}
	leaf, err := certs.ReadLeaf(c.Files[0].Cert)
	if err != nil {
		return usage(err)
	}
	certs.Pin(trust, leaf)
	return nil
}

// answered gives an authority's refusal its exit code: what does not exist is a
// plain no, what was asked wrongly is usage, the rest failed.
func answered(err error) error {
	switch ticket.ReasonOf(err) {
	case "":
		return nil
	case ticket.NotFound, ticket.Ambiguous:
		return no(err)
	case ticket.Invalid, ticket.TooLarge, ticket.Malformed:
		return usage(err)
	default:
		return err
	}
}
