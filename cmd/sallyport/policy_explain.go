package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
)

// explainFlags are what explain is told.
type explainFlags struct {
	config, to, services, user, device string
	holder                             policy.Holder
	inside                             bool
	asJSON                             bool
}

func newPolicyExplain() *cobra.Command {
	var flags explainFlags
	cmd := &cobra.Command{
		Use:   "explain --config FILE --to HOST:PORT [--app APP] [--platform PLATFORM] [--group GROUP]... [flags]",
		Short: "Say whether a device may go somewhere, and why",
		Long: `Say whether a device may go somewhere, and why: the policy, the rule, who answered
for the name, its addresses and what the address rules say of each. It decides as
the gateway of the file does, and looks names up as it does, but dials nothing and
asks for no ticket. A running gateway logs the same with every refusal.

With --inside it is a server at the inside door that asks, from one of the door's
sources: gateway.inside.services decides, and no policy.

Exit code 0 if it may, 1 if it may not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(cmd.Flags().Changed); err != nil {
				return usage(err)
			}
			return flags.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	configFlag(cmd, &flags.config)
	f := cmd.Flags()
	f.StringVar(&flags.to, "to", "", "where to: `HOST:PORT` (required)")
	f.StringVar(&flags.user, "user", "", "whose device it is; for the record, no policy goes by it")
	f.StringVar(&flags.device, "device", "", "which device it is; for the record, no policy goes by it")
	f.StringVar(&flags.holder.App, "app", "Secure Mail", "the app that the ticket is for")
	f.StringVar(&flags.holder.Platform, "platform", "", "the device's platform, such as ios or android")
	f.StringArrayVar(&flags.holder.Groups, "group", nil, "a group of the user; may be repeated")
	f.StringVar(&flags.holder.Policy, "policy", "", "the policy that the ticket names, if it does")
	f.StringVar(&flags.services, "services", "", "what the ticket narrows the policy to, host:port,host:port")
	f.BoolVar(&flags.inside, "inside", false, "decide as the inside door does, which asks servers for no ticket")
	f.BoolVar(&flags.asJSON, "json", false, "print JSON")
	if err := cmd.MarkFlagRequired("to"); err != nil {
		panic(err) // only for a flag that is not there
	}
	return cmd
}

func (f *explainFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	c, err := loadGateway(f.config, stderr)
	if err != nil {
		return err
	}
	host, ask, err := f.ask()
	if err != nil {
		return usage(err)
	}
	rehearsal, err := node.NewRehearsal(c)
	if err != nil {
		return usage(err)
	}
	defer rehearsal.Close()
	judgement, err := rehearsal.Judge(ctx, ask, host)
	if errors.Is(err, node.ErrNoInside) {
		return usage(fmt.Errorf("--inside: %w", err))
	}
	if err != nil {
		return err
	}
	answer := explanation{f.user, f.device, judgement, "", f.inside}
	if judgement.Policy != "" && !f.inside {
		answer.Chosen = chosenBy(c.NamedPolicies(), f.holder, judgement.Policy)
	}
	if f.asJSON {
		err = json.NewEncoder(stdout).Encode(answer)
	} else {
		err = answer.print(stdout)
	}
	if err == nil && !judgement.Allow {
		err = no(errSaid)
	}
	return err
}

// check refuses what only tickets have, for a door that asks for none.
func (f *explainFlags) check(given func(flag string) bool) error {
	for _, flag := range []string{"user", "device", "app", "platform", "group", "policy", "services"} {
		if f.inside && given(flag) {
			return fmt.Errorf("--%s: is what a ticket says, and the inside door asks for none; leave it out, or --inside", flag)
		}
	}
	return nil
}

// ask is what the flags ask of the gateway, the host as a client may write it.
func (f *explainFlags) ask() (host string, ask gateway.Ask, err error) {
	ask.Inside, ask.Holder = f.inside, f.holder
	if f.services != "" {
		ask.Services = strings.Split(f.services, ",")
	}
	if _, err := policy.CompileNarrowing(ask.Services); err != nil {
		return "", ask, fmt.Errorf("--services: %w", err)
	}
	host, port, err := net.SplitHostPort(f.to)
	if err != nil {
		return "", ask, errors.New("--to: needs HOST:PORT, such as mail.example.com:443")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", ask, errors.New("--to: needs a port from 1 to 65535")
	}
	ask.Port = uint16(n)
	return host, ask, nil
}

// explanation is a judgement, and what the gateway has no part in.
type explanation struct {
	User   string `json:"user,omitempty"`
	Device string `json:"device,omitempty"`
	*gateway.Judgement
	// Chosen says why it is this policy, where there are several.
	Chosen string `json:"chosen,omitempty"`
	// Inside says that the inside door decided.
	Inside bool `json:"inside,omitempty"`
}

// chosenBy says by what a policy was chosen among several.
func chosenBy(named []policy.Named, holder policy.Holder, chosen string) string {
	if len(named) == 0 {
		return ""
	}
	if holder.Policy != "" {
		return "by the ticket's word"
	}
	if chosen != policy.DefaultName {
		return "match of " + chosen
	}
	var others []string
	for _, n := range named {
		if len(n.Match.Apps)+len(n.Match.Platforms)+len(n.Match.Groups) > 0 {
			others = append(others, n.Name)
		}
	}
	const most = 5
	switch n := len(others); {
	case n == 0:
		return "no other one has a match"
	case n == 1:
		return others[0] + " does not match"
	case n > most:
		others = append(others[:most], strconv.Itoa(n-most)+" more")
	}
	return "none of " + strings.Join(others, ", ") + " matches"
}

// print is for people: the answer first, then what it rests on.
func (e explanation) print(w io.Writer) error {
	j := e.Judgement
	answer := "deny"
	if j.Allow {
		answer = "allow"
	}
	fmt.Fprintf(w, "%s: %s\n", answer, j.Why)
	if j.Fix != "" {
		fmt.Fprintf(w, "fix: %s\n", j.Fix)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, value)
		}
	}
	if e.Inside {
		row("door", "inside")
	}
	row("user", e.User)
	row("device", e.Device)
	if j.To.Host != "" {
		row("to", j.To.String())
	}
	row("reason", j.Reason)
	row("policy", j.Policy)
	row("chosen", e.Chosen)
	row("rule", j.Rule)
	row("snapshot", j.Snapshot)
	row("matched", j.Matched)
	row("resolver", strings.TrimSpace(string(j.Source)+" "+j.Server))
	row("by way of", strings.Join(j.Chain, " "))
	for _, a := range j.Addresses {
		verdict := "may be dialled"
		if a.Refused != "" {
			verdict = a.Refused
		}
		row("address", fmt.Sprintf("%s (%s): %s", a.Addr, a.Class, verdict))
	}
	return t.Flush()
}
