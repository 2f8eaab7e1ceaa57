package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/bench/evidence"
)

// nicSight is what bench nic prints with --json.
type nicSight struct {
	Host    evidence.Host     `json:"host"`
	Samples []evidence.Sample `json:"samples,omitempty"`
	Advice  []evidence.Advice `json:"advice"`
}

func newBenchNIC() *cobra.Command {
	var asJSON bool
	var watch time.Duration
	cmd := &cobra.Command{
		Use:   "nic [INTERFACE]...",
		Short: "Show what this host is to a benchmark: interfaces, queues, offloads, limits",
		Long: `Show what this host is to a benchmark: its processors, its network interfaces with
their queues, rings, offloads and disciplines, and what of it is known to hurt, with
the command that mends it. It changes nothing.

Some settings hurt only once there is traffic. With --watch it looks on that long, a
sample a second, and judges by what it saw; Ctrl-C ends that early.

What cannot be read is listed with the reason. Root reads more than others.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, names []string) error {
			if watch < 0 {
				return usage(errors.New("--watch is a time to look on, such as 10s"))
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return benchNIC(ctx, cmd.OutOrStdout(), names, watch, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON only")
	cmd.Flags().DurationVar(&watch, "watch", 0, "look on for this `TIME`, e.g. 10s")
	return cmd
}

func benchNIC(ctx context.Context, out io.Writer, names []string, watch time.Duration, asJSON bool) error {
	host, err := evidence.Look(ctx)
	if err != nil {
		return err
	}
	seen := nicSight{Advice: []evidence.Advice{}}
	if seen.Host, err = host.Only(names...); err != nil {
		return usage(err)
	}
	if !asJSON {
		if err := seen.Host.Text(out); err != nil {
			return err
		}
	}
	err = watchHost(ctx, watch, func(s evidence.Sample) error {
		s = s.Only(names...)
		seen.Samples = append(seen.Samples, s)
		if asJSON {
			return nil
		}
		fmt.Fprintln(out)
		return s.Text(out)
	})
	if err != nil {
		return err
	}
	seen.Advice = append(seen.Advice, evidence.Advise(seen.Host, seen.Samples)...)
	if asJSON {
		to := json.NewEncoder(out)
		to.SetIndent("", "  ")
		return to.Encode(seen)
	}
	return adviceText(out, seen.Advice)
}

// watchHost takes a sample a second, and one of what is left at the end. That ctx ends
// it early is no error.
func watchHost(ctx context.Context, long time.Duration, saw func(evidence.Sample) error) error {
	if long == 0 {
		return nil
	}
	sampler := evidence.NewSampler()
	if _, err := sampler.Sample(); err != nil {
		return err
	}
	end := time.NewTimer(long)
	defer end.Stop()
	each := time.NewTicker(time.Second)
	defer each.Stop()
	for last := false; !last; {
		select {
		case <-ctx.Done():
			return nil
		case <-each.C:
		case <-end.C:
			last = true
		}
		s, err := sampler.Sample()
		if err != nil {
			return err
		}
		if last && s.Took < 100*time.Millisecond && long > time.Second {
			return nil // the last second has been seen already
		}
		if err := saw(s); err != nil {
			return err
		}
	}
	return nil
}

func adviceText(out io.Writer, advice []evidence.Advice) error {
	if len(advice) == 0 {
		_, err := fmt.Fprintln(out, "\nnothing here is known to hurt")
		return err
	}
	fmt.Fprintln(out, "\nknown to hurt")
	for _, a := range advice {
		fmt.Fprintln(out)
		if err := a.Text(out); err != nil {
			return err
		}
	}
	return nil
}
