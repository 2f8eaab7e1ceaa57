// Command sallyport is a Secure Ticket Authority and a micro-VPN gateway in one
// binary. Each subcommand has a file of its own; what they share stands in
// internal: config reads the file, node runs an authority and a gateway as it
// says, connect is the device's side, demo shows all of it on loopback.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// The exit codes, which scripts rely on.
const (
	exitGood    = 0
	exitNo      = 1 // the answer is no: lint, nothing matched
	exitUsage   = 2 // command line or configuration
	exitRuntime = 3 // everything else that fails
)

// exitError gives an error its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// no is for answers that are a plain no; usage, for what was asked wrongly.
func no(err error) error    { return &exitError{exitNo, err} }
func usage(err error) error { return &exitError{exitUsage, err} }

// errSaid ends a command whose output has said it all.
var errSaid = errors.New("")

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitGood
	}
	if !errors.Is(err, errSaid) {
		fmt.Fprintln(stderr, "sallyport:", err)
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitRuntime
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "A Secure Ticket Authority and micro-VPN gateway for managed mail",
		Long: `A Secure Ticket Authority and micro-VPN gateway for managed mail.

At enrolment a server requests a ticket and hands it to the device. The mail app
opens SOCKS5 over TLS with that ticket; the gateway checks it, lets the device
reach the listed services and nothing else, and relays the bytes.

Begin with:  sallyport demo`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(
		newDemo(), newServe(), newCheck(), newSTA(), newTicket(), newPolicy(), newConnect(), newBench(), newVersion(),
	)
	mistakesAreUsage(root)
	return root
}

// mistakesAreUsage gives flag and argument mistakes, of every subcommand, the
// exit code for usage and a hint. Every subcommand must have Args.
func mistakesAreUsage(cmd *cobra.Command) {
	hint := func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w\nsee: %s --help", err, c.CommandPath()))
	}
	cmd.SetFlagErrorFunc(hint)
	for _, c := range cmd.Commands() {
		mistakesAreUsage(c)
	}
	check := cmd.Args
	cmd.Args = func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err == nil {
			err = c.ValidateRequiredFlags() // which cobra does too late for a hint
		}
		if err != nil {
			return hint(c, err)
		}
		return nil
	}
}
