package bench

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/bench/load"
	"github.com/sallyport/sallyport/bench/report"
)

func hostWith(addresses ...string) hello {
	h := hello{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("::1")}}
	for _, each := range addresses {
		h.Addresses = append(h.Addresses, netip.MustParseAddr(each))
	}
	return h
}

// What counts is whose an address is, however it is written: the traffic between two
// programs on one host goes over loopback by whichever of its addresses.
func TestWhoseAddress(t *testing.T) {
	const here, there, third, docker = "192.0.2.1", "192.0.2.2", "192.0.2.3", "172.17.0.1"
	for name, c := range map[string]struct {
		client, sink, service, gateway string // hosts by their addresses; the coordinator is here
		way                            string
		refused, marked                string
	}{
		"three hosts":                         {here, there, "192.0.2.2:7401", "192.0.2.3:443", "socks", "", ""},
		"sink and gateway here":               {here, here, "192.0.2.1:7401", "192.0.2.1:443", "socks", "is an address of client 1 itself", ""},
		"gateway by the name of this host":    {here, there, "192.0.2.2:7401", "localhost:443", "socks", "the endpoint ours, localhost:443, is loopback", ""},
		"sink here, by a name nobody knows":   {here, here, "sink.invalid:7401", "192.0.2.3:443", "socks", "is on the host of client 1", ""},
		"service here, sink elsewhere":        {here, there, "[::ffff:192.0.2.1]:7401", "192.0.2.3:443", "socks", "the service", ""},
		"sink and gateway here, client there": {third, here, "192.0.2.1:7401", "192.0.2.1:443", "socks", "is on this host, and so is the sink", ""},
		"sink alone here, client there":       {third, here, "192.0.2.1:7401", "192.0.2.9:443", "socks", "", ""},
		"sink and gateway there":              {here, there, "192.0.2.2:7401", "192.0.2.2:443", "socks", "", "ours and the sink are on one host"},
		"no gateway":                          {here, there, "192.0.2.2:7401", "192.0.2.2:7401", "tcp", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			client, sink := newParty("client 1", "", nil), newParty("sink", "sink.invalid:7400", nil)
			client.hello, sink.hello = hostWith(docker, c.client), hostWith(c.sink, docker)
			r := &run{Options: Options{Sink: sink.address, Endpoints: []load.Endpoint{{Name: "ours", Way: c.way, Address: c.gateway}}},
				service: c.service, report: new(report.Report), cast: cast{sink: &member{party: sink}, clients: []*member{{party: client}}}}
			err := r.leavesHosts(t.Context(), hostWith(docker, here).Addresses)
			var loopback *LoopbackError
			if c.refused == "" && err != nil || c.refused != "" && (!errors.As(err, &loopback) || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("%v, want %q", err, c.refused)
			}
			if marks := strings.Join(r.report.Marks, "; "); c.marked == "" && marks != "" || !strings.Contains(marks, c.marked) {
				t.Errorf("marked %q, want %q", marks, c.marked)
			}
		})
	}
}

// What another host says of itself is plain before it is dialled or shown.
func TestPlainHost(t *testing.T) {
	for host, plain := range map[string]bool{
		"sink.example.com": true, "10.0.0.7": true, "2001:db8::7": true, "sink_1": true, "127.0.0.1": true,
		"": false, "::1%eth0": false, "::1%\x1bc\nall objectives met": false, "a b": false, "sink\u202e": false, strings.Repeat("a", 254): false, "a/b": false,
	} {
		if plainHost(host) != plain {
			t.Errorf("%q: %t", host, !plain)
		}
	}
	e := &LoopbackError{"the service", "[::1%\x1bc\n\u009b31m]:7401", "is loopback"}
	if text := e.Error(); strings.ContainsAny(text, "\x1b\n\u009b") {
		t.Errorf("%q", text)
	}
}

// Moments that no record can hold are refused where they come in, and a clock that nobody
// has set.
func TestMomentsOfOtherHosts(t *testing.T) {
	for text, good := range map[string]bool{
		`{"result":{"seconds":[{"at":"2026-11-22T12:00:00Z"}]}}`: true,
		`{"result":{"seconds":[{"at":"9990-11-22T12:00:00Z"}]}}`: false,
		`{"result":{"seconds":[{"at":"0002-01-01T00:00:00Z"}]}}`: false,
		`{"result":{"seconds":[{}]}}`:                            true,
	} {
		var r ran
		if err := json.Unmarshal([]byte(text), &r); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		agent := endless(nil, nil)
		agent.do.now = func() time.Time { return time.Now().AddDate(-226, 0, 0) }
		conn, served := meeting(t, agent)
		p := attended(t, newParty("client 1", "far:7400", newLink(conn)))
		if err := p.greet(t.Context(), "1"); err == nil || !strings.Contains(err.Error(), "the clock of the client 1 at far:7400 is 8254") {
			t.Errorf("%v", err)
		}
		p.link.close()
		<-served
	})
}
