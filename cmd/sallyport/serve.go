package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
	"github.com/sallyport/sallyport/tunnel"
)

func newServe() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run authority, gateway or both, as the file says",
		Long: `Run authority, gateway or both, as the file says, until told to stop.

  SIGHUP            read the file again: certificates, policy, names and the
                    authority's clients change, live tunnels go on; what needs a
                    restart is named; a file with a mistake changes nothing
  SIGTERM, SIGINT   drain: accept no more, end when the last tunnel has, or after
                    gateway.drain_timeout
  a second one      end at once`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, diagnostics := config.Load(file)
			if diagnostics.HasErrors() {
				fmt.Fprint(cmd.ErrOrStderr(), diagnostics)
				return usage(errSaid)
			}
			out := newLines(cmd.ErrOrStderr())
			defer out.Close()
			log := newLogger(c, cmd.ErrOrStderr(), out)
			out.lost = func(n int) {
				log.Warn().Str("event", "lines_lost").Int("lines", n).Msg("log lines were lost: nobody read them in time")
			}
			stdlog.SetFlags(0)
			stdlog.SetOutput(libraryLog{log})
			logDiagnostics(log, append(diagnostics, lintPolicies(c)...))
			return serve(cmd.Context(), file, c, log)
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "the configuration `FILE`")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // only for a flag that is not there
	}
}

// loadConfig reads a file for a command that only looks something up in it:
// mistakes are printed, warnings are for serve and check.
func loadConfig(file string, stderr io.Writer, options ...config.Option) (*config.Config, error) {
	c, diagnostics := config.Load(file, options...)
	if diagnostics.HasErrors() {
		fmt.Fprint(stderr, diagnostics)
		return nil, usage(errSaid)
	}
	return c, nil
}

func logDiagnostics(log zerolog.Logger, diagnostics config.Diagnostics) {
	for _, d := range diagnostics {
		log.Warn().Str("event", "config").Msg(d.String())
	}
}

// serve runs a node until a signal or the end of ctx stops it.
func serve(ctx context.Context, file string, c *config.Config, log zerolog.Logger) error {
	// Before the start: a signal that comes early must not be lost.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	defer func() { signal.Stop(signals); close(signals) }()

	n, err := node.Start(ctx, c, log)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return n.Close(ctx)
		case err := <-n.Failed():
			return errors.Join(err, n.Close(ctx))
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				reload(n, file, log)
			case syscall.SIGUSR2:
				log.Warn().Str("event", "upgrade").Msg("not available: upgrading in place is not built yet")
			default:
				return drain(n, c, signals, log)
			}
		}
	}
}

// reload puts a changed file in force, or says why not.
func reload(n *node.Node, file string, log zerolog.Logger) {
	c, diagnostics := config.Load(file)
	if c != nil {
		diagnostics = append(diagnostics, lintPolicies(c)...)
	}
	logDiagnostics(log, diagnostics)
	if c == nil {
		log.Error().Str("event", "reload_failed").Msg("the file has mistakes; nothing changed")
		return
	}
	if err := n.Reload(c); err != nil {
		log.Error().Str("event", "reload_failed").Err(err).Msg("not everything could be reloaded")
		return
	}
	log.Info().Str("event", "reloaded").Msg("certificates, policy, names and clients are in force")
}

// drain ends the node when its last tunnel has ended, its time is up, or a
// second signal says so.
func drain(n *node.Node, c *config.Config, signals <-chan os.Signal, log zerolog.Logger) error {
	var timeout time.Duration
	if c.Gateway != nil {
		timeout = c.Gateway.DrainTimeout
	}
	if live := n.Live(); live > 0 {
		log.Info().Str("event", "draining").Int("tunnels", live).Dur("at_most_ms", timeout).
			Msg("waiting for live tunnels; a second signal ends them")
	}
	hurry, now := context.WithCancel(context.Background())
	defer now()
	go func() {
		for s := range signals {
			if s == syscall.SIGTERM || s == syscall.SIGINT {
				now()
			}
		}
	}()
	ctx, cancel := context.WithTimeout(hurry, timeout)
	defer cancel()
	_ = n.Drain(ctx) // tunnels that are left are cut
	cut := n.Live()
	err := n.Close(hurry)
	log.Info().Str("event", "stopped").Int("cut", cut).Msg("stopped")
	return err
}

func newLogger(c *config.Config, stderr io.Writer, out io.Writer) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.Log.Level)
	if err != nil {
		level = zerolog.InfoLevel // the configuration allows no unknown one
	}
	if c.Log.Format == "console" {
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly, NoColor: !isTerminal(stderr)}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Str("node", c.Node).Logger()
}

// libraryLog is for what libraries say by the standard logger.
type libraryLog struct{ zerolog.Logger }

func (l libraryLog) Write(p []byte) (int, error) {
	l.Warn().Str("event", "library").Msg(tunnel.SafeText(strings.TrimSpace(string(p)), 500))
	return len(p), nil
}

// isTerminal tells where colours are of use: in a file they are only noise
// between what one searches for.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
