package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/gateway/policy/lint"
)

// presetFlags are what preset is told.
type presetFlags struct {
	preset               lint.Preset
	exchange, adfs, ldap string
	from                 factsFlags
	asJSON               bool
}

func newPolicyPreset() *cobra.Command {
	var flags presetFlags
	cmd := &cobra.Command{
		Use:   "preset --mailboxes WHERE [--platform PLATFORM] [--exchange HOST] [flags]",
		Short: "Print the list that the manuals want, and why each entry is on it",
		Long: `Print the list that the manuals want, and why each entry is on it.

What belongs on it depends on where the mailboxes are, and on the platform:

  on_premises      --exchange
  hybrid           --exchange, and for Android --adfs
  exchange_online  for iOS the names of Exchange Online, which come by themselves;
                   for Android --exchange and --adfs

The mail server's EWS host, if it is another one, the registration host of the push
region and internal directories come to it by flags of their own. All names are
given without ports.

What is printed is a piece of a configuration file, with the reasons as comments.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f, p := cmd.Flags(), &flags.preset
	f.StringVar(&p.Mailboxes, "mailboxes", "", "`WHERE` they are: on_premises, hybrid or exchange_online (required)")
	f.StringVar(&p.Platform, "platform", "", "`PLATFORM` of the devices: ios or android (default both)")
	f.StringVar(&flags.exchange, "exchange", "", "the mail server's `HOST`, or several with commas")
	f.StringVar(&p.EWS, "ews", "", "the `HOST` of Exchange Web Services, if it is another one")
	f.StringVar(&flags.adfs, "adfs", "", "the `HOST` of AD FS or another identity provider inside, or several")
	f.StringVar(&p.Region, "region", "", "the push `REGION`: americas, emea or apac")
	f.StringVar(&p.SplitTunnel, "split-tunnel", "", "`MODE`: on or off (default off)")
	f.BoolVar(&p.TravelerPlain, "traveler-plain", false, "the mail server is IBM Notes Traveler without TLS, on port 80")
	f.StringVar(&flags.ldap, "ldap", "", "the `HOST` of an internal directory for S/MIME certificates, or several")
	f.BoolVar(&p.LDAPS, "ldaps", false, "the directory speaks TLS")
	flags.from.add(cmd)
	f.BoolVar(&flags.asJSON, "json", false, "print JSON")
	if err := cmd.MarkFlagRequired("mailboxes"); err != nil {
		panic(err) // only for a flag that is not there
	}
	return cmd
}

func (f *presetFlags) run(stdout, stderr io.Writer) error {
	facts, err := f.from.read(stderr)
	if err != nil {
		return err
	}
	f.preset.Exchange, f.preset.ADFS, f.preset.LDAP = words(f.exchange), words(f.adfs), words(f.ldap)
	expansion, err := lint.Expand(f.preset, facts)
	if bad := (*lint.PresetError)(nil); errors.As(err, &bad) {
		return usage(fmt.Errorf("--%s: %w", strings.ReplaceAll(bad.Input, "_", "-"), bad.Err))
	}
	if err != nil {
		return usage(err)
	}
	if f.asJSON {
		return json.NewEncoder(stdout).Encode(expansion)
	}
	_, err = fmt.Fprint(stdout, expansion)
	return err
}

// words splits a flag's list.
func words(list string) []string {
	all := strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}
