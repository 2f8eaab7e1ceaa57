package main

import (
	"fmt"
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

func newPolicyExport() *cobra.Command {
	var file, format, name string
	var proxies export.Proxies
	cmd := &cobra.Command{
		Use:   "export --config FILE --format FORMAT [--policy NAME]",
		Short: "Print what a device or a console needs of a policy",
		Long: `Print what a device or a console needs of a policy:

  json  every setting, under its key of the configuration file
  mdx   the values to type into the mobile-management console, as XML
  vpn   a VPN configuration with SplitTunnel and SplitDNS, as XML
  pac   a proxy auto-configuration file that obeys the split tunnel; it names the
        local proxies of sallyport connect

Each of them parses back to the same policy.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadGateway(file, cmd)
			if err != nil {
				return err
			}
			settings, err := settingsOf(c, name)
			if err != nil {
				return usage(err)
			}
			var out []byte
			switch format {
			case "json":
				out, err = export.JSON(settings)
			case "mdx":
				out, err = export.MDX(settings)
			case "vpn":
				out, err = export.VPNConfig(settings)
			case "pac":
				out, err = export.PAC(settings, proxies)
			default:
				err = fmt.Errorf("--format: needs json, mdx, vpn or pac, not %q", format)
			}
			if err != nil {
				return usage(err)
			}
			_, err = cmd.OutOrStdout().Write(out)
			return err
		},
	}
	configFlag(cmd, &file)
	f := cmd.Flags()
	f.StringVar(&format, "format", "json", "`FORMAT`: json, mdx, vpn or pac")
	f.StringVar(&name, "policy", policy.DefaultName, "the `NAME` of the policy")
	f.StringVar(&proxies.HTTP, "http", "127.0.0.1:8118", "for pac: the HTTP proxy, `HOST:PORT`")
	f.StringVar(&proxies.SOCKS, "socks", "", "for pac: a SOCKS5 proxy beside it, `HOST:PORT`")
	return cmd
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
	return export.Settings{}, fmt.Errorf("%w; it has %s", errNoPolicy, strings.Join(names, ", "))
}
