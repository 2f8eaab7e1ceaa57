package report

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// measure is how the values of one figure are written: all in the same unit and with
// as many decimals, so that they can be compared by eye.
type measure struct {
	factor   float64
	unit     string
	decimals int
}

// ladders are units of the same kind, ascending, each with what one of the base is.
var ladders = map[string][]struct {
	unit   string
	factor float64
}{
	"ms":     {{"µs", 1e3}, {"ms", 1}, {"s", 1e-3}},
	"s":      {{"µs", 1e6}, {"ms", 1e3}, {"s", 1}},
	"Mbit/s": {{"kbit/s", 1e3}, {"Mbit/s", 1}, {"Gbit/s", 1e-3}},
	"KiB":    {{"KiB", 1}, {"MiB", 1. / (1 << 10)}, {"GiB", 1. / (1 << 20)}},
	"MiB/s":  {{"MiB/s", 1}, {"GiB/s", 1. / (1 << 10)}},
}

// measured chooses the measure by a value that is typical, with three significant
// digits of it.
func measured(typical float64, unit string) measure {
	m := measure{factor: 1, unit: plain(unit)}
	for _, step := range ladders[unit] {
		if step.factor == 1 || math.Abs(typical)*step.factor >= 1 {
			m.factor, m.unit = step.factor, step.unit
		}
		if math.Abs(typical)*step.factor < 1000 {
			break
		}
	}
	v := math.Abs(typical * m.factor)
	switch {
	case unit == "" && typical == math.Trunc(typical), v == 0:
	case v < 100:
		m.decimals = min(2-int(math.Floor(math.Log10(v))), 6)
	}
	return m
}

// number writes a value without its unit.
func (m measure) number(v float64) string {
	return grouped(strconv.FormatFloat(v*m.factor, 'f', m.decimals, 64))
}

// quantity writes a value with its unit.
func (m measure) quantity(v float64) string { return withUnit(m.number(v), m.unit) }

// span writes low–high, and nothing where these are the same.
func (m measure) span(low, high float64) string {
	if m.number(low) == m.number(high) {
		return ""
	}
	return m.number(low) + "–" + m.number(high)
}

func withUnit(number, unit string) string {
	switch {
	case unit == "":
		return number
	case strings.HasPrefix(unit, "/"):
		return number + unit
	}
	return number + "\u00a0" + unit
}

// quantity writes one value by itself.
func quantity(v float64, unit string) string { return measured(v, unit).quantity(v) }

// count writes a whole number.
func count[N int | int64 | uint64](n N) string {
	return grouped(strconv.FormatFloat(float64(n), 'f', 0, 64))
}

// significant writes a value with so many digits, and no zeros behind them.
func significant(v float64, digits int) string {
	decimals := 0
	if v != 0 {
		decimals = min(max(0, digits-1-int(math.Floor(math.Log10(math.Abs(v))))), 9)
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return grouped(s)
}

// grouped sets digits before the point in threes and uses a true minus. What is too
// long to read is written with an exponent.
func grouped(s string) string {
	negative := strings.HasPrefix(s, "-")
	whole, rest, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if len(whole) > 18 {
		v, _ := strconv.ParseFloat(s, 64)
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	var b strings.Builder
	if negative && strings.Trim(s, "-0.") != "" {
		b.WriteString("−")
	}
	for i, d := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 && d >= '0' && d <= '9' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	if rest != "" {
		b.WriteString("." + rest)
	}
	return b.String()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// took writes a duration that was measured.
func took(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	return quantity(milliseconds(d), "ms")
}

// lasting writes a duration that was asked for: 90 s, 5 min, 1 h 30 min.
func lasting(d time.Duration) string {
	switch {
	case d < 2*time.Minute || d%time.Minute != 0 && d < time.Hour:
		return significant(d.Seconds(), 4) + "\u00a0s"
	case d < 2*time.Hour && d != time.Hour:
		return count(int64(d/time.Minute)) + "\u00a0min"
	}
	s := count(int64(d/time.Hour)) + "\u00a0h"
	if m := d % time.Hour / time.Minute; m > 0 {
		s += " " + count(int64(m)) + "\u00a0min"
	}
	return s
}

// share writes n of all in per cent, and never rounds to all or nothing what is not.
func share(n, all uint64) string {
	switch {
	case all == 0:
		return "–"
	case n == 0:
		return "0\u00a0%"
	case n >= all:
		return "100\u00a0%"
	}
	v := 100 * float64(n) / float64(all)
	for decimals := 1; decimals < 6; decimals++ {
		s := strconv.FormatFloat(v, 'f', decimals, 64)
		if f, err := strconv.ParseFloat(s, 64); err == nil && f > 0 && f < 100 {
			return s + "\u00a0%"
		}
	}
	if v < 1 {
		return "<\u00a00.00001\u00a0%"
	}
	return ">\u00a099.99999\u00a0%"
}
