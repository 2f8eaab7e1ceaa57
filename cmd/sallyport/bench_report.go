package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	benchreport "github.com/sallyport/sallyport/bench/report"
)

func newBenchReport() *cobra.Command {
	var page string
	var diff bool
	cmd := &cobra.Command{
		Use:   "report FILE.json [--html OUT] | --diff OLD.json NEW.json [--html OUT]",
		Short: "Show the report of a run again, or hold two against one another",
		Long: `Show the report of a run again, or hold two against one another.

The page that --html writes is one file and needs no network.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			want := 1
			if diff {
				want = 2
			}
			if len(args) != want {
				return usage(errors.New("one report is shown, two are held against one another by --diff"))
			}
			var reports []*benchreport.Report
			for _, path := range args {
				r, err := readReport(path)
				if err != nil {
					return usage(err)
				}
				reports = append(reports, r)
			}
			out := cmd.OutOrStdout()
			if diff {
				return showDifference(out, page, benchreport.Diff(reports[0], reports[1]))
			}
			if page != "" {
				return writeFile(page, os.O_TRUNC, reports[0].WritePage)
			}
			return reports[0].WriteSummary(out, 0, isTerminal(out))
		},
	}
	cmd.Flags().StringVar(&page, "html", "", "write a page to this `FILE` instead")
	cmd.Flags().BoolVar(&diff, "diff", false, "hold two reports against one another, the older one first")
	return cmd
}

func showDifference(out io.Writer, page string, d *benchreport.Difference) error {
	if page != "" {
		return writeFile(page, os.O_TRUNC, d.WritePage)
	}
	return d.WriteText(out, 0, isTerminal(out))
}

func readReport(path string) (*benchreport.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := benchreport.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
