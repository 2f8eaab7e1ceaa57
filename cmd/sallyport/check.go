package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
)

func newCheck() *cobra.Command {
	var file string
	var asJSON, online bool
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Find every mistake in a configuration file",
		Long: `Find every mistake in a configuration file, and say line and column: what cannot
be run, and what runs and is not what devices need (sallyport policy lint).

Nothing is written, and nothing is looked up without --online, which asks the DNS
servers of the file for the listed names, and the public ones too, for comparison:
these then learn the names. Known settings
whose part is not built yet are named: as warnings, or as mistakes where to
ignore them would change what is allowed, trusted or stored. Exit code 1 if there
are mistakes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, diagnostics := config.Examine(file)
			if c != nil {
				if !diagnostics.HasErrors() {
					diagnostics = append(diagnostics, checkCertificates(c)...)
				}
				diagnostics = append(diagnostics, lintPolicies(c)...)
			}
			if online && !diagnostics.HasErrors() {
				diagnostics = append(diagnostics, lintNames(cmd.Context(), c)...)
			}
			return verdict(cmd.OutOrStdout(), file, diagnostics, asJSON)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&online, "online", false, "look the listed names up as the gateway does, and by public DNS, if there is no mistake yet")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verdict prints what there is to say of a file, and is its exit code.
func verdict(out io.Writer, file string, found config.Diagnostics, asJSON bool) error {
	found = found.Sorted()
	if asJSON {
		answer := struct {
			OK          bool               `json:"ok"`
			Diagnostics config.Diagnostics `json:"diagnostics"`
		}{!found.HasErrors(), found}
		if answer.Diagnostics == nil {
			answer.Diagnostics = config.Diagnostics{}
		}
		if err := json.NewEncoder(out).Encode(answer); err != nil {
			return err
		}
	} else {
		fmt.Fprint(out, found)
	}
	if found.HasErrors() {
		return no(errSaid)
	}
	if !asJSON {
		fmt.Fprintf(out, "%s: good\n", file)
	}
	return nil
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
