package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/sta/ticket"
)

// told is what the log says of refusals, a line each.
type told struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *told) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// lines gives what was written since the last time.
func (b *told) lines(t *testing.T) []map[string]any {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []map[string]any
	for line := range strings.Lines(b.buf.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		all = append(all, fields)
	}
	b.buf.Reset()
	return all
}

func refusal(device, host, reason string) (*gateway.Attempt, *gateway.Judgement) {
	claims := &ticket.Claims{Authority: "STA01", User: "u", Device: device, Family: "f-" + device}
	return &gateway.Attempt{Claims: claims}, &gateway.Judgement{
		Reason: reason, To: gateway.Destination{Host: host, Port: 443}, Fix: "list " + host,
	}
}

func TestRefusalsAreGrouped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &told{}
		r := newRefusals(zerolog.New(log))
		began := time.Now().UTC()
		for i := range 214 {
			for range 3 { // each device tries again
				r.note(refusal(fmt.Sprint("phone", i), "outlook.office365.com", "not_listed"))
			}
		}
		time.Sleep(20 * time.Second)
		r.note(refusal("phone1", "outlook.office365.com", "not_listed"))
		r.note(refusal("phone1", "outlook.office365.com", "address_private"))
		a, j := refusal("", "", "host_control")
		a.Claims.User = ""
		r.note(a, j)
		synctest.Wait()
		if lines := log.lines(t); len(lines) > 0 {
			t.Errorf("told at once: %v", lines)
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		got := make(map[string]map[string]any)
		for _, line := range log.lines(t) {
			got[line["message"].(string)] = line
		}
		want := map[string]map[string]any{
			"214 devices want outlook.office365.com:443, not listed": {
				"event": "refusals", "to": "outlook.office365.com", "port": 443.0, "reason": "not_listed",
				"devices": 214.0, "tunnels": 643.0, "fix": "list outlook.office365.com",
				"first": began.Format(time.RFC3339), "last": began.Add(20 * time.Second).Format(time.RFC3339),
			},
			"1 device wants outlook.office365.com:443, address private": {"devices": 1.0, "tunnels": 1.0, "reason": "address_private"},
			"1 device wants a destination that is none, host control":   {"devices": 1.0, "to": nil},
		}
		if len(got) != len(want) {
			t.Errorf("%d lines: %v", len(got), got)
		}
		for message, fields := range want {
			for key, value := range fields {
				if got[message][key] != value {
					t.Errorf("%s: %s is %v, want %v", message, key, got[message][key], value)
				}
			}
		}
		// Nothing is told while there is nothing, and what comes next is counted anew.
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if lines := log.lines(t); len(lines) > 0 {
			t.Errorf("told of nothing: %v", lines)
		}
		r.note(refusal("phone1", "outlook.office365.com", "not_listed"))
		time.Sleep(refusalsEvery)
		synctest.Wait()
		if lines := log.lines(t); len(lines) != 1 || lines[0]["tunnels"] != 1.0 {
			t.Errorf("%v", lines)
		}
		r.close()
	})
}

// However long it goes on, a line a minute and group.
func TestRefusalsOncePerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &told{}
		r := newRefusals(zerolog.New(log))
		for range 600 {
			r.note(refusal("phone", "outlook.office365.com", "not_listed"))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := len(log.lines(t)); n < 9 || n > 10 {
			t.Errorf("%d lines in ten minutes", n)
		}
		r.close()
	})
}

func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &told{}
		r := newRefusals(zerolog.New(log))
		for i := range maxRefusedDevices + 5 {
			r.note(refusal(fmt.Sprint("phone", i), "a.example.com", "not_listed"))
		}
		const beyond = 7
		for i := range maxRefusalGroups + beyond - 1 {
			r.note(refusal("phone", fmt.Sprintf("h%d.example.com", i), "not_listed"))
		}
		if len(r.groups) != maxRefusalGroups {
			t.Errorf("%d groups", len(r.groups))
		}
		// On shutdown all of it is told, and afterwards nothing.
		r.close()
		lines := log.lines(t)
		if len(lines) != maxRefusalGroups+1 {
			t.Errorf("%d lines", len(lines))
		}
		var text []string
		for _, line := range lines {
			text = append(text, line["message"].(string))
		}
		all := strings.Join(text, "\n")
		for _, want := range []string{
			"more than 10000 devices want a.example.com:443, not listed",
			"1 device wants other destinations, more of them than are told one by one",
		} {
			if !strings.Contains(all, want) {
				t.Errorf("not told: %s", want)
			}
		}
		if rest := lines[len(lines)-1]; rest["tunnels"] != float64(beyond) {
			t.Errorf("%v", rest)
		}
		r.note(refusal("phone", "a.example.com", "not_listed"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if lines := log.lines(t); len(lines) > 0 {
			t.Errorf("told after the end: %v", lines)
		}
	})
}

// All groups together remember so many devices, however many there are.
func TestRefusedDevicesAreBounded(t *testing.T) {
	log := &told{}
	r := newRefusals(zerolog.New(log))
	const each = maxRefusedDevices - 1
	for host := range maxRefusedHashes/each + 2 {
		a, j := refusal("", fmt.Sprintf("h%d.example.com", host), "not_listed")
		for device := range each {
			a.Claims.Device = strconv.Itoa(device)
			r.note(a, j)
		}
	}
	r.close()
	devices, tunnels, more := 0.0, 0.0, 0
	for _, line := range log.lines(t) {
		devices += line["devices"].(float64)
		tunnels += line["tunnels"].(float64)
		if line["more"] == true {
			more++
		}
	}
	if devices != maxRefusedHashes || tunnels != (maxRefusedHashes/each+2)*each || more != 2 {
		t.Errorf("%v devices in %v tunnels, %d times more than were counted", devices, tunnels, more)
	}
}

// Who has no good ticket is in no group, and who was allowed neither.
func TestRefusalsOfStrangers(t *testing.T) {
	log := &told{}
	r := newRefusals(zerolog.New(log))
	a, j := refusal("phone", "a.example.com", "not_listed")
	r.note(&gateway.Attempt{}, j)
	r.note(a, nil)
	j.Allow = true
	r.note(a, j)
	r.close()
	if lines := log.lines(t); len(lines) > 0 {
		t.Errorf("%v", lines)
	}
}
