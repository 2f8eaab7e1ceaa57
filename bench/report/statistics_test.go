package report

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport/sallyport/bench/report/chart"
)

func nan() float64 { return math.NaN() }

// TestSpread checks the median by what it is: as many values above as below.
func TestSpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e9, 1e9), 1, 12).Draw(t, "values")
		before := slices.Clone(values)
		low, median, high := spread(values)
		if !slices.Equal(values, before) {
			t.Fatal("the values were touched")
		}
		if low != slices.Min(values) || high != slices.Max(values) {
			t.Fatalf("%v to %v", low, high)
		}
		above, below := 0, 0
		for _, v := range values {
			if v > median {
				above++
			}
			if v < median {
				below++
			}
		}
		if above > len(values)/2 || below > len(values)/2 {
			t.Fatalf("median %v of %v: %d above, %d below", median, values, above, below)
		}
	})
}

func TestFigureOfNothing(t *testing.T) {
	f := NewFigure("a", "f", "ms", "lower", []float64{nan(), math.Inf(1)})
	if len(f.Rounds) != 0 || f.Median != 0 || f.Low != 0 || f.High != 0 {
		t.Errorf("%+v", f)
	}
}

func TestRatioIsPaired(t *testing.T) {
	// The medians are 2 and 20; by pairs the ratio is 1 in most rounds.
	of := NewFigure("a", "f", "ms", "lower", []float64{1, 2, 30})
	to := NewFigure("b", "f", "ms", "lower", []float64{1, 20, 30})
	r := NewRatio(of, to)
	if r.Median != 1 || r.Low != 0.1 || r.High != 1 || r.Pairs != 3 {
		t.Errorf("%+v", r)
	}
	if r := NewRatio(of, NewFigure("b", "f", "ms", "lower", []float64{0, 0, 0})); r.Pairs != 0 || r.Median != 0 {
		t.Errorf("divided by zero: %+v", r)
	}
	// A round without a number takes its partner with it, and shifts no other.
	of = NewFigure("a", "f", "ms", "lower", []float64{nan(), 2, 30, 4})
	to = NewFigure("b", "f", "ms", "lower", []float64{7, 20, math.Inf(1), 40})
	if r := NewRatio(of, to); r.Pairs != 2 || r.Low != 0.1 || r.Median != 0.1 || r.High != 0.1 {
		t.Errorf("rounds without numbers: %+v", r)
	}
}

func TestConfidence(t *testing.T) {
	for rounds := range 12 {
		s := Confidence(rounds)
		if few := rounds < Enough; few != (strings.Contains(s, "too few") || strings.Contains(s, "No round")) {
			t.Errorf("%d rounds: %s", rounds, s)
		}
	}
	for rounds, want := range map[int]string{5: "93.8", 6: "96.9", 8: "99.2"} {
		if s := Confidence(rounds); !strings.Contains(s, want+" %") {
			t.Errorf("%d rounds: %s", rounds, s)
		}
	}
}

func TestQuantities(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{0, "ms", "0 ms"}, {0.0873, "ms", "87.3 µs"}, {1, "ms", "1.00 ms"}, {412.4, "ms", "412 ms"}, {3104, "ms", "3.10 s"},
		{9410, "Mbit/s", "9.41 Gbit/s"}, {0.5, "Mbit/s", "500 kbit/s"}, {8.86, "KiB", "8.86 KiB"}, {32 << 20, "KiB", "32.0 GiB"},
		{1234567, "/s", "1,234,567/s"}, {1500, "", "1,500"}, {99.93, "%", "99.9 %"}, {-3, "", "−3"}, {-0.001, "ms", "−1.00 µs"},
		{1e30, "", "1e+30"}, {2500, "devices", "2,500 devices"},
	} {
		if got := strings.ReplaceAll(quantity(c.v, c.unit), "\u00a0", " "); got != c.want {
			t.Errorf("%v %s is written %q, not %q", c.v, c.unit, got, c.want)
		}
	}
}

// TestShareNeverFlatters: what is not all is never written as 100 %, nor something as
// nothing.
func TestShareNeverFlatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.Uint64Range(1, 1<<40).Draw(t, "all")
		n := rapid.Uint64Range(0, all).Draw(t, "n")
		s := strings.ReplaceAll(share(n, all), "\u00a0", " ")
		if (s == "100 %") != (n == all) || (s == "0 %") != (n == 0) {
			t.Fatalf("%d of %d is written %s", n, all, s)
		}
	})
	for n, want := range map[uint64]string{99_990: "99.99 %", 99_999: "99.999 %", 50_000: "50.0 %", 1: "0.001 %"} {
		// The first decimals that do not round to all or nothing are enough.
		if got := strings.ReplaceAll(share(n, 100_000), "\u00a0", " "); got != want {
			t.Errorf("%d of 100,000 is written %s, not %s", n, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"eth0":                "eth0",
		"äöü € – 日本":          "äöü € – 日本",
		"a\x1b[31mb\r\nc\x00": `a\u001b[31mb\u000d\u000ac\u0000`,
		"user\u202egpj.exe":   `user\u202egpj.exe`,
		"a\u200bb\ufeff":      `a\u200bb\ufeff`,
		"a\u2028b\u0085c":     `a\u2028b\u0085c`,
		"bad\xff\xfeutf":      `bad\xff\xfeutf`,
		"\uFFFD":              "\uFFFD",
	} {
		if got := plain(in); got != want {
			t.Errorf("%q is shown as %q, not %q", in, got, want)
		}
	}
	if got := plain(strings.Repeat("x", 10*longest)); len([]rune(got)) != longest+1 {
		t.Errorf("%d runes", len([]rune(got)))
	}
}

func TestShellLine(t *testing.T) {
	if got, want := shellLine([]string{"a", "--to", "x?y=1&z", "it's", ""}), `a --to 'x?y=1&z' 'it'\''s' ''`; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

// A count is of a whole second: where all was done that fell due, the two lines are one.
func TestCountsAreStepped(t *testing.T) {
	points := []chart.Point{{X: 0, Y: 120, Low: 110, High: 130}, {X: 1, Y: 200, Low: 190, High: 210}, {X: 2}}
	want := []chart.Point{points[0], {X: 1, Y: 120, Low: 110, High: 130}, points[1], {X: 2, Y: 200, Low: 190, High: 210}, points[2]}
	if got := stepped(points); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := stepped(nil); len(got) != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}
