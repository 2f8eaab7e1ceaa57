package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/bench"
)

type benchSinkFlags struct {
	listen, service, advertise string
	keyFile, cpus              string
	trigger                    bool
}

func newBenchSink() *cobra.Command {
	var flags benchSinkFlags
	cmd := &cobra.Command{
		Use:   "sink --listen :7400 --key-file FILE",
		Short: "Take part in runs that another host coordinates",
		Long: `Take part in runs that another host coordinates: as the sink, as a further
client, or to have a gateway's process watched. It serves one run at a time, until
it is told to stop.

Whoever holds the key can have this host send traffic to anybody. If the key file is
not there it is made, for its owner only; copy it to the other hosts.

The exchange service has no key: it answers anybody who reaches it, as a mail server
would, and sends what it is asked for. Neither port belongs on the internet.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return flags.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.listen, "listen", ":7400", "where coordinators come in, `ADDRESS:PORT`")
	f.StringVar(&flags.service, "service-listen", ":7401", "where the exchange service listens, `ADDRESS:PORT`; empty for none")
	f.StringVar(&flags.advertise, "advertise", "", "the `HOST` that gateways know the service by (default: the one that the coordinator uses)")
	f.StringVar(&flags.keyFile, "key-file", "", "`FILE` with the key that the hosts share (required)")
	f.StringVar(&flags.cpus, "cpus", "", "run on these cores only, a `LIST` such as 2-5,8 (Linux)")
	f.BoolVar(&flags.trigger, "trigger", false, "let coordinators name a command to run here (scenario revoke)")
	if err := cmd.MarkFlagRequired("key-file"); err != nil {
		panic(err) // only for a flag that is not there
	}
	return cmd
}

func (f *benchSinkFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := pinTo(f.cpus); err != nil {
		return usage(err)
	}
	key, made, err := bench.MakeKey(f.keyFile)
	if err != nil {
		return usage(err)
	}
	if made {
		fmt.Fprintf(stderr, "made the key %s: copy it to the other hosts of the run\n", f.keyFile)
	}
	control, err := net.Listen("tcp", f.listen)
	if err != nil {
		return err
	}
	defer control.Close()
	fmt.Fprintf(stdout, "control  %s\n", control.Addr())
	var service net.Listener
	if f.service != "" {
		// Without keep-alive: idle tunnels are to be idle.
		if service, err = (&net.ListenConfig{KeepAlive: -1}).Listen(ctx, "tcp", f.service); err != nil {
			return err
		}
		defer service.Close()
		fmt.Fprintf(stdout, "service  %s\n", service.Addr())
	}
	var mu sync.Mutex
	release, _ := built()
	agent := &bench.Agent{Key: key, Version: release, Advertise: f.advertise, Trigger: f.trigger, Log: func(text string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(stderr, time.Now().Format(time.TimeOnly), text)
	}}
	return agent.Serve(ctx, control, service)
}
