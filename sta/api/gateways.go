package api

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

// What gateways ask, the authority answers to everybody: the right is looked at
// here, before anything that was sent.

func (x *exchange) updates() error {
	if err := x.client.Check(sta.MayRedeem); err != nil {
		return err
	}
	asked, err := parsePoll(x.query)
	if err != nil {
		return badRequest(err)
	}
	name, err := followerName(x.client.Name, asked.gateway)
	if err != nil {
		return badRequest(err)
	}
	news, err := x.authority.Updates(x.r.Context(), name, asked.after, asked.wait)
	if err != nil {
		return err
	}
	news.Logs, _ = split(news.Logs, maxLogs)
	x.access.Status = http.StatusOK
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(answerTime))
	x.w.Header().Set("Content-Type", typeJSON)
	_ = writeUpdates(x.w, &news) // an error means that the gateway has gone
	return nil
}

// split gives entries of at most so many bytes, each writer's from its first on,
// and the rest; there is always at least one.
func split(logs map[string][]string, most int) (first, rest map[string][]string) {
	first = make(map[string][]string)
	for _, writer := range slices.Sorted(maps.Keys(logs)) {
		entries, n := logs[writer], 0
		for n < len(entries) && most > 0 {
			if most -= len(entries[n]) + len(`"",`); most > 0 || len(first) == 0 && n == 0 {
				n++
			}
		}
		if n > 0 {
			first[writer] = entries[:n]
		}
		if n < len(entries) {
			if rest == nil {
				rest = make(map[string][]string)
			}
			rest[writer] = entries[n:]
		}
	}
	return first, rest
}

// writeUpdates writes the JSON form piece by piece: it may be large, and is made
// of what is in memory already.
func writeUpdates(to io.Writer, u *ticket.Updates) error {
	w := bufio.NewWriterSize(to, 32<<10)
	text := func(s string) {
		quoted, _ := json.Marshal(s) // a string always has a form
		_, _ = w.Write(quoted)
	}
	next := "{"
	if len(u.Logs) > 0 {
		_, _ = w.WriteString(`{"logs":`)
		brace := "{"
		for _, writer := range slices.Sorted(maps.Keys(u.Logs)) {
			_, _ = w.WriteString(brace)
			text(writer)
			bracket := ":["
			for _, entry := range u.Logs[writer] {
				_, _ = w.WriteString(bracket)
				text(entry)
				bracket = ","
			}
			_, _ = w.WriteString("]")
			brace = ","
		}
		_, _ = w.WriteString("}")
		next = ","
	}
	if u.Head != "" {
		_, _ = w.WriteString(next + `"head":`)
		text(u.Head)
		next = ","
	}
	if next == "{" {
		_, _ = w.WriteString(next)
	}
	_, _ = w.WriteString("}\n")
	return w.Flush() // with the first error of all
}

func (x *exchange) cuts() error {
	if err := x.client.Check(sta.MayRedeem); err != nil {
		return err
	}
	name, err := followerName(x.client.Name, x.query["gateway"])
	if err != nil {
		return badRequest(err)
	}
	var wire cutReport
	if err := x.readUpTo(maxReport, &wire, "cuts", "logs"); err != nil {
		return err
	}
	if wire.Applied == nil {
		return ticket.Refuse(ticket.Invalid, "applied is required")
	}
	report := ticket.CutReport{Applied: *wire.Applied, Cuts: wire.Cuts, Logs: wire.Logs}
	if err := x.authority.ReportCuts(x.r.Context(), name, report); err != nil {
		return err
	}
	x.access.Status = http.StatusNoContent
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (x *exchange) heads() error {
	if err := x.client.Check(sta.MayRedeem); err != nil {
		return err
	}
	signed, err := x.authority.Heads(x.r.Context())
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, heads{signed})
}

func (x *exchange) keys() error {
	if err := x.client.Check(sta.MayRedeem); err != nil {
		return err
	}
	signed, err := x.authority.SignedKeys(x.r.Context())
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, keySet{signed})
}
