package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what a gateway can hold, between hosts",
		Long: `Measure what a gateway can hold, between hosts.

One host is the sink: there, bench sink serves what the gateway is to reach. On
another, bench run makes the load, reports, and says what was the limit. Both need
the same key file and the same version of this program:

  sink$    sallyport bench sink --listen :7400 --key-file bench.key
  client$  sallyport bench run storm --sink sink.example.com:7400 --key-file bench.key \
             --to 'socks5+tls://gw.example.com:443?tickets=tickets.txt'

The gateway must let the tickets reach the sink's service, port 7401 by default.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchRun(), newBenchSink(), newBenchReport(), newBenchNIC())
	return cmd
}

// built is the version and the commit that this program was built from. Hosts of a
// run compare the version.
func built() (release, commit string) {
	release = version
	if info, ok := debug.ReadBuildInfo(); ok {
		if release == "" {
			release = info.Main.Version
		}
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				commit = setting.Value
			}
		}
	}
	return release, commit
}
