package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway/policy/lint"
)

func newPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Judge, explain, compare and export what devices may reach",
		Long: `Judge, explain, compare and export what devices may reach.

These commands run nothing, so the files that they read need not lie where they
belong: secrets and certificates that a file names may be missing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyLint(), newPolicyExplain(), newPolicyDiff(), newPolicyExport(), newPolicyPreset(), newPolicyFacts())
	return cmd
}

// loadGateway reads a file that must have a gateway, and is not run.
func loadGateway(file string, stderr io.Writer) (*config.Config, error) {
	c, err := loadConfig(file, stderr, config.WithoutSecrets)
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
			c, err := loadGateway(file, cmd.ErrOrStderr())
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
	cmd.Flags().BoolVar(&online, "online", false, "look the listed names up as the gateway does, and by public DNS, which learns them")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newPolicyFacts() *cobra.Command {
	var from factsFlags
	cmd := &cobra.Command{
		Use:   "facts [--config FILE | --facts FILE]",
		Short: "Print the facts that check goes by: push registration hosts, dates, ports",
		Long: `Print the facts that check goes by: push registration hosts, dates, ports. To change
one, put what is printed into a file, edit it, and name it as gateway.facts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			facts, err := from.read(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(facts.JSON())
			return err
		},
	}
	from.add(cmd)
	return cmd
}

// factsFlags say whose facts to go by.
type factsFlags struct{ config, facts string }

func (f *factsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "go by the facts that this configuration `FILE` names")
	cmd.Flags().StringVar(&f.facts, "facts", "", "go by this `FILE` of facts (default: the built-in ones)")
}

func (f *factsFlags) read(stderr io.Writer) (*lint.Facts, error) {
	switch {
	case f.config != "" && f.facts != "":
		return nil, usage(errors.New("--facts and --config: give one of them"))
	case f.facts != "":
		facts, err := readFacts(f.facts)
		if err != nil {
			return nil, usage(fmt.Errorf("--facts: %s: %w", f.facts, err))
		}
		return facts, nil
	case f.config == "":
		return lint.DefaultFacts(), nil
	}
	c, err := loadGateway(f.config, stderr)
	if err != nil {
		return nil, err
	}
	facts, bad := factsOf(c)
	if bad != nil {
		fmt.Fprint(stderr, bad)
		return nil, usage(errSaid)
	}
	return facts, nil
}
