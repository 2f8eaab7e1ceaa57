package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/connect"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// connectFlags are what connect is told.
type connectFlags struct {
	config, gateway, serverName, ca string
	ticketFile, services, split     string
	listen, user                    string
	asJSON                          bool
}

func newConnect() *cobra.Command {
	var flags connectFlags
	cmd := &cobra.Command{
		Use:   "connect --gateway HOST:PORT --ticket-file FILE [--services LIST] [--split-tunnel MODE]",
		Short: "Be the device: a local SOCKS5 proxy that opens tunnels through a gateway",
		Long: `Be the device: a local SOCKS5 proxy that opens tunnels through a gateway.

It listens on loopback and wants a password, printed once. Names are passed on as
names (socks5h). The split tunnel says what goes through the gateway:

  on        the listed services; the rest goes straight out
  off       everything; the gateway refuses what is not listed
  reverse   all but the listed services

The ticket file holds the ticket alone, on one line, and is read again for each
tunnel, so a new one can be put there at any time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return flags.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.config, "config", "", "find gateway, CA, services and split tunnel in this configuration `FILE`")
	f.StringVar(&flags.gateway, "gateway", "", "the gateway's `HOST:PORT`")
	f.StringVar(&flags.serverName, "server-name", "", "the `NAME` that its certificate must have (default: its host)")
	f.StringVar(&flags.ca, "ca", "", "PEM `FILE` of roots to trust (default: the system's)")
	f.StringVar(&flags.ticketFile, "ticket-file", "", "`FILE` with the ticket (required)")
	f.StringVar(&flags.services, "services", "", "the `LIST` of services, host:port,host:port without blanks")
	f.StringVar(&flags.split, "split-tunnel", "", "`MODE`: on, off or reverse (default off)")
	f.StringVar(&flags.listen, "listen", "127.0.0.1:1080", "where to listen; loopback only")
	f.StringVar(&flags.user, "user", "", "the user name to claim; gateways log it and do not trust it")
	f.BoolVar(&flags.asJSON, "json", false, "print where it listens, and the password, as JSON")
	if err := cmd.MarkFlagRequired("ticket-file"); err != nil {
		panic(err) // only for a flag that is not there
	}
	return cmd
}

func (f *connectFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	c, err := f.connectConfig(stderr)
	if err != nil {
		return err
	}
	c.Hooks = connect.Hooks{
		Tunnel:  func(t connect.Tunnel) { fmt.Fprintln(stderr, t) },
		Refused: func(err error) { fmt.Fprintln(stderr, "local client refused:", tunnel.SafeText(err.Error(), 200)) },
		AcceptError: func(err error, wait time.Duration) {
			fmt.Fprintf(stderr, "cannot accept, trying again in %v: %v\n", wait, err)
		},
	}
	proxy, err := connect.New(*c)
	if err != nil {
		return usage(err)
	}
	if _, err := c.Ticket(); err != nil {
		return usage(err)
	}
	listener, err := proxy.Listen(ctx)
	if err != nil {
		return err
	}
	if err := f.announce(stdout, listener.Addr().String(), proxy.Password(), exampleURL(c.Services)); err != nil {
		listener.Close()
		return err
	}
	err = proxy.Serve(ctx, listener)
	if ctx.Err() != nil {
		return nil // told to stop
	}
	return err
}

// announce is the one time that the password is shown.
func (f *connectFlags) announce(w io.Writer, address, password, example string) error {
	if f.asJSON {
		return json.NewEncoder(w).Encode(struct {
			Listen   string `json:"listen"`
			User     string `json:"user"`
			Password string `json:"password"`
		}{address, connect.LocalUser, password})
	}
	_, err := fmt.Fprintf(w, "SOCKS5 on %s; Ctrl-C stops it. For example:\n\n  curl --proxy socks5h://%s:%s@%s %s\n\n",
		address, connect.LocalUser, password, address, example)
	return err
}

// exampleURL is something to ask for: the first service that has a name.
func exampleURL(services []policy.Service) string {
	for _, s := range services {
		switch {
		case s.Name == "" || s.Wildcard:
		case s.Port == 443:
			return "https://" + s.Name + "/"
		default:
			return "https://" + s.String() + "/"
		}
	}
	return "https://mail.example.com/"
}

// connectConfig puts together what flags and file say; flags win.
func (f *connectFlags) connectConfig(stderr io.Writer) (*connect.Config, error) {
	c := &connect.Config{
		Listen: f.listen, Gateway: f.gateway, ServerName: f.serverName, User: f.user,
		Ticket: func() (string, error) { return readTicket(f.ticketFile) },
	}
	services, split := f.services, f.split
	if f.config != "" {
		file, err := loadConfig(f.config, stderr)
		if err != nil {
			return nil, err
		}
		if file.Gateway == nil {
			return nil, usage(fmt.Errorf("%s has no gateway section", f.config))
		}
		if services == "" {
			services = file.Gateway.Policy.BackgroundServices
		}
		if split == "" {
			split = file.Gateway.Policy.SplitTunnel
		}
		if err := fromFile(c, file, f.ca == ""); err != nil {
			return nil, err
		}
	}
	if c.Gateway == "" {
		return nil, usage(errors.New("needs --gateway HOST:PORT or --config FILE"))
	}
	if f.ca != "" {
		roots, err := readRoots(f.ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = roots
	}
	var err error
	if c.Services, err = policy.ParseServices(services); err != nil {
		return nil, usage(fmt.Errorf("--services: %w", err))
	}
	if split == "" {
		split = "off"
	}
	if c.SplitTunnel, err = connect.ParseMode(split); err != nil {
		return nil, usage(fmt.Errorf("--split-tunnel: %w", err))
	}
	if c.SplitTunnel != connect.Off && len(c.Services) == 0 {
		return nil, usage(fmt.Errorf("--split-tunnel %s goes by --services, which is empty", split))
	}
	return c, nil
}

// fromFile takes the gateway, and whom to trust, out of a configuration file.
func fromFile(c *connect.Config, file *config.Config, trust bool) error {
	if c.Gateway == "" {
		c.Gateway = reachable(file.Gateway.Listen).String()
		if c.ServerName == "" {
			c.ServerName = file.Gateway.FQDN
		}
	}
	if !trust {
		return nil
	}
	if file.Certs.Mode == "dev" {
		roots, err := certs.DevRoots(file.Certs.Dir)
		if err != nil {
			return fmt.Errorf("has the gateway been started yet? %w", err)
		}
		c.RootCAs = roots
		return nil
	}
	leaf, err := certs.ReadLeaf(file.Certs.Files[0].Cert)
	if err != nil {
		return usage(err)
	}
	c.Pin = leaf
	return nil
}

// readTicket reads a ticket file, which only its owner may read.
func readTicket(file string) (string, error) {
	data, err := certs.ReadSecretFile(file)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(data))
	p, err := ticket.ParsePresentation(line)
	if err == nil && p.Form != ticket.FormHandle && p.Form != ticket.FormSTA {
		err = errors.New("not a form for a password")
	}
	if err != nil {
		return "", fmt.Errorf("%s holds no ticket: %w", file, err)
	}
	return line, nil
}
