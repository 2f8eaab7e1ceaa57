package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sallyport/sallyport/bench/load"
)

// MaxBytes bounds the JSON form of a report.
const MaxBytes = 256 << 20

var (
	// ErrTooLarge is a report of more than MaxBytes.
	ErrTooLarge = errors.New("a report is at most 256 MiB")
	// ErrFormat is a report of another format than Format, or no report at all.
	ErrFormat = errors.New("not a report that this version of sallyport reads")
)

// WriteJSON writes the record. It fails if a figure is not a number, which JSON
// cannot hold; NewFigure and NewRatio make none such.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(escaping{w})
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// escaping writes what no terminal prints as JSON's escapes: control characters beyond
// ASCII, and those that turn text around. In JSON they stand within strings only.
type escaping struct{ w io.Writer }

func (e escaping) Write(text []byte) (int, error) {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r < utf8.RuneSelf || unicode.IsPrint(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	if _, err := e.w.Write(out); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Read reads what WriteJSON wrote. A report of another format, one with fields that
// this version does not know, one that is cut short or has something behind it, and
// one that is larger than any benchmark's is an error.
func Read(from io.Reader) (*Report, error) { return read(from, MaxBytes) }

func read(from io.Reader, most int64) (*Report, error) {
	text, err := io.ReadAll(io.LimitReader(from, most+1))
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if int64(len(text)) > most {
		return nil, ErrTooLarge
	}
	if load.TooDense(text, freeObjects, sparse) {
		return nil, fmt.Errorf("%w: it would take far more memory than its %d bytes", ErrFormat, len(text))
	}
	// The format first: what else another one holds is not for us to complain about.
	var head struct {
		Format *int `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if head.Format == nil {
		return nil, fmt.Errorf("%w: it names no format", ErrFormat)
	}
	switch has := *head.Format; {
	case has > Format:
		return nil, fmt.Errorf("%w: it is of format %d, written by a newer one; this one reads format %d only", ErrFormat, has, Format)
	case has < Format:
		return nil, fmt.Errorf("%w: it is of format %d, written by an older one, whose figures do not compare; this one reads format %d only", ErrFormat, has, Format)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	r := new(Report)
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	// Nothing may stand behind it: Unmarshal above has seen to that.
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

// What a report may hold at most. No benchmark comes near it; a made-up file must not
// keep its reader busy for days.
const (
	freeObjects  = 100_000
	sparse       = 64 // bytes of each further object, on average: of what a run writes it is more than 150
	maxEndpoints = 64
	maxHosts     = 1024
	maxRounds    = 10_000
	maxFigures   = 10_000
	maxSeconds   = 1_000_000 // of a round, and samples of a host: more than any run, of this program or a later one
	maxRows      = 100       // operations of a round
)

func (r *Report) check() error {
	var seconds, rows, samples int
	for _, round := range r.Rounds {
		seconds, rows = max(seconds, len(round.Result.Seconds)), max(rows, len(round.Result.Operations))
	}
	for _, h := range r.Hosts {
		samples = max(samples, len(h.Samples))
	}
	for _, n := range []struct {
		what       string
		has, limit int
	}{
		{"endpoints", len(r.Endpoints), maxEndpoints},
		{"hosts", len(r.Hosts), maxHosts},
		{"rounds", len(r.Rounds), maxRounds},
		{"figures", len(r.Figures), maxFigures},
		{"ratios", len(r.Ratios), maxFigures},
		{"verdicts", len(r.Verdicts), maxFigures},
		{"limits", len(r.Limits), maxEndpoints},
		{"knees", len(r.Knees), maxEndpoints},
		{"seconds in a round", seconds, maxSeconds},
		{"operations in a round", rows, maxRows},
		{"samples of a host", samples, maxSeconds},
	} {
		if n.has > n.limit {
			return fmt.Errorf("%w: it has %d %s, and at most %d are read", ErrFormat, n.has, n.what, n.limit)
		}
	}
	return nil
}
