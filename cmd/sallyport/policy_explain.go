package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
)

func newPolicyExplain() *cobra.Command {
	var file, to, services, user, device string
	var holder policy.Holder
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain --config FILE --to HOST:PORT [--app APP] [--platform PLATFORM] [--group GROUP]",
		Short: "Say whether a device may go somewhere, and why",
		Long: `Say whether a device may go somewhere, and why: the policy, the rule, who answered
for the name, its addresses and what the address rules say of each. It decides as
the gateway of the file does, and looks names up as it does, but dials nothing and
asks for no ticket. A running gateway logs the same with every refusal.

Exit code 0 if it may, 1 if it may not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadGateway(file, cmd)
			if err != nil {
				return err
			}
			ask := gateway.Ask{Holder: holder}
			if services != "" {
				ask.Services = strings.Split(services, ",")
			}
			host, port, err := net.SplitHostPort(to)
			if err != nil {
				return usage(fmt.Errorf("--to: needs HOST:PORT: %w", err))
			}
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				return usage(fmt.Errorf("--to: needs a port from 1 to 65535"))
			}
			ask.Port = uint16(n)
			bench, err := node.NewBench(c)
			if err != nil {
				return usage(err)
			}
			defer bench.Close()
			judgement, err := judgeText(cmd.Context(), bench, host, ask)
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(judgement)
			} else {
				err = printJudgement(cmd.OutOrStdout(), user, device, judgement)
			}
			if err == nil && !judgement.Allow {
				err = no(errSaid)
			}
			return err
		},
	}
	configFlag(cmd, &file)
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "where to: `HOST:PORT` (required)")
	f.StringVar(&user, "user", "", "whose device it is; for the record, no policy goes by it")
	f.StringVar(&device, "device", "", "which device it is; for the record, no policy goes by it")
	f.StringVar(&holder.App, "app", "Secure Mail", "the app that the ticket is for")
	f.StringVar(&holder.Platform, "platform", "", "the device's platform, such as ios or android")
	f.StringArrayVar(&holder.Groups, "group", nil, "a group of the user; may be repeated")
	f.StringVar(&holder.Policy, "policy", "", "the policy that the ticket names, if it does")
	f.StringVar(&services, "services", "", "what the ticket narrows the policy to, host:port,host:port")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	if err := cmd.MarkFlagRequired("to"); err != nil {
		panic(err) // only for a flag that is not there
	}
	return cmd
}

// judgeText decides on a host as a client may write it: one that is none is
// refused, as the gateway does.
func judgeText(ctx context.Context, bench *node.Bench, text string, ask gateway.Ask) (*gateway.Judgement, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		addr = netip.Addr{}
	}
	ask.Host, err = policy.HostOf(text, addr)
	var refused *policy.HostError
	if errors.As(err, &refused) {
		return &gateway.Judgement{
			Reason: "host_" + string(refused.Reason), Why: "the destination is no host: " + refused.Error(),
			Fix: "name a host, or an address in its usual spelling",
		}, nil
	}
	return bench.Judge(ctx, ask)
}

// printJudgement is for people: the answer first, then what it rests on.
func printJudgement(w io.Writer, user, device string, j *gateway.Judgement) error {
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
	row("user", user)
	row("device", device)
	if j.To.Host != "" {
		row("to", j.To.String())
	}
	row("reason", j.Reason)
	row("policy", j.Policy)
	row("rule", j.Rule)
	row("snapshot", j.Snapshot)
	row("matched", j.Matched)
	row("resolver", strings.TrimSpace(j.Source+" "+j.Server))
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
