package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
)

func newCheck() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Find every mistake in a configuration file",
		Long: `Find every mistake in a configuration file, and say line and column.

Nothing is written and nothing is looked up. Known settings whose part is not
built yet are named: as warnings, or as mistakes where to ignore them would
change what is allowed, trusted or stored. Exit code 1 if there are mistakes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, diagnostics := config.Load(file)
			if c != nil {
				diagnostics = append(diagnostics, checkCertificates(c)...)
			}
			if asJSON {
				answer := struct {
					OK          bool               `json:"ok"`
					Diagnostics config.Diagnostics `json:"diagnostics"`
				}{!diagnostics.HasErrors(), diagnostics}
				if answer.Diagnostics == nil {
					answer.Diagnostics = config.Diagnostics{}
				}
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(answer); err != nil {
					return err
				}
			} else {
				fmt.Fprint(cmd.OutOrStdout(), diagnostics)
			}
			if diagnostics.HasErrors() {
				return no(errSaid)
			}
			if !asJSON {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", file)
			}
			return nil
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// checkCertificates looks into the certificates of mode files. Other commands
// do not: they must work while a certificate that expired waits for the next.
func checkCertificates(c *config.Config) config.Diagnostics {
	if c.Certs.Mode != "files" {
		return nil
	}
	source, err := certs.OpenFiles(node.CertificatePairs(c))
	if err != nil {
		return config.Diagnostics{c.At("certs.files", config.Error, err.Error())}
	}
	if c.Gateway != nil && !source.CoversName(c.Gateway.FQDN) {
		return config.Diagnostics{c.At("gateway.fqdn", config.Warning,
			"no certificate covers it: devices will refuse the gateway; it must stand in the certificate's subjectAltName")}
	}
	return nil
}
