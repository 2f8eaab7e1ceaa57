package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// entry is a value of an objectives file, and where it is.
type entry struct {
	position
	value *yaml.Node
}

// position is where an entry is in the file: its key, with those that it is below
// (latency.p99), and where that begins.
type position struct {
	key          string
	line, column int
}

// mistake is an error about what is there, which the place begins.
func (p position) mistake(format string, args ...any) error {
	text := fmt.Sprintf("line %d, column %d: ", p.line, p.column)
	if p.key != "" {
		text += p.key + ": "
	}
	return errors.New(text + fmt.Sprintf(format, args...))
}

// below is the entry of a key of this one's mapping.
func (e entry) below(key, value *yaml.Node) entry {
	name := shownKey(key.Value)
	if e.key != "" {
		name = e.key + "." + name
	}
	return entry{position{name, key.Line, key.Column}, value}
}

// shownKey bounds what is shown of a key, which is whatever somebody wrote.
func shownKey(key string) string {
	const most = 40
	if quoted := strconv.Quote(key); key == "" || len(key) > most || quoted[1:len(quoted)-1] != key {
		return fmt.Sprintf("%.40q", key)
	}
	return key
}

// objectiveKeys are those of an objectives file: what each adds.
var objectiveKeys = map[string]func(*Objectives, entry) error{
	"latency":    func(o *Objectives, e entry) error { return o.latency("", e) },
	"operations": (*Objectives).operations,
	"within_10s": single(objective{figure: figureWithin10, atLeast: true, unit: "%"}, percent),
	"within_30s": single(objective{figure: figureWithin30, atLeast: true, unit: "%"}, percent),
	"failures":   single(objective{figure: figureFailures, unit: "%"}, percent),
	"throughput": single(objective{figure: figureBodies, atLeast: true, unit: "Mbit/s"}, megabits),
	"gateway_rss_per_tunnel": single(objective{figure: figureRSSPerTunnel, unit: "KiB"},
		func(s string) (float64, error) { return number(strings.TrimSuffix(s, "KiB")) }),
	"gateway_cpu": single(objective{figure: figureGatewayCPU, unit: "cores"},
		func(s string) (float64, error) { return number(strings.TrimSuffix(s, "cores")) }),
}

// latencyKeys are the percentiles, as figures call them, and the longest.
var latencyKeys = func() (keys []string) {
	for _, p := range percentiles {
		keys = append(keys, p.name)
	}
	return append(keys, longest)
}()

// beyond is the share of all that a percentile leaves above it.
func beyond(percentile string) float64 {
	for _, p := range percentiles {
		if p.name == percentile {
			return 1 - p.of
		}
	}
	return 0
}

func parseObjectives(text []byte) (*Objectives, error) {
	var document, another yaml.Node
	in := yaml.NewDecoder(bytes.NewReader(text))
	if err := in.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(document.Content) != 1 {
		return nil, errors.New("there are no objectives in it")
	}
	if err := in.Decode(&another); err == nil {
		return nil, fmt.Errorf("line %d: a second document begins here, and nobody would be judged by it", another.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	o := new(Objectives)
	all := document.Content[0]
	err := entry{position{line: all.Line, column: all.Column}, all}.each(func(name string, e entry) (bool, error) {
		add, known := objectiveKeys[name]
		if !known {
			return false, nil
		}
		return true, add(o, e)
	}, slices.Sorted(maps.Keys(objectiveKeys)))
	if err != nil {
		return nil, err
	}
	if len(o.all) == 0 {
		return nil, errors.New("there are no objectives in it")
	}
	return o, nil
}

// each calls take for every key of the entry's mapping; where it does not know one, the
// error names the nearest of known.
func (e entry) each(take func(name string, of entry) (known bool, err error), known []string) error {
	if e.value.Kind != yaml.MappingNode {
		return e.mistake("keys and values are expected here")
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(e.value.Content); i += 2 {
		name := e.value.Content[i].Value
		of := e.below(e.value.Content[i], e.value.Content[i+1])
		if seen[name] {
			return of.mistake("stands there twice")
		}
		seen[name] = true
		is, err := take(name, of)
		if err != nil {
			return err
		}
		if !is {
			return of.mistake("there is no such objective; did you mean %s?", nearest(name, known))
		}
	}
	return nil
}

func (o *Objectives) operations(all entry) error {
	return all.each(func(name string, e entry) (bool, error) {
		if name == "" {
			return false, e.mistake("an operation has a name")
		}
		return true, o.latency(name, e)
	}, nil)
}

// latency adds the percentiles of one operation, or of every one.
func (o *Objectives) latency(operation string, of entry) error {
	return of.each(func(name string, e entry) (bool, error) {
		if !slices.Contains(latencyKeys, name) {
			return false, nil
		}
		limit, err := time.ParseDuration(e.value.Value)
		if err != nil || limit <= 0 || e.value.Kind != yaml.ScalarNode { // of an alias it is the anchor's name
			return true, e.mistake("%.40q is not a time such as 800ms or 2s", e.value.Value)
		}
		text := name + " ≤ " + limit.String()
		if operation != "" {
			text = operation + " " + text
		}
		o.all = append(o.all, objective{text: text, percentile: name, operation: operation, beyond: beyond(name),
			limit: milliseconds(limit), unit: "ms", at: of.position})
		return true, nil
	}, latencyKeys)
}

// single is a key with one value.
func single(of objective, read func(string) (float64, error)) func(*Objectives, entry) error {
	return func(o *Objectives, e entry) error {
		limit, err := read(strings.TrimSpace(e.value.Value))
		if err != nil || e.value.Kind != yaml.ScalarNode {
			return e.mistake("%.40q is not a figure in %s", e.value.Value, of.unit)
		}
		sign := " ≤ "
		if of.atLeast {
			sign = " ≥ "
		}
		each := of
		each.limit = limit
		each.text = of.figure + sign + strconv.FormatFloat(limit, 'g', -1, 64) + " " + of.unit
		o.all = append(o.all, each)
		return nil
	}
}

var errNumber = errors.New("not a number of 0 or more")

func number(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, errNumber
	}
	return v, nil
}

// percent wants its sign: 0.1 could as well be meant as a share.
func percent(text string) (float64, error) {
	digits, is := strings.CutSuffix(text, "%")
	if !is {
		return 0, errNumber
	}
	v, err := number(digits)
	if v > 100 {
		return 0, errNumber
	}
	return v, err
}

// megabits reads 900 Mbit/s and 10 Gbit/s.
func megabits(text string) (float64, error) {
	if digits, is := strings.CutSuffix(text, "Gbit/s"); is {
		v, err := number(digits)
		if math.IsInf(1000*v, 0) {
			return 0, errNumber
		}
		return 1000 * v, err
	}
	digits, is := strings.CutSuffix(text, "Mbit/s")
	if !is {
		return 0, errNumber
	}
	return number(digits)
}

// nearest is the known word that takes the fewest changes to reach.
func nearest(word string, known []string) string {
	best, least := "", math.MaxInt
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's: letters inserted, left out or exchanged.
func distance(a, b string) int {
	if len(a) > 64 { // of a hostile file
		a = a[:64]
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
