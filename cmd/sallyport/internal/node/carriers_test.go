package node_test

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/sallyport/sallyport/sta"
)

// A case is what must be so by whichever way a device comes.
type carrierCase struct {
	name string
	not  func(*way) string // why it is no matter for a way; "" if it is
	run  func(*testing.T, *carriers, *carriersWorld, *way)
}

var carrierCases = []carrierCase{
	{"opened, echoed, accounted", always, caseEcho},
	{"bad tickets are alike", forTickets, caseBadTickets},
	{"no ticket", forTickets, caseNoTicket},
	{"refusals", always, caseRefusals},
	{"tricks", always, caseTricks},
	{"early bytes", always, caseEarly},
	{"device ends first", always, caseDeviceFirst},
	{"service ends first", always, caseServiceFirst},
	{"service resets", always, caseServiceResets},
	{"device goes amid", always, caseDeviceGoes},
	{"revoked", forTickets, caseRevoked},
	{"another device's ticket", forShared, caseOtherDevice},
}

func always(*way) string { return "" }

func forTickets(v *way) string {
	if v.free {
		return "has no tickets"
	}
	return ""
}

func forShared(v *way) string {
	if !v.shared {
		return "one tunnel each"
	}
	return ""
}

// TestCarriers is the one body of tests that every carrier has to pass. With -v it
// prints the table.
func TestCarriers(t *testing.T) {
	c := newCarriers(t)
	table := make(map[string]map[string]string)
	for _, v := range ways {
		table[v.name] = make(map[string]string)
		for _, k := range carrierCases {
			said := k.not(v)
			if said == "" {
				said, c.remark = "RED", ""
				if t.Run(v.name+"/"+k.name, func(t *testing.T) { k.run(t, c, c.at(v), v) }) {
					said = strings.TrimSpace("green " + c.remark)
				}
			}
			table[v.name][k.name] = said
		}
	}
	for _, w := range c.both() {
		if n := w.unlisted.Load(); n > 0 {
			t.Errorf("%d connections to what is not listed", n)
		}
		if text := w.log.String(); strings.Contains(text, `"event":"panic"`) || strings.Contains(text, "record_layer_not_taken") {
			t.Error("a defect, or the wrong record layer")
		}
	}
	t.Log("\n" + tableOf(table))
}

func tableOf(table map[string]map[string]string) string {
	var b strings.Builder
	out := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, v := range ways {
		_, _ = fmt.Fprint(out, "\t", v.name)
	}
	for _, k := range carrierCases {
		_, _ = fmt.Fprint(out, "\n", k.name)
		for _, v := range ways {
			_, _ = fmt.Fprint(out, "\t", table[v.name][k.name])
		}
	}
	_ = out.Flush()
	return b.String()
}

// granted asks for a tunnel that must be given.
func granted(t *testing.T, d device, ticket string, to target, early string) *heard {
	t.Helper()
	h := d.ask(t, ticket, to, early)
	if !h.open {
		t.Fatalf("%s: refused: %d %q %v", to, h.code, h.said, h.unsent)
	}
	return h
}

// The log has who, where, by which carrier, why it ended, and every byte.
func caseEcho(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	mark := w.log.mark()
	issued := w.issueFor(t, "phone", 0)
	h := granted(t, v.connect(t, w.world, v), issued.Handle.Reveal(), w.to("mail.example.com"), "")
	opened := w.log.next(t, mark, v, h.client, "tunnel_opened")
	text := strings.Repeat("bytes of a device. ", 20_000) // more than any window and buffer
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(h, text)
		if err == nil {
			err = h.closeWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(h.Reader)
	must(t, err)
	must(t, within(t, "sending", sent))
	if string(got) != text {
		t.Errorf("%d bytes of %d, or not the same", len(got), len(text))
	}
	closed := w.log.next(t, mark, v, h.client, "tunnel_closed")
	for key, want := range map[string]any{
		"reason": "client_closed", "up": float64(len(text)), "down": float64(len(text)), "to": "mail.example.com", "carrier": v.carrier,
	} {
		if closed[key] != want {
			t.Errorf("%s is %v, want %v", key, closed[key], want)
		}
	}
	if !v.free && (closed["ticket"] != issued.ID || closed["device"] != "phone") {
		t.Errorf("%v", closed)
	}
	var layer any // none but over TLS on TCP
	switch {
	case v.direct:
		layer = "direct"
	case v.carrier == "socks5", v.carrier == "h1", v.carrier == "h2":
		layer = "std"
	}
	if opened["layer"] != layer {
		t.Errorf("record layer %v, want %v", opened["layer"], layer)
	}
}

// What is wrong with a ticket is in the log, and nowhere else.
func caseBadTickets(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	gone, old := w.issueFor(t, "phone", 0), w.issueFor(t, "phone", time.Second)
	_, err := w.client.Revoke(t.Context(), sta.RevokeRequest{Ticket: gone.ID})
	must(t, err)
	<-time.After(time.Until(old.Expires)) // the clock is what is under test
	said := make(map[string]string)
	for reason, secret := range map[string]string{
		"malformed": gone.Handle.Reveal()[:31], "unknown_ticket": strings.Repeat("A", 32),
		"wrong_authority": ";40;STA02;" + gone.Handle.Reveal(), "revoked": gone.Handle.Reveal(), "expired": old.Handle.Reveal(),
	} {
		mark := w.log.mark()
		h := v.connect(t, w.world, v).ask(t, secret, w.to("unlisted.example.com"), "early")
		if h.open || h.said == "" {
			t.Fatalf("%s: open, or not a word", reason)
		}
		if line := w.log.next(t, mark, v, h.client, "tunnel_refused"); line["reason"] != reason || line["reply"] != nil || line["status"] != nil {
			t.Errorf("%s: %v", reason, line)
		}
		said[h.said] += " " + reason
	}
	if len(said) != 1 {
		t.Errorf("told apart: %q", said)
	}
}

func caseNoTicket(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	mark := w.log.mark()
	h := v.connect(t, w.world, v).ask(t, "", w.to("mail.example.com"), "")
	if want := map[bool]int{false: 2, true: 407}[v.http]; h.open || h.code != want {
		t.Errorf("%v, %d, want %d", h.open, h.code, want)
	}
	if line := w.log.next(t, mark, v, h.client, "tunnel_refused", "connection_refused"); line["reason"] != "no_credential" ||
		line["why"] == nil || line["fix"] == nil || v.http && line["status"] != 407.0 {
		t.Errorf("%v", line)
	}
}

func caseRefusals(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	handle := w.issue().Handle.Reveal()
	for host, want := range map[string]struct {
		reply, status int
		reason        string
	}{
		"unlisted.example.com": {2, 403, "not_listed"},
		"gone.example.com":     {4, 502, "name_not_found"},
		"shut.example.com":     {5, 502, "service_refused"},
	} {
		mark := w.log.mark()
		h := v.connect(t, w.world, v).ask(t, handle, w.to(host), "")
		code, key := want.reply, "reply"
		if v.http {
			code, key = want.status, "status"
		}
		line := w.log.next(t, mark, v, h.client, "tunnel_refused")
		if h.open || h.code != code || line["reason"] != want.reason || line[key] != float64(code) {
			t.Errorf("%s: open %v, %d, want %d: %v", host, h.open, h.code, code, line)
		}
	}
}

// trickRows is a sample of the spellings and addresses that fooled gateways: the
// gateway's own tests have them all.
func trickRows(t *testing.T) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../../../gateway/policy/testdata/tricks.txt")
	must(t, err)
	for i, line := range slices.Collect(strings.Lines(string(text))) {
		if columns := strings.Split(line, "\t"); len(columns) == 4 && i%9 == 0 {
			columns[1], err = strconv.Unquote(columns[1])
			must(t, err)
			rows = append(rows, columns)
		}
	}
	return rows
}

// sayable tells whether a way over HTTP has a form for a name. The libraries of HTTP/2
// and HTTP/3 turn what is not ASCII into something else before it leaves the device.
func sayable(v *way, name string) bool {
	ascii := !strings.ContainsFunc(name, func(r rune) bool { return r > '~' })
	return !strings.ContainsAny(name, ":\r\n ") && (ascii || !v.shared)
}

// Each trick is refused by the label that it must be, or by the carrier's own grammar
// before, or is the listed name in another spelling.
func caseTricks(t *testing.T, c *carriers, w *carriersWorld, v *way) {
	handle, sent := w.issue().Handle.Reveal(), 0
	d := v.connect(t, w.world, v)
	granted(t, d, handle, w.to("mail.example.com"), "").echoes(t, "in use")
	for _, row := range trickRows(t) {
		value, expect := row[1], row[2]
		to := w.to(value)
		to.isAddress = row[0] != "name"
		if !to.isAddress && v.http && !sayable(v, value) {
			continue
		}
		mark := w.log.mark()
		h := d.ask(t, handle, to, "early")
		if h.unsent != nil {
			continue
		}
		sent++
		if h.open != (expect == "same:mail.example.com") {
			t.Errorf("%q: open %v, want %s", value, h.open, expect)
			continue
		}
		if !h.open {
			reason := w.log.next(t, mark, v, h.client, "tunnel_refused", "connection_refused")["reason"]
			if reason != expect && (!v.http || reason != "http_malformed") && (reason != "empty_name" || value != "") {
				t.Errorf("%q: %v, want %s", value, reason, expect)
			}
		}
	}
	c.remark = fmt.Sprintf("(%d)", sent)
	if sent < 10 {
		t.Error("too few")
	}
}

// What a device sends ahead comes first at a service that is granted, and never
// reaches one that is not.
func caseEarly(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	handle := w.issue().Handle.Reveal()
	h := granted(t, v.connect(t, w.world, v), handle, w.to("sink.example.com"), "early, ")
	_, err := io.WriteString(h, "late")
	must(t, err)
	must(t, h.closeWrite())
	if got := within(t, "the service", w.sunk); got.text != "early, late" || got.reset {
		t.Errorf("%+v", got)
	}
	must(t, within(t, "the end", h.ends()))
	if h := v.connect(t, w.world, v).ask(t, handle, w.to("unlisted.example.com"), "early"); h.open {
		t.Error("not listed, and open")
	}
	if v.free {
		return
	}
	h = v.connect(t, w.world, v).ask(t, strings.Repeat("B", 32), w.to("sink.example.com"), "early")
	if h.open || len(w.sunk) > 0 || w.unlisted.Load() > 0 {
		t.Error("open, or a service has heard of it")
	}
}
