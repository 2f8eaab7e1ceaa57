package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/connect"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
)

// connectFlags are what connect is told.
type connectFlags struct {
	config, policy                string
	gateway, serverName, ca       string
	ticketFile, services          string
	carrier                       string
	keepAlive                     time.Duration
	split, splitDNS               string
	suffixes, localDNS            string
	listen, httpListen, dnsListen string
	user                          string
	asJSON                        bool
}

func newConnect() *cobra.Command {
	var flags connectFlags
	cmd := &cobra.Command{
		Use:   "connect --gateway HOST:PORT --ticket-file FILE [--services LIST] [--split-tunnel MODE]",
		Short: "Be the device: local proxies and DNS that go through a gateway",
		Long: `Be the device: a local SOCKS5 proxy that opens tunnels through a gateway, and if
told so an HTTP proxy and a DNS server beside it.

All listen on loopback. The proxies want a password, printed once. Names are
passed on as names (socks5h). The split tunnel says what goes through the gateway:

  on        the listed services; the rest goes straight out
  off       everything; the gateway refuses what is not listed
  reverse   all but the listed services

Split DNS says whose DNS is asked for names at or below the suffixes:

  remote    the gateway's
  local     the local one
  both      the gateway's, and the local one if that has no answer

All other names are asked of the local DNS. What goes straight out is looked up by
the same rules. In every mode the gateway's own name stays outside, and a name
without a dot goes through the gateway only. With --config, network access
unrestricted sends nothing to the gateway.

With --config, services, web domains, network access and the modes are those of
the default policy, or of the one that --policy names. That is the device's side
only: the gateway goes by the policy that it chooses for the ticket.

The HTTP proxy's listener has a PAC file for browsers at /proxy.pac.

The carrier is what tunnels reach the gateway by:

  auto      QUIC; TCP where QUIC does not come through, from 0.3 s on, and at once
            from the second tunnel on. QUIC is tried there again after 1 to 30 min
  quic      QUIC alone. It is one connection for all tunnels, and goes with this
            machine from network to network
  tcp       a TLS connection for each tunnel

If the gateway's certificate is not good on one way, the other one is not tried.

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
	f.StringVar(&flags.config, "config", "", "find gateway, CA, services and split rules in this configuration `FILE`")
	f.StringVar(&flags.policy, "policy", "", "the `NAME` of the policy in that file to go by (default: default, the one in gateway.policy)")
	f.StringVar(&flags.gateway, "gateway", "", "the gateway's `HOST:PORT`")
	f.StringVar(&flags.serverName, "server-name", "", "the `NAME` that its certificate must have (default: its host)")
	f.StringVar(&flags.ca, "ca", "", "PEM `FILE` of roots to trust (default: the system's)")
	f.StringVar(&flags.ticketFile, "ticket-file", "", "`FILE` with the ticket (required)")
	f.StringVar(&flags.services, "services", "", "the `LIST` of services, host:port,host:port without blanks (default: the file's)")
	f.StringVar(&flags.carrier, "carrier", "", "what to reach the gateway by, `NAME`: auto, tcp or quic (default: auto; tcp if the file has no gateway.quic)")
	f.DurationVar(&flags.keepAlive, "keep-alive", 0, "send a packet after so long a silence, a `DURATION` such as 240s, for NATs that forget (default: never)")
	f.StringVar(&flags.split, "split-tunnel", "", "`MODE`: on, off or reverse (default: the file's, or off)")
	f.StringVar(&flags.splitDNS, "split-dns", "", "`MODE`: remote, local or both (default: the file's, or both)")
	f.StringVar(&flags.suffixes, "dns-suffixes", "", "the `LIST` of zones that the gateway's DNS is asked about, example.com,corp (default: the file's)")
	f.StringVar(&flags.localDNS, "local-dns", "", "the `ADDRESS:PORT` of the local DNS (default: the first of /etc/resolv.conf)")
	f.StringVar(&flags.listen, "listen", "127.0.0.1:1080", "where to listen for SOCKS5; loopback only")
	f.StringVar(&flags.httpListen, "http-listen", "", "where to listen as an HTTP proxy, such as 127.0.0.1:8118; loopback only")
	f.StringVar(&flags.dnsListen, "dns-listen", "", "where to answer DNS, such as 127.0.0.1:5353; loopback only")
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
		Lookup:  func(l connect.Lookup) { fmt.Fprintln(stderr, l) },
		Refused: func(err error) { fmt.Fprintln(stderr, "local client refused:", tunnel.SafeText(err.Error(), 200)) },
		AcceptError: func(err error, wait time.Duration) {
			fmt.Fprintf(stderr, "cannot accept, trying again in %v: %v\n", wait, err)
		},
	}
	proxy, err := connect.New(*c)
	if err != nil {
		return usage(err)
	}
	defer proxy.Close()
	if _, err := c.Ticket(); err != nil {
		return usage(err)
	}
	warnOfNoSuffixes(stderr, c)
	doors, err := openDoors(ctx, proxy, c)
	if err != nil {
		return err
	}
	if err := f.announce(stdout, doors, proxy.Password(), exampleURL(c.Services)); err != nil {
		return errors.Join(err, doors.close())
	}
	err = doors.serve(ctx)
	if ctx.Err() != nil {
		return nil // told to stop
	}
	return err
}

// warnOfNoSuffixes is for who expects the gateway's DNS to be asked.
func warnOfNoSuffixes(stderr io.Writer, c *connect.Config) {
	if c.DNSListen != "" && len(c.Suffixes) == 0 && c.SplitDNS != connect.Local && c.NetworkAccess != policy.AccessUnrestricted {
		fmt.Fprintln(stderr, "warning: without --dns-suffixes, the gateway's DNS is asked for names without a dot only")
	}
}

// doors are what connect listens at. The HTTP proxy and DNS may be nil.
type doors struct {
	proxy       *connect.Proxy
	socks, http net.Listener
	dns         *connect.DNSListener
}

// openDoors opens all of them or none.
func openDoors(ctx context.Context, proxy *connect.Proxy, c *connect.Config) (*doors, error) {
	d := &doors{proxy: proxy}
	var err error
	d.socks, err = proxy.Listen(ctx)
	if err == nil && c.HTTPListen != "" {
		d.http, err = proxy.ListenHTTP(ctx)
	}
	if err == nil && c.DNSListen != "" {
		d.dns, err = proxy.ListenDNS(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// close is for doors that are not served.
func (d *doors) close() error {
	var errs []error
	if d.socks != nil {
		errs = append(errs, d.socks.Close())
	}
	if d.http != nil {
		errs = append(errs, d.http.Close())
	}
	if d.dns != nil {
		errs = append(errs, d.dns.Close())
	}
	return errors.Join(errs...)
}

// serve returns when all have ended; if one fails, so do the others.
func (d *doors) serve(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return d.proxy.Serve(ctx, d.socks) })
	if d.http != nil {
		all.Go(func() error { return d.proxy.ServeHTTPProxy(ctx, d.http) })
	}
	if d.dns != nil {
		all.Go(func() error { return d.proxy.ServeDNS(ctx, d.dns) })
	}
	return all.Wait()
}

// announce is the one time that the password is shown.
func (f *connectFlags) announce(w io.Writer, d *doors, password, example string) error {
	said := struct {
		Listen   string `json:"listen"`
		User     string `json:"user"`
		Password string `json:"password"`
		HTTP     string `json:"http,omitempty"`
		PAC      string `json:"pac,omitempty"`
		DNS      string `json:"dns,omitempty"`
	}{Listen: d.socks.Addr().String(), User: connect.LocalUser, Password: password}
	if d.http != nil {
		said.HTTP = d.http.Addr().String()
		said.PAC = "http://" + said.HTTP + connect.PACPath
	}
	if d.dns != nil {
		said.DNS = d.dns.Addr().String()
	}
	if f.asJSON {
		return json.NewEncoder(w).Encode(said)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "SOCKS5 on %s; Ctrl-C stops it. For example:\n\n  curl --proxy socks5h://%s:%s@%s %s\n\n",
		said.Listen, said.User, password, said.Listen, example)
	if said.HTTP != "" {
		fmt.Fprintf(&text, "HTTP proxy on %s, same user and password; for browsers %s\n", said.HTTP, said.PAC)
	}
	if said.DNS != "" {
		fmt.Fprintf(&text, "DNS on %s, UDP and TCP\n", said.DNS)
	}
	_, err := io.WriteString(w, text.String())
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
		Listen: f.listen, HTTPListen: f.httpListen, DNSListen: f.dnsListen, LocalDNS: f.localDNS,
		Gateway: f.gateway, ServerName: f.serverName, User: f.user, KeepAlive: f.keepAlive,
		Ticket: func() (string, error) { return readTicket(f.ticketFile) },
	}
	if f.suffixes != "" {
		c.Suffixes = strings.Split(f.suffixes, ",")
	}
	rules, carrier := splitRules{f.services, f.split, f.splitDNS}, f.carrier
	if f.config != "" {
		file, err := loadConfig(f.config, stderr)
		if err != nil {
			return nil, err
		}
		if file.Gateway == nil {
			return nil, usage(fmt.Errorf("%s has no gateway section", f.config))
		}
		if err := rules.fromFile(c, file, f.policy); err != nil {
			return nil, usage(err)
		}
		if err := fromFile(c, file, f.ca == ""); err != nil {
			return nil, err
		}
		if carrier == "" && !file.Gateway.QUIC {
			carrier = connect.TCP.String()
		}
	}
	var err error
	if c.Carrier, err = connect.ParseCarrier(cmp.Or(carrier, connect.Auto.String())); err != nil {
		return nil, usage(fmt.Errorf("--carrier: %w", err))
	}
	if f.policy != "" && f.config == "" {
		return nil, usage(errors.New("--policy needs --config FILE, which has the policy"))
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
	if err := rules.parse(c); err != nil {
		return nil, usage(err)
	}
	return c, nil
}

// splitRules are the rules of the split as they are written; "" is not said.
type splitRules struct {
	services, tunnel, dns string
}

// fromFile takes from a policy of a configuration file what flags have left open;
// "" is the default policy.
func (r *splitRules) fromFile(c *connect.Config, file *config.Config, name string) error {
	name = cmp.Or(name, policy.DefaultName)
	all := policiesOf(file)
	i := slices.IndexFunc(all, func(w written) bool { return w.Name == name })
	if i < 0 {
		names := make([]string, len(all))
		for n, w := range all {
			names[n] = w.Name
		}
		return fmt.Errorf("--policy: there is no %q; there is %s", name, strings.Join(names, ", "))
	}
	spec := all[i].Spec
	r.services = cmp.Or(r.services, spec.Services)
	r.tunnel = cmp.Or(r.tunnel, spec.SplitTunnel)
	r.dns = cmp.Or(r.dns, spec.SplitDNS)
	c.NetworkAccess, c.WebDomains = spec.NetworkAccess, spec.WebDomains
	if c.Suffixes == nil {
		c.Suffixes = suffixes(file)
	}
	return nil
}

func (r *splitRules) parse(c *connect.Config) (err error) {
	if c.Services, err = policy.ParseServices(r.services); err != nil {
		return fmt.Errorf("--services: %w", err)
	}
	if c.SplitTunnel, err = connect.ParseMode(cmp.Or(r.tunnel, "off")); err != nil {
		return fmt.Errorf("--split-tunnel: %w", err)
	}
	if c.SplitDNS, err = connect.ParseDNSMode(cmp.Or(r.dns, "both")); err != nil {
		return fmt.Errorf("--split-dns: %w", err)
	}
	if c.SplitTunnel != connect.Off && len(c.Services) == 0 && len(c.WebDomains) == 0 && c.NetworkAccess != policy.AccessUnrestricted {
		return fmt.Errorf("--split-tunnel %s goes by --services, which is empty", r.tunnel)
	}
	return nil
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
