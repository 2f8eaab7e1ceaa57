package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/export"
	"github.com/sallyport/sallyport/gateway/policy/lint"
)

func newPolicyDiff() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say which devices gain or lose what between two configuration files",
		Long: `Say which devices, by app, platform and group, gain or lose which service between
two configuration files; and which settings change that devices are told of, such
as split_tunnel. Names and addresses (splitdns) are not compared.

OLD or NEW may be what policy export wrote, in any form: it stands for the other
file with this policy in it.

Exit code 0, whether something changes or not.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return diff(cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], args[1], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func diff(stdout, stderr io.Writer, before, after string, asJSON bool) error {
	named, err := compared(stderr, before, after)
	if err != nil {
		return err
	}
	var sets [2]*policy.Set
	for i, file := range []string{before, after} {
		if sets[i], err = policy.CompileSet(named[i][0].Spec, named[i][1:]); err != nil {
			return usage(fmt.Errorf("%s: %w", file, err))
		}
	}
	changes, err := lint.Diff(sets[0], sets[1], named[0], named[1])
	if err != nil {
		return usage(err)
	}
	answer := struct {
		Changes  []lint.Change `json:"changes"`
		Settings []setting     `json:"settings"`
	}{changes, settingsChanged(named[0], named[1])}
	if asJSON {
		if answer.Changes == nil {
			answer.Changes = []lint.Change{}
		}
		if answer.Settings == nil {
			answer.Settings = []setting{}
		}
		return json.NewEncoder(stdout).Encode(answer)
	}
	if len(answer.Changes) == 0 {
		fmt.Fprintln(stdout, "no device gains or loses a service")
	}
	for _, change := range answer.Changes {
		fmt.Fprintln(stdout, change)
	}
	for _, change := range answer.Settings {
		fmt.Fprintln(stdout, change)
	}
	return nil
}

// compared gives the policies of both files, the default one first. An exported
// policy stands among those of the other file.
func compared(stderr io.Writer, files ...string) (named [2][]policy.Named, err error) {
	var alone [2]*policy.Named
	for i, file := range files {
		if alone[i], err = readExport(file); err != nil {
			return named, usage(fmt.Errorf("%s: %w", file, err))
		}
		if alone[i] != nil {
			continue
		}
		c, err := loadGateway(file, stderr)
		if err != nil {
			return named, err
		}
		for _, p := range policiesOf(c) {
			named[i] = append(named[i], p.Named)
		}
	}
	if alone[0] != nil && alone[1] != nil {
		if a, b := alone[0].Name, alone[1].Name; a != b {
			return named, usage(fmt.Errorf("%s is policy %s, and %s is policy %s", files[0], a, files[1], b))
		}
		named[1] = []policy.Named{{Name: policy.DefaultName}}
	}
	for i, one := range alone {
		if one != nil {
			named[i] = among(named[1-i], *one)
		}
	}
	return named, nil
}

// among puts a policy in the place of that of its name, or behind the others.
func among(others []policy.Named, one policy.Named) []policy.Named {
	all := slices.Clone(others)
	i := slices.IndexFunc(all, func(n policy.Named) bool { return n.Name == one.Name })
	if i < 0 {
		return append(all, one)
	}
	all[i] = one
	return all
}

// readExport reads what policy export wrote. It is nil for what begins like none of
// its forms: a configuration, or what cannot be read at all.
func readExport(file string) (*policy.Named, error) {
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return nil, nil // a pipe can be read only once
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, export.MaxBytes+1))
	if err != nil {
		return nil, nil
	}
	var s export.Settings
	switch {
	case bytes.HasPrefix(text, []byte("{")):
		s, err = export.ParseJSON(text)
	case bytes.HasPrefix(text, []byte("//")):
		s, _, err = export.ParsePAC(text)
	case bytes.HasPrefix(text, []byte("<")) && bytes.Contains(text, []byte("<VpnConfig ")):
		s, err = export.ParseVPNConfig(text)
	case bytes.HasPrefix(text, []byte("<")):
		s, err = export.ParseMDX(text)
	default:
		return nil, nil
	}
	return &policy.Named{Name: s.Name, Match: s.Match, Spec: s.Spec}, err
}

// setting is one that devices are told of, in a policy that both files have.
type setting struct {
	Policy string `json:"policy"`
	Key    string `json:"key"`
	Before string `json:"before"`
	After  string `json:"after"`
}

func (s setting) String() string {
	return fmt.Sprintf("policy %q tells devices %s: %s in place of %s", s.Policy, s.Key, cmp.Or(s.After, "nothing"), cmp.Or(s.Before, "nothing"))
}

// settingsChanged compares what decides on no tunnel and that devices go by.
func settingsChanged(before, after []policy.Named) []setting {
	told := func(s policy.Spec) [][2]string {
		return [][2]string{
			{"split_tunnel", s.SplitTunnel}, {"split_dns", s.SplitDNS}, {"push_region", s.PushRegion},
			{"ews_host", s.EWSHost}, {"services_gateway", s.Console.ServicesGateway},
		}
	}
	var all []setting
	for _, old := range before {
		i := slices.IndexFunc(after, func(n policy.Named) bool { return n.Name == old.Name })
		if i < 0 {
			continue
		}
		now := told(after[i].Spec)
		for j, was := range told(old.Spec) {
			if was != now[j] {
				all = append(all, setting{old.Name, was[0], was[1], now[j][1]})
			}
		}
	}
	return all
}
