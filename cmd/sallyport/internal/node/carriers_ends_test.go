package node_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
)

// A device says all, and then hears the answer.
func caseDeviceFirst(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	mark := w.log.mark()
	h := granted(t, v.connect(t, w.world, v), w.issue().Handle.Reveal(), w.to("last.example.com"), "")
	_, err := io.WriteString(h, "a question")
	must(t, err)
	must(t, h.closeWrite())
	if got, err := io.ReadAll(h.Reader); err != nil || string(got) != "heard: a question" {
		t.Errorf("the device heard %q, %v", got, err)
	}
	if line := w.log.next(t, mark, v, h.client, "tunnel_closed"); line["reason"] != "client_closed" || line["up"] != 10.0 || line["down"] != 17.0 {
		t.Errorf("%v", line)
	}
}

// A service that has said all still hears. Over HTTP/2 it does not, since the library
// ends both directions of a response at once; but it says all, and is let go.
func caseServiceFirst(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	mark := w.log.mark()
	h := granted(t, v.connect(t, w.world, v), w.issue().Handle.Reveal(), w.to("first.example.com"), "")
	if got, err := io.ReadAll(h.Reader); err != nil || string(got) != "all said" {
		t.Errorf("the device heard %q, %v", got, err)
	}
	want := ""
	if v.carrier != "h2" {
		want = "and so have I"
		_, err := io.WriteString(h, want)
		must(t, err)
		must(t, h.closeWrite())
	}
	if got := within(t, "the service", w.first); got != want {
		t.Errorf("the service heard %q", got)
	}
	if line := w.log.next(t, mark, v, h.client, "tunnel_closed"); line["reason"] != "service_closed" || line["up"] != float64(len(want)) || line["down"] != 8.0 {
		t.Errorf("%v", line)
	}
}

// A service that breaks off is heard to the end, and then the device knows that there
// was more to come.
func caseServiceResets(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	mark := w.log.mark()
	h := granted(t, v.connect(t, w.world, v), w.issue().Handle.Reveal(), w.to("reset.example.com"), "")
	_, err := io.WriteString(h, "reset")
	must(t, err)
	got, err := io.ReadAll(h.Reader)
	if string(got) != "half a sen" || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the device heard %q, %v", got, err)
	}
	if line := w.log.next(t, mark, v, h.client, "tunnel_closed"); line["reason"] != "service_error" || line["up"] != 5.0 || line["down"] != 10.0 {
		t.Errorf("%v", line)
	}
}

// A device that breaks off amid its bytes ends the tunnel, and the service knows that
// there was more to come.
func caseDeviceGoes(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	mark := w.log.mark()
	h := granted(t, v.connect(t, w.world, v), w.issue().Handle.Reveal(), w.to("sink.example.com"), "")
	_, err := io.WriteString(h, strings.Repeat("x", 100_000))
	must(t, err)
	h.abort()
	got := within(t, "the service", w.sunk)
	if !got.reset {
		t.Error("to the service it looks like an end")
	}
	if strings.Trim(got.text, "x") != "" {
		t.Error("the service heard something else")
	}
	if line := w.log.next(t, mark, v, h.client, "tunnel_closed"); line["reason"] != "client_error" {
		t.Errorf("%v", line)
	}
}

// A revocation cuts a ticket's tunnels within a second, and no other's: neither those
// of the device's other ticket, on the same connection, nor another device's.
func caseRevoked(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	mark := w.log.mark()
	lost, kept, other := w.issueFor(t, "lost "+v.name, 0), w.issueFor(t, "lost "+v.name, 0), w.issueFor(t, "other", 0)
	connection := v.connect(t, w.world, v)
	cut := granted(t, connection, lost.Handle.Reveal(), w.to("mail.example.com"), "")
	beside := granted(t, connection, kept.Handle.Reveal(), w.to("mail.example.com"), "")
	alone := v.connect(t, w.world, v)
	cutAlone := granted(t, alone, lost.Handle.Reveal(), w.to("mail.example.com"), "")
	apartFrom := v.connect(t, w.world, v)
	apart := granted(t, apartFrom, other.Handle.Reveal(), w.to("mail.example.com"), "")
	for _, h := range []*heard{cut, beside, cutAlone, apart} {
		h.echoes(t, "live")
	}
	began := time.Now()
	result, err := w.client.Revoke(t.Context(), sta.RevokeRequest{Ticket: lost.ID})
	must(t, err)
	for _, h := range []*heard{cut, cutAlone} {
		if err := within(t, "the end", h.ends()); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a cut tunnel has a good end: %v", err)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
	if len(result.Gateways) != 1 || result.Gateways[0].Cut != 2 {
		t.Errorf("%+v", result.Gateways)
	}
	if line := w.log.next(t, mark, v, cutAlone.client, "tunnel_closed"); line["reason"] != "revoked" || line["up"] != 4.0 || line["down"] != 4.0 {
		t.Errorf("%v", line)
	}
	beside.echoes(t, "still here")
	apart.echoes(t, "still here")
	granted(t, apartFrom, other.Handle.Reveal(), w.to("mail.example.com"), "").echoes(t, "and anew")
	if h := connection.ask(t, lost.Handle.Reveal(), w.to("mail.example.com"), ""); h.open {
		t.Error("the revoked ticket opens")
	}
}

// A connection that carries many tunnels is one user's and device's: another's good
// ticket is told on it what a bad one is told.
func caseOtherDevice(t *testing.T, _ *carriers, w *carriersWorld, v *way) {
	mark := w.log.mark()
	connection := v.connect(t, w.world, v)
	first := granted(t, connection, w.issueFor(t, "phone", 0).Handle.Reveal(), w.to("mail.example.com"), "")
	other := connection.ask(t, w.issueFor(t, "another", 0).Handle.Reveal(), w.to("mail.example.com"), "")
	wrong := connection.ask(t, strings.Repeat("A", 32), w.to("mail.example.com"), "")
	if other.open || other.code != wrong.code || other.said != wrong.said {
		t.Errorf("open %t, %d %q; a wrong ticket is told %d %q", other.open, other.code, other.said, wrong.code, wrong.said)
	}
	if line := w.log.next(t, mark, v, other.client, "tunnel_refused"); line["reason"] != "other_device" || line["device"] != "another" {
		t.Errorf("%v", line)
	}
	first.echoes(t, "unharmed")
	granted(t, connection, w.issueFor(t, "phone", 0).Handle.Reveal(), w.to("mail.example.com"), "").echoes(t, "with another ticket")
}
