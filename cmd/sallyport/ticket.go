package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func newTicket() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ticket",
		Short: "Issue, show, list and revoke tickets at a running authority",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTicketIssue(), newTicketShow(), newTicketList(), newTicketRevoke())
	return cmd
}

func newTicketIssue() *cobra.Command {
	var (
		flags    authorityFlags
		request  sta.IssueRequest
		services string
		file     string
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "issue --config FILE --user U --device D [--app A]",
		Short: "Request a ticket, as an enrolment server does",
		Long: `Request a ticket, as an enrolment server does.

The ticket is shown here once and kept nowhere else, or put into --ticket-file,
which sallyport connect reads. Operators name it by its id.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := flags.client("issue", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer client.Close()
			if cmd.Flags().Changed("services") {
				request.Services = strings.Split(services, ",")
			}
			var into *ticketFile
			if file != "" {
				if into, err = newTicketFile(file); err != nil {
					return err
				}
				defer into.discard()
			}
			issued, err := client.Issue(cmd.Context(), request)
			if err != nil {
				return answered(err)
			}
			if into != nil {
				if err := into.write(issued.Handle.Reveal()); err != nil {
					return fmt.Errorf("ticket %s was issued and could not be written to %s, so revoke it: %w", issued.ID, file, err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "id       %s\nticket   in %s\nexpires  %s\n",
					issued.ID, file, issued.Expires.UTC().Format(time.RFC3339))
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
					ID      string    `json:"id"`
					Ticket  string    `json:"ticket"`
					Token   string    `json:"token"`
					Expires time.Time `json:"expires"`
				}{issued.ID, issued.Handle.Reveal(), issued.Token(), issued.Expires.UTC()})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "id       %s\nticket   %s\nexpires  %s\n",
				issued.ID, issued.Handle.Reveal(), issued.Expires.UTC().Format(time.RFC3339))
			fmt.Fprintln(cmd.ErrOrStderr(), "hand the ticket to the device; sallyport connect reads one that --ticket-file wrote")
			return err
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&request.User, "user", "", "whose ticket it is (required)")
	f.StringVar(&request.Device, "device", "", "the device it is for (required)")
	f.StringVar(&request.App, "app", "Secure Mail", "the app it is for")
	f.StringVar(&request.Platform, "platform", "", "the device's platform, such as ios or android")
	f.StringArrayVar(&request.Groups, "group", nil, "a group of the user; may be repeated")
	f.StringVar(&request.Policy, "policy", "", "the policy to apply, by its name at the gateway (default: the first there that matches)")
	f.StringVar(&services, "services", "", "narrow the policy to these host:port,host:port")
	f.DurationVar(&request.Lifetime, "lifetime", 0, "how long it lives, such as 24h (default: the authority's)")
	f.StringVar(&file, "ticket-file", "", "put the ticket into this `FILE`, 0600, instead of showing it")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("ticket-file", "json")
	for _, name := range []string{"user", "device"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // only for a flag that is not there
		}
	}
	return cmd
}

// ticketFile is a file that a ticket will be put into: nobody else can read it,
// and it takes the place of an older one only when it is whole.
type ticketFile struct {
	temporary *os.File
	path      string
}

// newTicketFile makes sure, before a ticket is asked for, that there is a place
// for it.
func newTicketFile(path string) (*ticketFile, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".ticket-*") // 0600
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", path, errors.Unwrap(err))
	}
	return &ticketFile{f, path}, nil
}

func (t *ticketFile) write(handle string) error {
	_, err := fmt.Fprintln(t.temporary, handle)
	if err = errors.Join(err, t.temporary.Close()); err != nil {
		return err
	}
	return os.Rename(t.temporary.Name(), t.path)
}

// discard removes what was not written.
func (t *ticketFile) discard() {
	_ = t.temporary.Close()
	_ = os.Remove(t.temporary.Name())
}

func newTicketShow() *cobra.Command {
	var flags authorityFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show --config FILE ID",
		Short: "Show one ticket, by its id",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := flags.client("list", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer client.Close()
			found, err := client.Show(cmd.Context(), args[0])
			if err != nil {
				return answered(byID(err))
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(found)
			}
			return printTicket(cmd.OutOrStdout(), &found)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newTicketList() *cobra.Command {
	var (
		flags  authorityFlags
		filter sta.Filter
		status string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list --config FILE [--user U] [--device D] [--app A] [--status S]",
		Short: "List tickets, newest first; exit code 1 if there are none",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := flags.client("list", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer client.Close()
			filter.Status = sta.Status(status)
			page, err := client.List(cmd.Context(), filter)
			if err != nil {
				return answered(err)
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
					Tickets []sta.Ticket `json:"tickets"`
					Next    string       `json:"next,omitempty"`
				}{append([]sta.Ticket{}, page.Tickets...), page.Next})
			} else {
				err = printTickets(cmd.OutOrStdout(), page)
			}
			if err == nil && len(page.Tickets) == 0 && page.Next == "" {
				return no(errSaid)
			}
			return err
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&filter.User, "user", "", "only this user's")
	f.StringVar(&filter.Device, "device", "", "only this device's")
	f.StringVar(&filter.App, "app", "", "only this app's")
	f.StringVar(&status, "status", "", "only valid, expired or revoked ones")
	f.IntVar(&filter.Limit, "limit", 0, "at most so many, 1 to 1000 (default 100)")
	f.StringVar(&filter.After, "after", "", "go on behind the page that ended with this cursor")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// byID says what to do about an id that names no ticket.
func byID(err error) error {
	if ticket.ReasonOf(err) == ticket.NotFound {
		return fmt.Errorf("%w; sallyport ticket list shows the ids there are", err)
	}
	return err
}

func printTicket(w io.Writer, t *sta.Ticket) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, value)
		}
	}
	row("id", t.ID)
	row("status", string(t.Status))
	if r := t.Revoked; r != nil {
		text := r.Time.UTC().Format(time.RFC3339) + " by " + r.By
		if !r.Until.IsZero() {
			text += ", held back until " + r.Until.UTC().Format(time.RFC3339)
		}
		row("revoked", text)
	}
	row("user", t.User)
	row("device", t.Device)
	row("app", t.App)
	row("platform", t.Platform)
	row("groups", strings.Join(t.Groups, ", "))
	row("policy", t.Policy)
	row("services", strings.Join(t.Services, ","))
	row("issued", t.Issued.UTC().Format(time.RFC3339))
	row("expires", t.Expires.UTC().Format(time.RFC3339))
	row("client", t.Client)
	row("family", t.Family)
	return table.Flush()
}

func printTickets(w io.Writer, page sta.Page) error {
	if len(page.Tickets) == 0 && page.Next == "" {
		_, err := fmt.Fprintln(w, "no tickets")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATUS\tUSER\tDEVICE\tAPP\tEXPIRES")
	for _, t := range page.Tickets {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Status, t.User, t.Device, t.App,
			t.Expires.UTC().Format(time.RFC3339))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if page.Next != "" {
		fmt.Fprintf(w, "more: --after %s\n", page.Next)
	}
	return nil
}
