package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/lint"
)

func newPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Judge, explain, compare and export what devices may reach",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyLint(), newPolicyExplain(), newPolicyDiff(), newPolicyExport(), newPolicyPreset(), newPolicyFacts())
	return cmd
}

// loadGateway reads a file that must have a gateway.
func loadGateway(file string, cmd *cobra.Command) (*config.Config, error) {
	c, err := loadConfig(file, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	if c.Gateway == nil {
		return nil, usage(fmt.Errorf("%s has no gateway section", file))
	}
	return c, nil
}

func newPolicyLint() *cobra.Command {
	var file string
	var asJSON, online bool
	cmd := &cobra.Command{
		Use:   "lint --config FILE [--online]",
		Short: "Find what the policies allow or forbid that devices will stumble over",
		Long: `Find what the policies allow or forbid that devices will stumble over, each with
the place in the file, the fix and the name of the rule. sallyport check does this
too, beside all else that it checks.

Exit code 1 if there are errors; 2 if the file cannot be run at all.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadGateway(file, cmd)
			if err != nil {
				return err
			}
			found := lintPolicies(c)
			if online {
				found = append(found, lintNames(cmd.Context(), c)...)
			}
			return verdict(cmd.OutOrStdout(), file, found, asJSON)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&online, "online", false, "look the listed names up, inside and outside")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newPolicyDiff() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say which devices gain or lose what between two configuration files",
		Long: `Say which devices, by app, platform and group, gain or lose which service between
two configuration files. Exit code 0, whether something changes or not.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var sets [2]*policy.Set
			var named [2][]policy.Named
			for i, file := range args {
				c, err := loadGateway(file, cmd)
				if err != nil {
					return err
				}
				if sets[i], err = c.PolicySet(); err != nil {
					return usage(fmt.Errorf("%s: %w", file, err))
				}
				for _, p := range policiesOf(c) {
					named[i] = append(named[i], p.Named)
				}
			}
			changes := lint.Diff(sets[0], sets[1], named[0], named[1])
			if asJSON {
				if changes == nil {
					changes = []lint.Change{}
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(changes)
			}
			if len(changes) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "no device gains or loses anything")
			}
			for _, change := range changes {
				fmt.Fprintln(cmd.OutOrStdout(), change)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newPolicyPreset() *cobra.Command {
	var preset lint.Preset
	var exchange, ews, adfs, ldap, region, facts string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "preset --mailboxes WHERE [--platform PLATFORM] [--exchange HOST] [flags]",
		Short: "Print the list that the manuals want, and why each entry is on it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			preset.Exchange, preset.ADFS, preset.LDAP = words(exchange), words(adfs), words(ldap)
			preset.EWS, preset.Region = ews, region
			known := lint.DefaultFacts()
			if facts != "" {
				data, err := os.ReadFile(facts)
				if err != nil {
					return usage(err)
				}
				if known, err = lint.ParseFacts(data); err != nil {
					return usage(fmt.Errorf("%s: %w", facts, err))
				}
			}
			expansion, err := lint.Expand(preset, known)
			if err != nil {
				return usage(err)
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(expansion)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), expansion)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&preset.Mailboxes, "mailboxes", "", "`WHERE` they are: on_premises, hybrid or exchange_online (required)")
	f.StringVar(&preset.Platform, "platform", "", "`PLATFORM` of the devices: ios or android (default both)")
	f.StringVar(&exchange, "exchange", "", "the mail server's `HOST`, or several with commas")
	f.StringVar(&ews, "ews", "", "the `HOST` of Exchange Web Services, if it is another one")
	f.StringVar(&adfs, "adfs", "", "the `HOST` of AD FS or another identity provider inside, or several")
	f.StringVar(&region, "region", "", "the push `REGION`: americas, emea or apac")
	f.StringVar(&preset.SplitTunnel, "split-tunnel", "", "`MODE`: on or off (default off)")
	f.BoolVar(&preset.TravelerPlain, "traveler-plain", false, "the mail server is IBM Notes Traveler without TLS, on port 80")
	f.StringVar(&ldap, "ldap", "", "the `HOST` of an internal directory for S/MIME certificates, or several")
	f.BoolVar(&preset.LDAPS, "ldaps", false, "the directory speaks TLS")
	f.StringVar(&facts, "facts", "", "a `FILE` of facts in place of the built-in ones")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	if err := cmd.MarkFlagRequired("mailboxes"); err != nil {
		panic(err) // only for a flag that is not there
	}
	return cmd
}

// words splits a flag's list.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func newPolicyFacts() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "facts [--config FILE]",
		Short: "Print the facts that check goes by: push registration hosts, dates, ports",
		Long: `Print the facts that check goes by: push registration hosts, dates, ports. To change
one, put what is printed into a file, edit it, and name it as gateway.facts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			facts := lint.DefaultFacts()
			if file != "" {
				c, err := loadGateway(file, cmd)
				if err != nil {
					return err
				}
				var bad config.Diagnostics
				if facts, bad = factsOf(c); bad != nil {
					fmt.Fprint(cmd.ErrOrStderr(), bad)
					return usage(errSaid)
				}
			}
			_, err := cmd.OutOrStdout().Write(facts.JSON())
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "print those that this configuration `FILE` names")
	return cmd
}

var errNoPolicy = errors.New("the file has no policy of that name")
