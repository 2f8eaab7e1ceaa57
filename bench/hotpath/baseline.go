package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// committed are the baselines of the repository, so that the program finds them
// wherever it runs.
//
//go:embed baselines
var committed embed.FS

// fingerprint is what must be the same for figures to be comparable. It names a
// kind of machine rather than one: nothing in it says whose it is.
type fingerprint struct {
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`       // that this process may use
	Memory int    `json:"memory_gib"` // rounded up, for the kernel keeps some
	System string `json:"system"`
	Kernel string `json:"kernel"` // major.minor
	Go     string `json:"go"`     // of the naive gateway
}

func (m machine) fingerprint() fingerprint {
	return fingerprint{
		CPU: m.CPU, CPUs: min(m.Cores, runtime.GOMAXPROCS(0)), Memory: m.Memory,
		System: runtime.GOOS + "/" + runtime.GOARCH, Kernel: majorMinor(m.Kernel), Go: m.Go,
	}
}

// majorMinor takes "Linux 6.18.44-x x86_64" for 6.18, and gives nothing for what
// is not of that form.
func majorMinor(kernel string) string {
	fields := strings.Fields(kernel)
	if len(fields) < 2 {
		return ""
	}
	numbers := strings.SplitN(fields[1], ".", 3)
	if len(numbers) < 2 {
		return ""
	}
	minor, _, _ := strings.Cut(numbers[1], "-")
	return numbers[0] + "." + minor
}

// memoryGiB is zero if the text does not say.
func memoryGiB(meminfo []byte) int {
	for line := range bytes.Lines(meminfo) {
		fields := strings.Fields(string(line))
		if len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return int((kib + 1<<20 - 1) >> 20)
		}
	}
	return 0
}

// tells is whether machines that differ have fingerprints that do.
func (f fingerprint) tells() bool {
	return f.CPU != "" && f.CPU != "unknown" && f.CPUs > 0 && f.Memory > 0 && f.Kernel != "" && f.Go != ""
}

func (f fingerprint) String() string {
	return fmt.Sprintf("%s, %d CPUs, %d GiB, %s, kernel %s, %s", f.CPU, f.CPUs, f.Memory, f.System, f.Kernel, f.Go)
}

// file is the name of the machine's baseline.
func (f fingerprint) file() string {
	sum := sha256.Sum256([]byte(f.String()))
	return hex.EncodeToString(sum[:6]) + ".json"
}

// sizes are what of a plan changes what is measured. Rounds do not.
type sizes struct {
	Bulk        int64         `json:"bulk"`
	Tunnels     int           `json:"tunnels"`
	Connections int           `json:"connections"`
	Streams     int           `json:"streams"`
	After       time.Duration `json:"after_ns"`
	Tickets     int           `json:"tickets"`
	Setups      int           `json:"setups"`
	Pings       int           `json:"pings"`
	Parallel    int           `json:"parallel"`
}

func (p plan) sizes() sizes {
	return sizes{p.Bulk, p.Tunnels, p.Connections, p.Streams, p.After, p.Tickets, p.Setups, p.Pings, p.Parallel}
}

// differ says in which sizes, this one's before the other's, as flags have them.
func (s sizes) differ(other sizes) string {
	var said []string
	s.Bulk, other.Bulk = s.Bulk>>20, other.Bulk>>20
	a, b := reflect.ValueOf(s), reflect.ValueOf(other)
	for i := range a.NumField() {
		if mine, other := a.Field(i).Interface(), b.Field(i).Interface(); mine != other {
			said = append(said, fmt.Sprintf("-%s %v, not %v", strings.ToLower(a.Type().Field(i).Name), mine, other))
		}
	}
	return strings.Join(said, ", ")
}

// baselineFormat is of the files. Another one is refused.
const baselineFormat = 1

// baseline is a run that later ones are held against.
type baseline struct {
	Format    int         `json:"format"`
	Machine   fingerprint `json:"machine"`
	Date      time.Time   `json:"date"`
	Sallyport string      `json:"sallyport"`
	Sizes     sizes       `json:"sizes"`
	Figures   []kept      `json:"figures"`

	file string // its name
}

// kept is a row of the report as a baseline has it.
type kept struct {
	Figure  string  `json:"figure"`
	Gateway string  `json:"gateway"`
	Unit    string  `json:"unit,omitempty"`
	Value   spread  `json:"value"`
	Ratio   *spread `json:"times_naive,omitempty"`
}

func newBaseline(r report) baseline {
	is := r.Machine.fingerprint()
	b := baseline{
		Format: baselineFormat, Machine: is, Date: r.Machine.Date, Sallyport: r.Machine.Sallyport,
		Sizes: r.Plan.sizes(), file: is.file(),
	}
	for _, made := range r.Rows {
		k := kept{made.Figure, made.Gateway, made.Unit, made.Value.rounded(), nil}
		if made.Ratio != nil {
			ratio := made.Ratio.rounded()
			k.Ratio = &ratio
		}
		b.Figures = append(b.Figures, k)
	}
	return b
}

// rounded keeps four digits: the fifth is noise, and would be in every diff.
func (s spread) rounded() spread {
	four := func(x float64) float64 {
		short, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64)
		return short
	}
	return spread{four(s.Min), four(s.Median), four(s.Max)}
}

// encode writes a figure a line, so that a diff shows which have changed.
func (b baseline) encode() ([]byte, error) {
	figures := b.Figures
	b.Figures = []kept{}
	head, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return nil, err
	}
	text := bytes.NewBuffer(bytes.TrimSuffix(head, []byte("]\n}")))
	for i, k := range figures {
		line, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(text, "\n    %s", line)
	}
	text.WriteString("\n  ]\n}\n")
	return text.Bytes(), nil
}

// save writes the file whole or not at all.
func (b baseline) save(folder string) (err error) {
	text, err := b.encode()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".baseline-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(folder, b.file))
}

// loadBaseline gives nil if the folder has none of that machine.
func loadBaseline(folder fs.FS, is fingerprint) (*baseline, error) {
	if !is.tells() {
		return nil, nil
	}
	name := is.file()
	text, err := fs.ReadFile(folder, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	b, err := parseBaseline(text)
	if err == nil && b.Machine != is {
		err = fmt.Errorf("it is of another machine: %v", b.Machine)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	b.file = name
	return b, nil
}

func parseBaseline(text []byte) (*baseline, error) {
	var b baseline
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&b); err != nil {
		return nil, err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the end")
	}
	if b.Format != baselineFormat {
		return nil, fmt.Errorf("its format is %d, not %d", b.Format, baselineFormat)
	}
	if len(b.Figures) == 0 {
		return nil, errors.New("it has no figures")
	}
	type place struct{ figure, gateway string }
	seen := make(map[place]bool)
	for _, k := range b.Figures {
		at := place{k.Figure, k.Gateway}
		switch {
		case k.Figure == "" || k.Gateway == "":
			return nil, errors.New("a figure has no name or no gateway")
		case seen[at]:
			return nil, fmt.Errorf("%q of %s is there twice", k.Figure, k.Gateway)
		case !k.Value.ordered() || k.Ratio != nil && !k.Ratio.ordered():
			return nil, fmt.Errorf("%q of %s: min, median and max are not in order", k.Figure, k.Gateway)
		}
		seen[at] = true
	}
	return &b, nil
}

func (s spread) ordered() bool { return s.Min <= s.Median && s.Median <= s.Max }
