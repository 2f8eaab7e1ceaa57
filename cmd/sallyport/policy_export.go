package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/export"
	"github.com/sallyport/sallyport/sta/ticket"
)

// exportFlags are what export is told.
type exportFlags struct {
	config, format, name, output string
	proxy                        string // as a PAC file has it
	proxies                      export.Proxies
	relay                        export.Relay
	ticketFile                   string
}

const (
	formatPAC   = "pac"
	formatRelay = "apple-relay"
)

// flagsOf are those of one format alone.
func flagsOf(format string) []string {
	switch format {
	case formatPAC:
		return []string{"proxy", "http", "socks"}
	case formatRelay:
		return []string{"ticket-file", "header", "match-domains"}
	}
	return nil
}

func newPolicyExport() *cobra.Command {
	var flags exportFlags
	cmd := &cobra.Command{
		Use:   "export --config FILE [--format FORMAT] [--policy NAME] [--output FILE]",
		Short: "Print what a device or a console needs of a policy",
		Long: `Print what a device or a console needs of a policy:

  json  every setting, under its key of the configuration file
  mdx   the values to type into the mobile-management console, as XML
  vpn   a VPN configuration with SplitTunnel and SplitDNS, as XML
  pac   a proxy auto-configuration file that obeys the split tunnel. It names the
        local proxies of sallyport connect, or the proxy that --proxy says: for
        browsers that come without connect, 'HTTPS gateway3.example.com:443', which
        needs gateway.https_proxy: true at the gateway

Each of them holds the whole policy: sallyport policy diff reads all four.

  apple-relay  a configuration profile by which iPhones, iPads and Macs send what
               the split tunnel says through the gateway, without an app

It needs gateway.https_proxy: true at the gateway, and holds a ticket: that of
--ticket-file, or ${TICKET}, for which a management server puts in each device's
own. What it cannot say is said on standard error. sallyport policy diff does not
read it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(cmd.Flags().Changed); err != nil {
				return usage(err)
			}
			return flags.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	configFlag(cmd, &flags.config)
	f := cmd.Flags()
	f.StringVar(&flags.format, "format", "json", "`FORMAT`: json, mdx, vpn, pac or apple-relay")
	f.StringVar(&flags.name, "policy", policy.DefaultName, "the `NAME` of the policy")
	f.StringVar(&flags.proxy, "proxy", "", "for pac: the one proxy that it names, `PROXY`: 'HTTPS HOST:PORT', 'PROXY HOST:PORT' or 'SOCKS5 HOST:PORT'")
	f.StringVar(&flags.proxies.HTTP, "http", "127.0.0.1:8118", "for pac: the HTTP proxy, `HOST:PORT`")
	f.StringVar(&flags.proxies.SOCKS, "socks", "", "for pac: a SOCKS5 proxy beside it, `HOST:PORT`")
	f.StringVar(&flags.ticketFile, "ticket-file", "", "for apple-relay: `FILE` with the ticket, which only its owner may read")
	f.StringVar(&flags.relay.Header, "header", "Proxy-Authorization", "for apple-relay: the header field `NAME` that carries the ticket")
	f.BoolVar(&flags.relay.Domains, "match-domains", false, "for apple-relay: match whole domains, for systems before iOS 18.4 and macOS 15.4")
	f.StringVar(&flags.output, "output", "", "put it into this `FILE`, 0600, instead of printing it")
	return cmd
}

// check refuses flags that would count for nothing, and reads the proxy.
func (f *exportFlags) check(given func(flag string) bool) (err error) {
	for _, format := range []string{formatPAC, formatRelay} {
		for _, flag := range flagsOf(format) {
			if f.format != format && given(flag) {
				return fmt.Errorf("--%s: belongs to --format %s", flag, format)
			}
		}
	}
	if !given("proxy") {
		return nil
	}
	if given("http") || given("socks") {
		return errors.New("--proxy: is the only proxy then; leave out --http and --socks")
	}
	if f.proxies, err = export.ParseProxy(f.proxy); err != nil {
		return fmt.Errorf("--proxy: %w", err)
	}
	return nil
}

func (f *exportFlags) run(stdout, stderr io.Writer) error {
	c, err := loadGateway(f.config, stderr)
	if err != nil {
		return err
	}
	settings, err := settingsOf(c, f.name)
	if err != nil {
		return usage(err)
	}
	if f.format == formatRelay {
		f.relay.HTTP3 = c.Gateway.QUIC
		if f.relay.Ticket, err = f.ticket(); err != nil {
			return usage(err)
		}
	}
	out, notes, err := f.write(settings)
	if err != nil {
		return usage(err)
	}
	if f.format == formatRelay {
		notes = append(notes, f.relayNotes(c.Gateway)...)
	}
	if f.format == formatPAC {
		fmt.Fprint(stderr, pacWarnings(c, f.proxies))
	}
	for _, note := range notes {
		fmt.Fprintf(stderr, "note: %s\n", note)
	}
	if f.output != "" {
		return writePrivate(f.output, out)
	}
	_, err = stdout.Write(out)
	return err
}

// relayNotes say what of the file would have the gateway refuse the profile's devices.
func (f *exportFlags) relayNotes(g *config.Gateway) (notes []string) {
	if !g.HTTPSProxy {
		notes = append(notes, "gateway.https_proxy is off in this file: such a gateway answers no relay's devices")
	}
	header := http.CanonicalHeaderKey(f.relay.Header)
	if header != "Proxy-Authorization" && header != g.CredentialHeader {
		notes = append(notes, fmt.Sprintf("gateway.credential_header of this file is not %s: such a gateway finds no ticket there", header))
	}
	return notes
}

// pacWarnings say why the gateway of the file would answer no browser that is sent
// to it.
func pacWarnings(c *config.Config, p export.Proxies) (found config.Diagnostics) {
	if host, _, _ := net.SplitHostPort(p.HTTPS); host == c.Gateway.FQDN && host != "" && !c.Gateway.HTTPSProxy {
		d := c.At("gateway.https_proxy", config.Warning, "is off, and the PAC file sends browsers to this gateway, which would not answer them")
		d.Fix = "set it to true, or name another proxy with --proxy"
		found = append(found, d)
	}
	told := toldGateway(c)
	if host, port, _ := net.SplitHostPort(p.HTTPS); host == c.Gateway.FQDN && host != "" && told != "" && p.HTTPS != told {
		d := c.At("gateway.fqdn", config.Warning, "the PAC file sends browsers to port "+port+" of this gateway, which listens on another")
		d.Fix = fmt.Sprintf("name it with --proxy 'HTTPS %s', or set gateway.public_port if something leads from there to here", told)
		found = append(found, d)
	}
	if told != "" && (p.HTTP == told || p.SOCKS == told) {
		d := c.At("gateway.fqdn", config.Warning, "the PAC file sends browsers there without TLS, which this gateway does not take")
		d.Fix = fmt.Sprintf("name it with --proxy 'HTTPS %s'", told)
		found = append(found, d)
	}
	return found
}

// ticket reads the ticket for a profile; "" if there is no file.
func (f *exportFlags) ticket() (export.Ticket, error) {
	if f.ticketFile == "" {
		return "", nil
	}
	line, err := readTicket(f.ticketFile)
	if err != nil {
		return "", fmt.Errorf("--ticket-file: %w", err)
	}
	// connect takes a ticket behind its authority's ID too; a bearer cannot.
	if p, err := ticket.ParsePresentation(line); err != nil || p.Form != ticket.FormHandle {
		return "", fmt.Errorf("--ticket-file: %s needs the ticket alone, %d letters and digits", f.ticketFile, ticket.HandleLength)
	}
	return export.Ticket(line), nil
}

// writePrivate makes a file that nobody else can read. It takes the place of an
// older one only when it is whole.
func writePrivate(path string, content []byte) error {
	into, err := os.CreateTemp(filepath.Dir(path), ".export-*") // 0600
	if err != nil {
		return fmt.Errorf("--output: cannot write %s: %w", path, errors.Unwrap(err))
	}
	_, err = into.Write(content)
	if err = errors.Join(err, into.Close()); err == nil {
		err = os.Rename(into.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("--output: cannot write %s: %w", path, errors.Join(err, os.Remove(into.Name())))
	}
	return nil
}

// write gives the export, and what it cannot say.
func (f *exportFlags) write(settings export.Settings) (out []byte, notes []string, err error) {
	switch f.format {
	case formatRelay:
		return export.AppleRelay(settings, f.relay)
	case "json":
		out, err = export.JSON(settings)
	case "mdx":
		out, err = export.MDX(settings)
	case "vpn":
		out, err = export.VPNConfig(settings)
	case formatPAC:
		for _, proxy := range []struct{ flag, at string }{{"http", f.proxies.HTTP}, {"socks", f.proxies.SOCKS}} {
			if _, _, err := net.SplitHostPort(proxy.at); proxy.at != "" && err != nil {
				return nil, nil, fmt.Errorf("--%s: needs HOST:PORT, such as 127.0.0.1:8118", proxy.flag)
			}
		}
		out, err = export.PAC(settings, f.proxies)
	default:
		err = fmt.Errorf("--format: needs json, mdx, vpn, pac or %s, not %q", formatRelay, f.format)
	}
	return out, nil, err
}

// settingsOf puts together what devices are told of a policy.
func settingsOf(c *config.Config, name string) (export.Settings, error) {
	for _, p := range policiesOf(c) {
		if p.Name != name {
			continue
		}
		facts, bad := factsOf(c)
		if bad != nil {
			return export.Settings{}, bad.Err()
		}
		s := export.Settings{
			Name: p.Name, Match: p.Match, Spec: p.Spec, Gateway: toldGateway(c),
			Suffixes: suffixes(c), DNS: net.JoinHostPort(gateway.DeviceDNS, "53"), Version: version,
		}
		if c.STA != nil {
			s.TicketHours = max(1, int(c.STA.TicketLifetime/time.Hour))
		}
		if region, ok := facts.Region(p.Spec.PushRegion); ok {
			s.Pushreg = []string{net.JoinHostPort(region.PushReg.Host, strconv.Itoa(int(region.PushReg.Port)))}
		}
		return s, nil
	}
	var names []string
	for _, p := range policiesOf(c) {
		names = append(names, p.Name)
	}
	return export.Settings{}, fmt.Errorf("--policy: the file has no policy %q; it has %s", name, strings.Join(names, ", "))
}
