package bench

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/bench/load"
)

// A plan is for now, or for soon, and ends within a day, by the clock of who carries it out.
func TestPlansOfAnotherTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		begin time.Duration
		lasts time.Duration
		want  string
	}{
		{time.Second, time.Minute, ""}, {-59 * time.Second, time.Minute, ""}, {time.Hour, 24 * time.Hour, ""},
		{-61 * time.Second, time.Minute, "began 1m1s ago by this host's clock"},
		{-250 * 365 * 24 * time.Hour, time.Minute, "ago by this host's clock"},
		{time.Hour + time.Second, time.Minute, "begins in 1h0m1s by this host's clock"},
		{time.Second, 24*time.Hour + time.Second, "lasts 24h0m1s, where a day is the most"},
	} {
		plan := patientPlan(now.Add(c.begin))
		plan.Scenario.Ramp, plan.Scenario.Sustain, plan.Scenario.Down = 0, c.lasts-time.Second, time.Second
		switch err := timely(plan, now); {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("in %v, for %v: %v, want %q", c.begin, c.lasts, err, c.want)
		}
	}
	if err := timely(patientPlan(time.Time{}), now); err != nil {
		t.Errorf("at once: %v", err)
	}
	o := Options{Scenario: load.Default(load.Setup)}
	o.Scenario.Sustain, o.Scenario.Down = 20*time.Hour, 5*time.Hour
	if err := o.Check(); err == nil || !strings.Contains(err.Error(), "where a day is the most") {
		t.Errorf("the options: %v", err)
	}
}

// An agent whose clock was read wrongly, or was set since, says so and begins nothing.
func TestAgentRefusesLatePlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, served := meeting(t, endless(nil, nil))
		p := attended(t, newParty("client 1", "far:7400", newLink(conn)))
		if err := p.greet(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		p.clock.offset = 0 // it was right until now
		var refused *refusedError
		_, err := p.run(t.Context(), patientPlan(time.Now()), nil)
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "client 1 at far:7400: the plan began 5m0s ago") {
			t.Errorf("%v", err)
		}
		p.link.close()
		<-served
	})
}

// padded is a JSON object of so many bytes.
func padded(n int) json.RawMessage {
	return append(append([]byte(`{"x":"`), bytes.Repeat([]byte("x"), n)...), `"}`...)
}

// Only what is large by nature may be: a plan here, a result there.
func TestLargeMessagesAreFew(t *testing.T) {
	large := padded(maxPlain)
	for name, c := range map[string]struct {
		m    message
		ends bool
	}{
		"look":    {message{ID: 2, Call: callLook, Body: large}, true},
		"beat":    {message{ID: 2, Call: callBeat, Body: large}, true},
		"no call": {message{ID: 2, Call: strings.Repeat("x", maxPlain)}, true},
		"run":     {message{ID: 2, Call: callRun, Body: large}, false}, // refused as a plan
	} {
		t.Run("agent, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, served := meeting(t, endless(nil, nil))
				l := newLink(conn)
				heard := make(chan message, 2)
				go func() {
					defer close(heard)
					for m, err := l.receive(maxFrame); err == nil; m, err = l.receive(maxFrame) {
						heard <- m
					}
				}()
				for _, m := range []message{{ID: 1, Call: callHello, Body: json.RawMessage(`{"version":"1"}`)}, c.m} {
					_ = l.send(m)
				}
				<-heard
				if answer, goesOn := <-heard; goesOn == c.ends || goesOn && answer.Error == "" {
					t.Errorf("the answer is %+v", answer)
				}
				l.close()
				if err := <-served; c.ends != errors.Is(err, errFrame) {
					t.Errorf("it ended with %v", err)
				}
			})
		})
	}
	for name, m := range map[string]message{
		"sample":  {ID: 1, Event: eventSample, Body: large},
		"second":  {ID: 1, Event: eventSecond, Body: large},
		"answer":  {ID: 1, Body: large},
		"refusal": {ID: 1, Error: strings.Repeat("x", maxPlain)},
	} {
		t.Run("coordinator, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				p := attended(t, newParty("client 1", "far:7400", newLink(ours)))
				go func() {
					l := newLink(theirs)
					if _, err := l.receive(maxFrame); err == nil {
						_ = l.send(m)
					}
				}()
				var gone *goneError
				if err := p.call(t.Context(), callLook, nil, nil, nil); !errors.As(err, &gone) || !errors.Is(err, errFrame) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// Of a host's samples as many are kept as there is room for, from the first on.
func TestSamplesAreBounded(t *testing.T) {
	p := newParty("sink", "far:7400", nil)
	sample := json.RawMessage(`{"took":1000000000}`)
	p.room = 2*emptySample + 1
	for _, body := range []json.RawMessage{sample, sample, sample, json.RawMessage(`{}`)} {
		if err := p.event(message{Event: eventSample, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if kept, lost := len(p.taken()), p.lost(); kept != 2 || lost != 2 {
		t.Errorf("%d are kept, %d lost", kept, lost)
	}
	many := json.RawMessage(`{"cores":[{}` + strings.Repeat(",{}", maxListed) + `]}`)
	if err := p.event(message{Event: eventSample, Body: many}); !errors.Is(err, errFrame) {
		t.Errorf("a sample of %d cores: %v", maxListed+1, err)
	}
}

// packed is a histogram's text: a head of our geometry that announces so many bytes, and
// as many zeros as are asked for behind it.
func packed(t *testing.T, announced int32, zeros int) string {
	t.Helper()
	var body bytes.Buffer
	z := zlib.NewWriter(&body)
	head := []any{int32(0x1c849303 | 0x10), announced, int32(0), int32(3), int64(1), int64(time.Hour / time.Microsecond), math.Float64bits(1)}
	for _, field := range head {
		if err := binary.Write(z, binary.BigEndian, field); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := z.Write(make([]byte, zeros)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	whole := binary.BigEndian.AppendUint32(nil, 0x1c849304|0x10)
	whole = binary.BigEndian.AppendUint32(whole, uint32(body.Len()))
	return base64.StdEncoding.EncodeToString(append(whole, body.Bytes()...))
}

// What a result takes in memory is bounded by what it may be, not by what it says.
func TestResultsAreBounded(t *testing.T) {
	row := `{"name":"setup","latency":"` + packed(t, 1, 1) + `"}`
	rows := func(n int) string { return strings.Repeat(row+",", n-1) + row }
	const bomb = 2 << 20
	for name, c := range map[string]struct {
		text string
		good bool
	}{
		"small":               {`{"result":{"operations":[` + rows(2) + `],"seconds":[{}]}}`, true},
		"nothing":             {`{"result":{"operations":null,"seconds":null}}`, true},
		"rows":                {`{"result":{"operations":[` + rows(200) + `]}}`, false},
		"rows, again":         {`{"result":{` + strings.Repeat(`"operations":[`+rows(10)+`],`, 20) + `"seconds":[]}}`, false},
		"rows, another case":  {`{"Result":{"Operations":[` + rows(200) + `]}}`, false},
		"seconds":             {`{"result":{"seconds":[{}` + strings.Repeat(`,{}`, maxSeconds) + `]}}`, false},
		"bomb":                {`{"result":{"operations":[{"latency":"` + packed(t, 1, bomb) + `"}]}}`, false},
		"bomb that says so":   {`{"result":{"operations":[{"latency":"` + packed(t, bomb, bomb) + `"}]}}`, false},
		"bomb of a bad size":  {`{"result":{"operations":[{"latency":"` + packed(t, -1, bomb) + `"}]}}`, false},
		"bomb of another row": {`{"result":{"operations":[` + row + `,{"slip":"` + packed(t, 1<<30, bomb) + `"}]}}`, false},
	} {
		var before, after runtime.MemStats
		var done ran
		runtime.ReadMemStats(&before)
		err := unpack(json.RawMessage(c.text), &done)
		runtime.ReadMemStats(&after)
		if c.good != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 3<<19 {
			t.Errorf("%s: %d bytes of text took %d of memory", name, len(c.text), took)
		}
	}
}

// Of a command its name is shown, and nothing that may be a password.
func TestTriggerIsNotShown(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want string
	}{
		{[]string{"revoke", "--key", "hunter2"}, "revoke"},
		{[]string{"/opt/hunter2/revoke"}, "revoke"},
		{[]string{"PASSWORD=hunter2", "revoke"}, "[secret]"},
		{[]string{"PASSWORD=/etc/hunter2"}, "[secret]"},
	} {
		plan := patientPlan(time.Now())
		plan.Scenario = load.Default(load.Revoke)
		plan.Scenario.Trigger = c.argv
		if got := redacted(plan).Scenario.Trigger; len(got) != 1 || got[0] != c.want {
			t.Errorf("%q is shown as %q", c.argv, got)
		}
	}
}

// What an agent says of a command that failed is no more than that.
func TestTriggerFails(t *testing.T) {
	t.Parallel()
	key := newKey()
	sink, _ := startSink(t, key)
	o := short(t, key, sink, socksEndpoint("ours", startGateway(t)))
	o.Scenario = load.Default(load.Revoke)
	o.Scenario.Devices, o.Scenario.Ramp, o.Scenario.Sustain, o.Scenario.Down = 1, 100*time.Millisecond, 200*time.Millisecond, 0
	o.Scenario.Trigger = []string{"PASSWORD=hunter2", "revoke"}
	r, err := Run(t.Context(), o, nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), `the trigger "[secret]"`) {
		t.Errorf("%v", err)
	}
	if r != nil {
		t.Errorf("%+v", r.Marks)
	}
}
