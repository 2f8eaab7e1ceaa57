package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/signal"
	"sync/atomic"
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
			context.AfterFunc(ctx, stop) // a second signal ends it at once
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
	log, end := newSinkLog(stderr)
	defer end()
	release, _ := built()
	agent := &bench.Agent{Key: key, Version: release, Advertise: f.advertise, Trigger: f.trigger, Log: log}
	return agent.Serve(ctx, control, service)
}

// newSinkLog writes lines to out from a goroutine of its own: a terminal that was stopped
// holds up nobody but itself. Lines that there is no room for are counted. end waits a
// second at most for what is written last.
func newSinkLog(out io.Writer) (log func(text string), end func()) {
	lines, ended := make(chan string, 100), make(chan struct{})
	var lost atomic.Int64
	go func() {
		defer close(ended)
		for line := range lines {
			fmt.Fprintln(out, line)
			if n := lost.Swap(0); n > 0 {
				fmt.Fprintf(out, "%d lines were lost: nobody read them\n", n)
			}
		}
	}()
	log = func(text string) {
		select {
		case lines <- time.Now().Format(time.TimeOnly) + " " + text:
		default:
			lost.Add(1)
		}
	}
	end = func() { // when nobody logs any more
		close(lines)
		select {
		case <-ended:
		case <-time.After(time.Second):
		}
	}
	return log, end
}
