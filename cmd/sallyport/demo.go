package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/demo"
)

func newDemo() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "demo [--once]",
		Short: "Show everything at work, in one process on loopback",
		Long: `Show everything at work, in one process on loopback: authority, gateway, a
stand-in mail server, and a device. It needs no file, no privilege and no server.

It lives in a folder under the user's cache folder, 0700, with random keys, takes
the ports 8442 to 8445, or others if those are taken, and stays up until Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			command, err := os.Executable() // so that it works in any shell
			if err != nil {
				return err
			}
			err = demo.Run(ctx, demo.Options{Once: once, Out: cmd.OutOrStdout(), Command: command})
			if err != nil && ctx.Err() != nil {
				return errors.New("stopped before everything was shown")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end after the steps, with 0 if all of them held, and leave nothing")
	return cmd
}
