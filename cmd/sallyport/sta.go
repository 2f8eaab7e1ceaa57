package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
	"github.com/sallyport/sallyport/sta"
)

func newSTA() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sta",
		Short: "Look after the authority's own keys",
		Long: `Look after the authority's own keys.

An authority has a root key, which signs the set of its signing keys, and a
signing key, which signs tickets. These commands open the authority's store
themselves: with an embedded one the authority must not be running.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSTAInit(), newSTAKeys(), newSTARotate())
	return cmd
}

func newSTAInit() *cobra.Command {
	var file, root string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "init --config FILE [--root FILE]",
		Short: "Make the authority's root and signing keys",
		Long: `Make the authority's root and signing keys, and the first key set.

The signing key goes where sta.signing_key says, its root's pin beside it as
NAME.pin, the root key to --root, all readable by their owner only, and the
signed key set into the store. Take the root key off this machine afterwards: it
is needed only to change the key set.
A second run changes nothing and ends with exit code 1.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, store, err := openStore(cmd, file)
			if err != nil {
				return err
			}
			defer store.Close()
			if root == "" {
				root = node.RootPath(c.STA.SigningKey)
			}
			files := sta.KeyFiles{Signing: c.STA.SigningKey, Root: root}
			pin, err := sta.Init(cmd.Context(), store, c.STA.ID, files, time.Now())
			if errors.Is(err, sta.ErrInitialised) || errors.Is(err, sta.ErrHalfInitialised) {
				return no(err)
			}
			if err != nil {
				return err
			}
			return printInit(cmd.OutOrStdout(), asJSON, c.STA.ID, pin, files)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&root, "root", "", "where the root key goes (default: beside the signing key)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printInit(w io.Writer, asJSON bool, id, pin string, files sta.KeyFiles) error {
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			Authority  string `json:"authority"`
			Pin        string `json:"pin"`
			PinFile    string `json:"pin_file"`
			SigningKey string `json:"signing_key"`
			Root       string `json:"root"`
		}{id, pin, sta.PinPath(files.Signing), files.Signing, files.Root})
	}
	_, err := fmt.Fprintf(w, `authority    %s
signing key  %s
root key     %s   take it off this machine and keep it safe
pin          %s   gateways elsewhere need it
`, id, files.Signing, files.Root, pin)
	return err
}
