package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

// Updates gives what is revoked past the positions, and the node's newest head;
// see [sta.Authority.Updates]. gateway is this gateway's name, "" if it has no
// other than its client. The node has wait, and up to 3 s more, to begin its
// answer. Nothing in it is verified.
func (c *Client) Updates(ctx context.Context, gateway string, after ticket.Positions, wait time.Duration) (ticket.Updates, error) {
	wait = min(max(wait, 0), MaxWait)
	query := "?wait=" + strconv.FormatFloat(wait.Seconds(), 'f', 3, 64)
	if len(after) > 0 {
		query += "&after=" + after.String() // nothing in it needs to be escaped, which would lengthen it
	}
	if gateway != "" {
		query += "&gateway=" + url.QueryEscape(gateway)
	}
	var news ticket.Updates
	err := c.do(ctx, call{path: pathRevocations + query, into: &news, patience: wait + grace})
	if err != nil {
		return ticket.Updates{}, err
	}
	return news, nil
}

// ReportCuts says what this gateway has done; see [sta.Authority.ReportCuts].
// Entries that the authority lacks go in as many requests as they need.
func (c *Client) ReportCuts(ctx context.Context, gateway string, r ticket.CutReport) error {
	path := pathCuts
	if gateway != "" {
		path += "?gateway=" + url.QueryEscape(gateway)
	}
	// Of so many at once nobody waits for the counts.
	if len(r.Cuts) > maxReportCuts {
		r.Cuts = nil
	}
	for rest := r.Logs; ; {
		var logs map[string][]string
		logs, rest = split(rest, maxReportLogs)
		wire := cutReport{Applied: &r.Applied, Cuts: r.Cuts, Logs: logs}
		err := c.do(ctx, call{
			method: http.MethodPost, path: path, body: wire, status: http.StatusNoContent, patience: quick,
		})
		if err != nil || len(rest) == 0 {
			return err
		}
	}
}

// SignedKeys gives the authority's key set as its root signed it.
func (c *Client) SignedKeys(ctx context.Context) (string, error) {
	var answer keySet
	err := c.do(ctx, call{path: pathKeys, into: &answer, patience: quick})
	return answer.Keys, err
}

// Heads gives the newest head of each node, signed, by the name of its life.
func (c *Client) Heads(ctx context.Context) (map[string]string, error) {
	var answer heads
	err := c.do(ctx, call{path: pathHeads, into: &answer, patience: quick})
	return answer.Heads, err
}
