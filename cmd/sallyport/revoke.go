package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func newTicketRevoke() *cobra.Command {
	var (
		flags   authorityFlags
		request sta.RevokeRequest
		before  string
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "revoke --config FILE ID | --user U [--device D] | --device D | --family F | --all",
		Short: "Revoke tickets and cut their live tunnels",
		Long: `Revoke tickets, and cut their live tunnels at every gateway.

By ID or --family, a ticket ends with its renewals. By --user or --device, all
tickets so far end, and the same user and device can be given new ones at once.
--all ends every ticket of the authority; with --stage nothing ends for good:
everyone is cut at once, and let in again with the same ticket, each at a time of
its own within the stage, so that they do not all come back together.

A --device that several users have (some devices call themselves by nothing but
their model) is refused with the list of users, unless --all-matching is given;
that also revokes a name which no ticket in the store has. Whether there is such
a family nobody looks.

There is no question first and no way back. The answer counts the tunnels that
were cut, and names each gateway that did not answer in time. If nothing matches,
the exit code is 1, and the answer names what may have been meant.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("one ticket at a time, not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			// An empty variable of a script must not widen what is revoked.
			for _, name := range []string{"user", "device", "family", "before"} {
				if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
					return usage(fmt.Errorf("--%s is empty", name))
				}
			}
			if cmd.Flags().Changed("stage") && (request.Stage < time.Second || request.Stage%time.Second != 0) {
				return usage(errors.New("--stage is whole seconds, at least 1s"))
			}
			if len(args) == 1 {
				if request.Ticket = args[0]; request.Ticket == "" {
					return usage(errors.New("the ticket's ID is empty"))
				}
			}
			if before != "" {
				at, err := time.Parse(time.RFC3339, before)
				if err != nil {
					return usage(fmt.Errorf("--before %s is no moment such as 2026-03-01T09:00:00Z", strconv.Quote(before)))
				}
				request.Before = at
			}
			if request.Ticket == "" && request.Family == "" && request.User == "" && request.Device == "" && !request.All {
				return usage(errors.New("name what to revoke: a ticket's ID, --user, --device, --family or --all"))
			}
			client, err := flags.client("revoke", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer client.Close()
			result, err := client.Revoke(cmd.Context(), request)
			if err != nil {
				return answered(matched(&request, err))
			}
			for _, warning := range result.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "sallyport: warning:", warning)
			}
			return printRevoked(cmd.OutOrStdout(), asJSON, &result)
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&request.User, "user", "", "every ticket of this user")
	f.StringVar(&request.Device, "device", "", "every ticket of this device")
	f.StringVar(&request.Family, "family", "", "a ticket and its renewals, by what ticket show calls the family")
	f.BoolVar(&request.All, "all", false, "every ticket of the authority")
	f.StringVar(&before, "before", "", "only what was issued before this `MOMENT`, RFC 3339")
	f.DurationVar(&request.Stage, "stage", 0, "with --all: cut everyone, and let them in again over so long, such as 15m")
	f.BoolVar(&request.AllMatching, "all-matching", false, "revoke whatever matches, without a look at what that is")
	f.StringVar(&request.Operator, "operator", operator(), "who you are, for the audit log")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// operator is the name of whoever runs the command, as far as the system knows.
func operator() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// matched says what to do when nothing, or too much, matched.
func matched(r *sta.RevokeRequest, err error) error {
	var match *sta.MatchError
	if errors.As(err, &match) && len(match.Names) > 0 {
		quoted := make([]string, len(match.Names))
		for i, name := range match.Names {
			quoted[i] = strconv.Quote(name)
		}
		if ticket.ReasonOf(err) == ticket.NotFound {
			return fmt.Errorf("%w; did you mean %s?", err, strings.Join(quoted, " or "))
		}
		return fmt.Errorf("%w: %s", err, strings.Join(quoted, ", "))
	}
	if r.Ticket != "" {
		return byID(err)
	}
	return err
}

// printRevoked prints like "5 cut, 1 gateway, 0.004 s".
func printRevoked(w io.Writer, asJSON bool, r *sta.RevokeResult) error {
	if asJSON {
		return printRevokedJSON(w, r)
	}
	if r.Already {
		fmt.Fprintln(w, "had been revoked before")
	}
	if r.Matched > 1 {
		fmt.Fprintf(w, "%d tickets revoked\n", r.Matched)
	}
	noun := "gateways"
	if len(r.Gateways) == 1 {
		noun = "gateway"
	}
	if _, err := fmt.Fprintf(w, "%d cut, %d %s, %.3f s\n", r.Cut(), len(r.Gateways), noun, r.Took.Seconds()); err != nil {
		return err
	}
	for _, g := range r.Gateways {
		if !g.Answered {
			fmt.Fprintf(w, "no answer from %s: it ends these tunnels when it hears of the revocation\n", g.Name)
		}
	}
	return nil
}

func printRevokedJSON(w io.Writer, r *sta.RevokeResult) error {
	type gateway struct {
		Name     string  `json:"name"`
		Answered bool    `json:"answered"`
		Cut      int     `json:"cut"`
		Seconds  float64 `json:"seconds"`
	}
	answer := struct {
		Scope      string    `json:"scope"`
		ID         string    `json:"id,omitempty"`
		Family     string    `json:"family,omitempty"`
		Matched    int       `json:"matched"`
		Already    bool      `json:"already"`
		Cut        int       `json:"cut"`
		Seconds    float64   `json:"seconds"`
		Copies     int       `json:"copies"`
		SingleCopy bool      `json:"single_copy"`
		Gateways   []gateway `json:"gateways"`
		Warnings   []string  `json:"warnings,omitempty"`
	}{
		Scope: r.Scope, ID: r.ID, Family: r.Family, Matched: r.Matched, Already: r.Already,
		Cut: r.Cut(), Seconds: r.Took.Seconds(), Copies: r.Copies, SingleCopy: r.SingleCopy,
		Gateways: []gateway{}, Warnings: r.Warnings,
	}
	for _, g := range r.Gateways {
		answer.Gateways = append(answer.Gateways, gateway{g.Name, g.Answered, g.Cut, g.Took.Seconds()})
	}
	return json.NewEncoder(w).Encode(answer)
}
