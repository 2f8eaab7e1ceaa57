package main

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/export"
)

// exportFlags are what export is told.
type exportFlags struct {
	config, format, name string
	proxies              export.Proxies
}

func newPolicyExport() *cobra.Command {
	var flags exportFlags
	cmd := &cobra.Command{
		Use:   "export --config FILE [--format FORMAT] [--policy NAME]",
		Short: "Print what a device or a console needs of a policy",
		Long: `Print what a device or a console needs of a policy:

  json  every setting, under its key of the configuration file
  mdx   the values to type into the mobile-management console, as XML
  vpn   a VPN configuration with SplitTunnel and SplitDNS, as XML
  pac   a proxy auto-configuration file that obeys the split tunnel; it names the
        local proxies of sallyport connect

Each of them holds the whole policy: sallyport policy diff reads all four.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	configFlag(cmd, &flags.config)
	f := cmd.Flags()
	f.StringVar(&flags.format, "format", "json", "`FORMAT`: json, mdx, vpn or pac")
	f.StringVar(&flags.name, "policy", policy.DefaultName, "the `NAME` of the policy")
	f.StringVar(&flags.proxies.HTTP, "http", "127.0.0.1:8118", "for pac: the HTTP proxy, `HOST:PORT`")
	f.StringVar(&flags.proxies.SOCKS, "socks", "", "for pac: a SOCKS5 proxy beside it, `HOST:PORT`")
	return cmd
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
	out, err := f.write(settings)
	if err != nil {
		return usage(err)
	}
	_, err = stdout.Write(out)
	return err
}

func (f *exportFlags) write(settings export.Settings) ([]byte, error) {
	switch f.format {
	case "json":
		return export.JSON(settings)
	case "mdx":
		return export.MDX(settings)
	case "vpn":
		return export.VPNConfig(settings)
	case "pac":
		for _, proxy := range []struct{ flag, at string }{{"http", f.proxies.HTTP}, {"socks", f.proxies.SOCKS}} {
			if _, _, err := net.SplitHostPort(proxy.at); proxy.at != "" && err != nil {
				return nil, fmt.Errorf("--%s: needs HOST:PORT, such as 127.0.0.1:8118", proxy.flag)
			}
		}
		return export.PAC(settings, f.proxies)
	}
	return nil, fmt.Errorf("--format: needs json, mdx, vpn or pac, not %q", f.format)
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
