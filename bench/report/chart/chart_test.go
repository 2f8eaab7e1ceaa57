package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func draw(t interface{ Fatal(...any) }, c interface{ WriteSVG(io.Writer) error }) string {
	var b strings.Builder
	if err := c.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// shapes are the elements of a drawing with their attributes; texts what is written.
func shapes(t interface{ Fatal(...any) }, svg string) (out []map[string]string, texts []string) {
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out, texts
		}
		if err != nil {
			t.Fatal(err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			m := map[string]string{"": token.Name.Local}
			for _, a := range token.Attr {
				m[a.Name.Local] = a.Value
			}
			out = append(out, m)
		case xml.CharData:
			texts = append(texts, string(token))
		}
	}
}

func labels(a Axis, low, high float64) []string {
	var out []string
	for _, t := range a.over(extent{low, high}, 0, 100, 1).ticks {
		out = append(out, t.label)
	}
	return out
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		axis      Axis
		low, high float64
		want      string
	}{
		{Axis{}, 0, 37, "0 10 20 30 40"},
		{Axis{}, 12, 99, "0 50 100"},
		{Axis{}, 0, 0, "0 0.5 1"},
		{Axis{}, -3, 4, "-2 0 2 4"},
		{Axis{Min: 0, Max: 100}, 0, 8, "0 50 100"},
		{Axis{Scale: Clock}, 0, 60, "0 10 20 30 40 50 60"},
		{Axis{Scale: Clock}, 0, 500, "0 120 240 360 480"},
		{Axis{Scale: Clock}, 0, 7200, "0 1800 3600 5400 7200"},
		{Axis{Scale: Log}, 3, 4000, "10 100 1000"},
		{Axis{Scale: Log}, 20, 90, "20 50 100"},
		{Axis{Scale: Nines}, 0, 3.9, "0|50 %|90 %|99 %|99.9 %"},
		{Axis{Scale: Ordinal}, 0, 4, "0 1 2 3"},
		{Axis{Scale: Ordinal}, 0, 64, "0 5 10 15 20 25 30 35 40 45 50 55 60"},
	} {
		separator := " "
		if strings.Contains(c.want, "|") {
			separator = "|"
		}
		if got := strings.Join(labels(c.axis, c.low, c.high), separator); got != c.want {
			t.Errorf("%+v over %v to %v: %s, not %s", c.axis, c.low, c.high, got, c.want)
		}
	}
}

// TestTicksAreOfTheUnit: an axis of 80,000 KiB is one of MiB, with round numbers of it.
func TestTicksAreOfTheUnit(t *testing.T) {
	c := &Chart{Layers: []Layer{{Points: []Point{{X: 0, Y: 10_000}, {X: 1, Y: 80_000}}}}}
	c.Y.Measure = func(float64) (string, float64) { return "MiB", 1. / 1024 }
	_, texts := shapes(t, draw(t, c))
	for _, want := range []string{"MiB", "0", "20", "40", "60", "80"} {
		if !slices.Contains(texts, want) {
			t.Errorf("no %q in %q", want, texts)
		}
	}
}

// TestAnything draws whatever numbers there are: it is well-formed, within the frame,
// and labels of the X axis do not run into one another.
func TestAnything(t *testing.T) {
	number := rapid.OneOf(rapid.Float64Range(-1e6, 1e6), rapid.Float64(), rapid.SampledFrom([]float64{0, math.NaN(), math.Inf(1), math.Inf(-1), 5e-324, math.MaxFloat64}))
	rapid.Check(t, func(t *rapid.T) {
		point := rapid.Custom(func(t *rapid.T) Point {
			return Point{X: number.Draw(t, "x"), Y: number.Draw(t, "y"), Low: number.Draw(t, "low"), High: number.Draw(t, "high")}
		})
		layer := rapid.Custom(func(t *rapid.T) Layer {
			return Layer{Kind: Kind(rapid.IntRange(int(Line), int(Bar)).Draw(t, "kind")), Points: rapid.SliceOfN(point, 0, 6).Draw(t, "points")}
		})
		c := &Chart{Layers: rapid.SliceOfN(layer, 0, 4).Draw(t, "layers"), Rules: []Rule{{Y: number.Draw(t, "rule"), Wanted: true}},
			Shades: []Shade{{number.Draw(t, "from"), number.Draw(t, "to")}}}
		c.X.Scale = Scale(rapid.IntRange(int(Linear), int(Ordinal)).Draw(t, "x scale"))
		c.Y.Scale = rapid.SampledFrom([]Scale{Linear, Log}).Draw(t, "y scale")
		Share(c, c)
		all, _ := shapes(t, draw(t, c))
		for _, s := range all {
			for _, name := range []string{"y", "y1", "y2", "cy"} {
				if v, err := strconv.ParseFloat(s[name], 64); s[name] != "" && (err != nil || v < 0 || v > c.height()) {
					t.Fatalf("%v lies outside", s)
				}
			}
		}
	})
}

func TestLabelsKeepApart(t *testing.T) {
	for high := 1.0; high < 100_000; high *= 1.3 {
		c := &Chart{Layers: []Layer{{Points: []Point{{X: 0, Y: 1}, {X: high, Y: 2}}}}}
		c.X = Axis{Scale: Clock, Format: func(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + " seconds" }}
		all, texts := shapes(t, draw(t, c))
		end, n := math.Inf(-1), 0
		for _, s := range all {
			if s[""] != "text" {
				continue
			}
			if label := texts[n]; strings.HasSuffix(label, " seconds") && s["text-anchor"] == "middle" {
				at, _ := strconv.ParseFloat(s["x"], 64)
				half := 3 * float64(len(label))
				if at-half < end {
					t.Errorf("to %v: %q begins at %v, the one before ends at %v", high, label, at-half, end)
				}
				end = at + half
			}
			n++
		}
	}
}

func TestStack(t *testing.T) {
	points := func(ys ...float64) (out []Point) {
		for x, y := range ys {
			out = append(out, Point{X: float64(x), Y: y})
		}
		return out
	}
	c := &Chart{Layers: []Layer{{Kind: Area, Points: points(1, 2)}, {Kind: Line, Points: points(9, 9)}, {Kind: Area, Points: points(10, 20)}}}
	got := stack(c.Layers)[2].Points
	if want := []Point{{X: 0, Low: 1, High: 11}, {X: 1, Low: 2, High: 22}}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if c.Layers[0].Points[0].High != 0 {
		t.Error("the chart's own points were touched")
	}
}

// TestGap: a line does not bridge what is not known.
func TestGap(t *testing.T) {
	c := &Chart{Layers: []Layer{{Points: []Point{{X: 0, Y: 1}, {X: 1, Y: math.NaN()}, {X: 2, Y: 1}, {X: 3, Y: 2}}}}}
	all, _ := shapes(t, draw(t, c))
	for _, s := range all {
		if s[""] == "path" && (strings.Count(s["d"], "M") != 2 || strings.Count(s["d"], "L") != 1) {
			t.Errorf("%s", s["d"])
		}
	}
}

func TestShare(t *testing.T) {
	small := &Chart{Layers: []Layer{{Points: []Point{{X: 0, Y: 1}, {X: 1, Y: 3}}}}}
	large := &Chart{Layers: []Layer{{Points: []Point{{X: 0, Y: 1}, {X: 9, Y: 300}}}}}
	empty := &Chart{}
	Share(small, large, empty)
	_, a := shapes(t, draw(t, small))
	_, b := shapes(t, draw(t, large))
	if !slices.Equal(a, b) || !slices.Contains(a, "300") {
		t.Errorf("%v and %v", a, b)
	}
}

// TestTextIsText: titles, labels and rules are other people's.
func TestTextIsText(t *testing.T) {
	const hostile = `"><script>alert(1)</script>&amp;`
	c := &Chart{Title: hostile, X: Axis{Label: hostile}, Y: Axis{Label: hostile, Format: func(float64) string { return hostile }},
		Rules: []Rule{{Y: 1, Label: hostile}}, Layers: []Layer{{Points: []Point{{X: 0, Y: 1}, {X: 1, Y: 2}}}}}
	all, texts := shapes(t, draw(t, c))
	if all[0]["aria-label"] != hostile || !slices.Contains(texts, hostile) {
		t.Errorf("%v, %v", all[0], texts)
	}
	_, texts = shapes(t, draw(t, &Chart{Empty: hostile}))
	if !slices.Equal(texts, []string{hostile, "\n"}) {
		t.Errorf("%q", texts)
	}
}

func TestStrip(t *testing.T) {
	s := Strip{Title: "<", Rows: []Row{{Values: []float64{1, 2, 3, math.NaN()}, Median: 2}, {Tone: 1, Values: []float64{5}, Median: math.NaN()}}}
	all, _ := shapes(t, draw(t, s))
	dots := 0
	for _, shape := range all {
		if shape[""] == "circle" {
			dots++
		}
	}
	if dots != 4 || all[0]["viewBox"] != "0 0 120 30" {
		t.Errorf("%d dots in %v", dots, all[0])
	}
	for _, same := range [][]float64{nil, {7, 7}} {
		shapes(t, draw(t, Strip{Rows: []Row{{Values: same}}}))
	}
}
