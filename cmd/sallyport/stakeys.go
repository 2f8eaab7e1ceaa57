package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/boltstore"
	"github.com/sallyport/sallyport/sta/ticket"
)

// openStore opens the authority's store for a command that works on it itself.
func openStore(cmd *cobra.Command, file string) (*config.Config, sta.Store, error) {
	c, err := loadConfig(file, cmd.ErrOrStderr())
	if err != nil {
		return nil, nil, err
	}
	if c.STA == nil {
		return nil, nil, usage(fmt.Errorf("%s has no sta section", file))
	}
	store, err := node.OpenStore(cmd.Context(), c.STA)
	if errors.Is(err, boltstore.ErrLocked) {
		return nil, nil, no(fmt.Errorf("%w: stop the authority first", err))
	}
	return c, store, err
}

func newSTAKeys() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "keys --config FILE",
		Short: "Show the authority's signing keys",
		Long: `Show the set of the authority's signing keys, and which of them this node uses.

With an embedded store the authority must not be running.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, store, err := openStore(cmd, file)
			if err != nil {
				return err
			}
			defer store.Close()
			keys, err := sta.OpenKeys(cmd.Context(), store, c.STA.ID, c.STA.SigningKey)
			if errors.Is(err, sta.ErrNotInitialised) {
				return no(err)
			}
			if err != nil {
				return err
			}
			return printKeys(cmd.OutOrStdout(), asJSON, keys.Set, keys.Signer.KeyID(), keys.Pin)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newSTARotate() *cobra.Command {
	var file string
	var asJSON bool
	var request sta.RotateRequest
	cmd := &cobra.Command{
		Use:   "rotate --config FILE --root FILE [--new FILE] [--drop KEY]...",
		Short: "Add a signing key, or take one out",
		Long: `Sign a new version of the set of signing keys with the root key.

To replace a key without a gap, add the new one with --new, let every node sign
with it (sta.signing_key, then a restart), and take the old one out with --drop
when its tickets have expired. If a key is known to somebody else, take it out at
once: its tickets end, and gateways cut their tunnels.

With an embedded store the authority must not be running; with Redis it may, and
every node takes the new set over within a second or so.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if request.Root == "" || request.New == "" && len(request.Drop) == 0 {
				return usage(errors.New("needs --root, and --new or --drop"))
			}
			c, store, err := openStore(cmd, file)
			if err != nil {
				return err
			}
			defer store.Close()
			root, err := sta.ReadPrivateKey(request.Root)
			if err != nil {
				return fmt.Errorf("root key: %w", err)
			}
			set, err := sta.Rotate(cmd.Context(), store, c.STA.ID, request, time.Now())
			switch {
			case errors.Is(err, sta.ErrNotInitialised), errors.Is(err, os.ErrExist):
				return no(err)
			case errors.Is(err, sta.ErrNoSuchKey):
				return usage(err)
			case err != nil:
				return err
			}
			used := ""
			if key, err := sta.ReadPrivateKey(c.STA.SigningKey); err == nil {
				used = ticket.KeyID(ticket.PublicKey(key))
			}
			if request.New != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "copy %s and its .pin to every node, set sta.signing_key, and restart the nodes one by one\n", request.New)
			}
			return printKeys(cmd.OutOrStdout(), asJSON, set, used, ticket.Pin(ticket.PublicKey(root)))
		},
	}
	configFlag(cmd, &file)
	f := cmd.Flags()
	f.StringVar(&request.Root, "root", "", "the `FILE` of the root key (required)")
	f.StringVar(&request.New, "new", "", "make a signing key in this `FILE` and add it")
	f.StringArrayVar(&request.Drop, "drop", nil, "take the `KEY` with this id out; may be repeated")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printKeys(w io.Writer, asJSON bool, set *ticket.KeySet, used, pin string) error {
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			Authority string    `json:"authority"`
			Version   uint64    `json:"version"`
			Signed    time.Time `json:"signed"`
			Pin       string    `json:"pin"`
			Keys      []string  `json:"keys"`
			Used      string    `json:"used"`
		}{set.Authority, set.Version, set.Signed.UTC(), pin, set.KeyIDs(), used})
	}
	if _, err := fmt.Fprintf(w, "authority  %s\nversion    %d, signed %s\npin        %s\n",
		set.Authority, set.Version, set.Signed.UTC().Format(time.RFC3339), pin); err != nil {
		return err
	}
	for _, id := range set.KeyIDs() {
		mark := ""
		if id == used {
			mark = "   signs here"
		}
		fmt.Fprintf(w, "key        %s%s\n", id, mark)
	}
	if !set.Names(used) {
		fmt.Fprintln(w, "the key that sta.signing_key names is not in the set: nothing can be issued with it; change sta.signing_key")
	}
	return nil
}
