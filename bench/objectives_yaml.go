package bench

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// keys are those of an objectives file: what each adds.
var objectiveKeys = map[string]func(*Objectives, *yaml.Node) error{
	"latency":    func(o *Objectives, n *yaml.Node) error { return o.latency("", n) },
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

// latencyKeys are the percentiles, as figures call them.
var latencyKeys = []string{"p50", "p90", "p99", "p99.9", "max"}

func parseObjectives(text []byte) (*Objectives, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 {
		return nil, errors.New("there are no objectives in it")
	}
	o := new(Objectives)
	err := eachKey(document.Content[0], func(key string, _ int, value *yaml.Node) (bool, error) {
		add, known := objectiveKeys[key]
		if !known {
			return false, nil
		}
		return true, add(o, value)
	}, slices.Sorted(maps.Keys(objectiveKeys)))
	if err != nil {
		return nil, err
	}
	if len(o.all) == 0 {
		return nil, errors.New("there are no objectives in it")
	}
	return o, nil
}

// eachKey calls take for every key of a mapping; where it does not know one, the error
// names the nearest of known.
func eachKey(node *yaml.Node, take func(key string, line int, value *yaml.Node) (known bool, err error), known []string) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: keys and values are expected here", node.Line)
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if seen[key.Value] {
			return fmt.Errorf("line %d: %.40q stands there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		is, err := take(key.Value, key.Line, value)
		if err != nil {
			return err
		}
		if !is {
			return fmt.Errorf("line %d: there is no objective %.40q; did you mean %s?", key.Line, key.Value, nearest(key.Value, known))
		}
	}
	return nil
}

func (o *Objectives) operations(node *yaml.Node) error {
	return eachKey(node, func(name string, line int, value *yaml.Node) (bool, error) {
		if name == "" {
			return false, fmt.Errorf("line %d: an operation has a name", line)
		}
		return true, o.latency(name, value)
	}, nil)
}

// latency adds the percentiles of one operation, or of every one.
func (o *Objectives) latency(operation string, node *yaml.Node) error {
	return eachKey(node, func(key string, line int, value *yaml.Node) (bool, error) {
		if !slices.Contains(latencyKeys, key) {
			return false, nil
		}
		limit, err := time.ParseDuration(value.Value)
		if err != nil || limit <= 0 {
			return true, fmt.Errorf("line %d: %.40q is not a time such as 800ms or 2s", line, value.Value)
		}
		text := key + " ≤ " + limit.String()
		if operation != "" {
			text = operation + " " + text
		}
		o.all = append(o.all, objective{text: text, figure: latencyFigure(operation, key), operation: operation,
			limit: milliseconds(limit), unit: "ms"})
		return true, nil
	}, latencyKeys)
}

// single is a key with one value.
func single(of objective, read func(string) (float64, error)) func(*Objectives, *yaml.Node) error {
	return func(o *Objectives, node *yaml.Node) error {
		limit, err := read(strings.TrimSpace(node.Value))
		if err != nil || node.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: %.40q is not a figure in %s", node.Line, node.Value, of.unit)
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
