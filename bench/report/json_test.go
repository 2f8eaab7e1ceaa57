package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/bench/evidence"
	"github.com/sallyport/sallyport/bench/load"
)

func TestReadBack(t *testing.T) {
	var first, second bytes.Buffer
	made := storm()
	made.Rounds = made.Rounds[:2]
	for i := range made.Hosts {
		made.Hosts[i].Samples = made.Hosts[i].Samples[:120]
	}
	if err := made.WriteJSON(&first); err != nil {
		t.Fatal(err)
	}
	r, err := Read(bytes.NewReader(first.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJSON(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("what was read back is written differently")
	}
	if got := r.Rounds[0].Result.Operations[1].Latency.Count(); got != fixtureDevices {
		t.Errorf("the histogram came back with %d values", got)
	}
}

func TestReadRefuses(t *testing.T) {
	var whole bytes.Buffer
	if err := (&Report{Format: Format}).WriteJSON(&whole); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		is   error
		says string
	}{
		"nothing":         {"", ErrFormat, ""},
		"no JSON":         {"sallyport", ErrFormat, ""},
		"an array":        {"[]", ErrFormat, ""},
		"no format":       {`{"id":"x"}`, ErrFormat, "names no format"},
		"an older format": {`{"format":1,"rounds":[]}`, ErrFormat, "of format 1, written by an older one"},
		"a newer format":  {`{"format":3,"news":1}`, ErrFormat, "of format 3, written by a newer one"},
		"cut short":       {whole.String()[:whole.Len()/2], ErrFormat, ""},
		"something after": {whole.String() + "{}", ErrFormat, ""},
		"unknown field":   {`{"format":2,"flattery":1}`, nil, "flattery"},
		"bad histogram":   {`{"format":2,"rounds":[{"result":{"operations":[{"latency":"!"}]}}]}`, nil, ""},
		"many operations": {`{"format":2,"rounds":[{"result":{"operations":[{}` + strings.Repeat(`,{}`, maxRows) + `]}}]}`, ErrFormat, "101 operations in a round"},
		"many endpoints":  {`{"format":2,"endpoints":["a"` + strings.Repeat(`,"a"`, maxEndpoints) + `]}`, ErrFormat, "65 endpoints"},
	} {
		r, err := Read(strings.NewReader(c.text))
		switch {
		case err == nil || r != nil:
			t.Errorf("%s: read", name)
		case c.is != nil && !errors.Is(err, c.is):
			t.Errorf("%s: %v is not %v", name, err, c.is)
		case !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %q does not say %q", name, err, c.says)
		}
	}
}

// No host and no round of a report holds more than any benchmark's does.
func TestCheckBounds(t *testing.T) {
	for says, r := range map[string]*Report{
		"1000001 seconds in a round": {Rounds: []Round{{}, {Result: load.Result{Seconds: make([]load.Second, maxSeconds+1)}}}},
		"1000001 samples of a host":  {Hosts: []Host{{}, {Samples: make([]evidence.Sample, maxSeconds+1)}}},
		"10001 rounds":               {Rounds: make([]Round, maxRounds+1)},
	} {
		if err := r.check(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

// endless is a reader that counts what was taken of it.
type endless struct{ taken int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.taken += int64(len(p))
	return len(p), nil
}

func TestReadIsBounded(t *testing.T) {
	const most = 1 << 16
	from := new(endless)
	if _, err := read(from, most); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("%v", err)
	}
	if from.taken > most+1 {
		t.Errorf("it took %d bytes of at most %d", from.taken, most)
	}
	if _, err := read(strings.NewReader(`{"format":2}`), 12); err != nil {
		t.Errorf("as long as it may be: %v", err)
	}
}

// What JSON allows must be shown without a panic, and come back as
// it was written.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`{"format":2,"endpoints":["a","b"],"rounds":[{"endpoint":"a","load":-1e308,"sustain":"2026-01-02T03:04:05Z",
		"result":{"scheduled":1,"sustain":-5,"seconds":[{"at":"9999-01-02T03:04:05Z","p99":-1},{"at":"0001-01-02T03:04:05Z","done":18446744073709551615}],
		"operations":[{"name":"wake","latency":"","within_10s":9}],"failures":{"x":1}}}]}`))
	f.Add([]byte(`{"format":2,"endpoints":["a"],"hosts":[{"role":"gateway","cores":-1,"samples":[{"at":"0001-01-01T00:00:00Z","cores":[{"id":-9223372036854775808,"user":1e308},{"id":9,"user":1e308}],
		"interfaces":[{"name":"x","wire_rx_bits":18446744073709551615}],"qdiscs":[{"backlog_bytes":1}],"processes":[{"role":"gateway","rss_kib":-1}]}]}],"rounds":[{"endpoint":"a"}]}`))
	f.Add([]byte(`{"format":2,"endpoints":["a"],"figures":[{"endpoint":"a","name":"f","unit":"ms","rounds":[1e308,-1e308],"median":5e-324,"low":-1e308,"high":1e308}],
		"ratios":[{"name":"f","of":"a","to":"b","median":1e-300,"pairs":1}],"knees":[{"endpoint":"a","load":1e300,"above":1,"tries":[{"load":0.001}]}],"sizing":[{"value":-0.0}],"limits":[{"resource":"link"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		var form bytes.Buffer
		if err := r.WriteJSON(&form); err != nil {
			t.Fatalf("cannot be written back: %v", err)
		}
		if again, err := Read(&form); err != nil || again.ID != r.ID {
			t.Fatalf("cannot be read back: %v", err)
		}
		d := Diff(r, r)
		for _, write := range []func(io.Writer) error{r.WritePage, d.WritePage,
			func(w io.Writer) error { return r.WriteSummary(w, 80, true) }, func(w io.Writer) error { return d.WriteText(w, 80, true) }} {
			if err := write(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A figure that is no number is refused, not written as something else.
func TestWriteJSONRefusesNaN(t *testing.T) {
	r := &Report{Format: Format, Sizing: []Size{{Value: nan()}}}
	var unsupported *json.UnsupportedValueError
	if err := r.WriteJSON(io.Discard); !errors.As(err, &unsupported) {
		t.Errorf("%v", err)
	}
}

// Text that would take far more memory than it is long is refused before it is decoded.
func TestReadRefusesDenseText(t *testing.T) {
	text := `{"format":2,"rounds":[{"result":{"seconds":[` + strings.Repeat("{},", 200_000) + "{}]}}]}"
	if _, err := Read(strings.NewReader(text)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "far more memory") {
		t.Errorf("%v", err)
	}
}

// What no terminal prints is escaped, and comes back.
func TestWriteJSONIsPrintable(t *testing.T) {
	const name = "a\u009b31m\u202eb\U000e0001c\x1b é – 世"
	var text bytes.Buffer
	if err := (&Report{Format: Format, Endpoints: []string{name}}).WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(text.String(), "\u009b\u202e\U000e0001\x1b") || !strings.Contains(text.String(), "é – 世") {
		t.Errorf("%q", &text)
	}
	r, err := Read(&text)
	if err != nil || r.Endpoints[0] != name {
		t.Errorf("%q, %v", r.Endpoints, err)
	}
}
