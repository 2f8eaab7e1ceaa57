package load

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What goes through JSON comes back, three digits are exact, and what lies outside is
// held at the bounds.
func TestHistogram(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 4 {
		var h Histogram
		var longest time.Duration
		for range 1 + 50*n {
			d := time.Duration(math.Exp(random.Float64()*math.Log(float64(histogramHigh)))) * time.Microsecond
			h.Record(d)
			longest = max(longest, d)
		}
		text, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var back Histogram
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		for _, q := range []float64{0, .5, .9, .99, .999, 1} {
			if h.Quantile(q) != back.Quantile(q) {
				t.Fatalf("p%v is %v, and %v again", 100*q, h.Quantile(q), back.Quantile(q))
			}
		}
		if back.Count() != h.Count() || back.Quantile(0) != h.Quantile(0) || back.Mean() != h.Mean() || back.Max() != h.Max() {
			t.Fatal("another one came back")
		}
		if off := math.Abs(float64(h.Max()-longest)) / float64(longest); off > 0.001 {
			t.Fatalf("max %v of %v", h.Max(), longest)
		}
		h.Merge(back)
		if h.Count() != 2*back.Count() || h.Quantile(.5) != back.Quantile(.5) {
			t.Fatal("merged with itself it is another")
		}
	}
}

// A percentile is known where something was beyond it.
func TestPercentile(t *testing.T) {
	for _, c := range []struct {
		q      float64
		enough int
	}{{0.5, 2}, {0.9, 10}, {0.99, 100}, {0.999, 1000}} {
		var h Histogram
		for n := range c.enough {
			if d, known := h.Percentile(c.q); known || d != 0 {
				t.Errorf("%g of %d: %s, %t", c.q, n, d, known)
			}
			h.Record(time.Duration(n+1) * time.Millisecond)
		}
		if d, known := h.Percentile(c.q); !known || d != h.Quantile(c.q) || d >= h.Max() {
			t.Errorf("%g of %d: %s, %t, where the longest is %s", c.q, c.enough, d, known, h.Max())
		}
	}
}

func TestHistogramBounds(t *testing.T) {
	t.Parallel()
	var h Histogram
	if h.Count() != 0 || h.Quantile(.5) != 0 || h.Quantile(0) != 0 || h.Max() != 0 || h.Mean() != 0 || h.Above(0) != 0 {
		t.Error("an empty one is not empty")
	}
	h.Merge(Histogram{})
	if text, err := json.Marshal(h); err != nil || string(text) != `""` {
		t.Errorf("empty: %s, %v", text, err)
	}
	h.Record(-time.Second)
	h.Record(24 * time.Hour)
	if h.Quantile(0) != time.Microsecond || math.Abs(h.Max().Hours()-1) > .001 {
		t.Errorf("%v to %v", h.Quantile(0), h.Max())
	}
	if h.Above(time.Minute) != 1 || h.Above(2*time.Hour) != 0 || h.Quantile(-1) != h.Quantile(0) || h.Quantile(7) != h.Max() {
		t.Error("the bounds do not count")
	}
}

// logs that are none, or of another geometry, or too full, are refused.
func badLogs(t testing.TB) []string {
	var h Histogram
	h.Record(time.Second)
	text, err := h.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	all := []string{"x", good[:len(good)/2], good[:8], "====", strings.Repeat("A", maxHistogramText+4), strings.Replace(good, "H", "I", 1)}
	for _, other := range []*hdrhistogram.Histogram{
		hdrhistogram.New(1, math.MaxInt64/2, 5), // 50 MB if it were inflated
		hdrhistogram.New(1, histogramHigh, 2),
		hdrhistogram.New(1, 1000, 3),
	} {
		_ = other.RecordValue(5)
		log, err := other.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(log))
	}
	full := hdrhistogram.New(histogramLow, histogramHigh, histogramDigits)
	_ = full.RecordValues(5, maxHistogramCount+1)
	log, err := full.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	return append(all, string(log))
}

func TestHistogramIsRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range badLogs(t) {
		var h Histogram
		if err := h.UnmarshalText([]byte(bad)); !errors.Is(err, errHistogram) || h.Count() != 0 {
			t.Errorf("%.40q: %v, %d", bad, err, h.Count())
		}
	}
}

// Whatever comes from another host is an error, or a histogram that says again what
// it was read from.
func FuzzHistogram(f *testing.F) {
	var h Histogram
	h.Record(time.Millisecond)
	h.Record(time.Hour)
	text, err := h.MarshalText()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("")
	for _, bad := range badLogs(f) {
		if len(bad) < 4096 {
			f.Add(bad)
		}
	}
	f.Fuzz(func(t *testing.T, in string) {
		var h Histogram
		if err := h.UnmarshalText([]byte(in)); err != nil {
			if !errors.Is(err, errHistogram) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		again, err := h.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Histogram
		if err := back.UnmarshalText(again); err != nil || back.Count() != h.Count() || back.Quantile(.5) != h.Quantile(.5) {
			t.Fatalf("%d became %d, %v", h.Count(), back.Count(), err)
		}
		h.Merge(back)
	})
}

// What was read is what was written, whatever is done to it, and is small until then.
func TestHistogramThatWasRead(t *testing.T) {
	var made Histogram
	for i := range 1000 {
		made.Record(time.Duration(i+1) * time.Millisecond)
	}
	text, err := made.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	read := func() (h Histogram) {
		if err := h.UnmarshalText(text); err != nil {
			t.Fatal(err)
		}
		return h
	}
	same := func(what string, got, want Histogram) {
		t.Helper()
		if got.Count() != want.Count() || got.Quantile(.5) != want.Quantile(.5) || got.Max() != want.Max() || got.Mean() != want.Mean() ||
			got.Above(time.Second/2) != want.Above(time.Second/2) {
			t.Errorf("%s: %d, %v", what, got.Count(), got.Max())
		}
	}
	same("read", read(), made)
	again, err := read().MarshalText()
	if err != nil || string(again) != string(text) {
		t.Errorf("%v: written again it is another", err)
	}
	one, two := read(), read()
	copied := one
	one.Record(time.Minute)
	two.Merge(copied)
	same("a copy of what was changed", copied, made)
	if one.Count() != 1001 || two.Count() != 2000 || one.Max().Round(time.Second) != time.Minute {
		t.Errorf("%d, %d, %v", one.Count(), two.Count(), one.Max())
	}
	one = read()
	one.reset()
	one.Record(time.Second)
	if one.Count() != 1 {
		t.Errorf("after a reset: %d", one.Count())
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	many := make([]Histogram, 500)
	for i := range many {
		many[i] = read()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / int64(len(many)); each > 20<<10 {
		t.Errorf("%d bytes each", each)
	}
	runtime.KeepAlive(many)
}
