package load

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The geometry of every Histogram: microseconds, to three significant digits.
const (
	histogramLow    = 1
	histogramHigh   = int64(time.Hour / time.Microsecond)
	histogramDigits = 3
)

// Histogram is a distribution of durations from 1 µs to 1 h, exact to three digits;
// what lies outside counts as the nearest of the two. The zero value is empty and
// ready. A copy shares what it holds with the original. It is not safe for use by
// several goroutines while one of them records or merges.
//
// Its JSON is a string: an HdrHistogram log (V2, compressed, base64) of microseconds,
// which the tools of that project read; empty for an empty one. One that was read keeps
// that text, and takes 190 KB only while it is looked at: a report has thousands.
type Histogram struct {
	h *hdrhistogram.Histogram // nil if it is empty, or text has it

	text  []byte
	count uint64 // of text
}

// open is what the histogram holds; nil for an empty one.
func (h Histogram) open() *hdrhistogram.Histogram {
	if h.h != nil || h.text == nil {
		return h.h
	}
	opened, err := hdrhistogram.Decode(h.text)
	if err != nil {
		return nil // it was decoded when it was read
	}
	return opened
}

// change is what is recorded to.
func (h *Histogram) change() *hdrhistogram.Histogram {
	if h.h = h.open(); h.h == nil {
		h.h = hdrhistogram.New(histogramLow, histogramHigh, histogramDigits)
	}
	h.text, h.count = nil, 0
	return h.h
}

// Record adds one duration.
func (h *Histogram) Record(d time.Duration) {
	us := min(max(int64(d.Round(time.Microsecond)/time.Microsecond), histogramLow), histogramHigh)
	_ = h.change().RecordValue(us) // cannot fail within the bounds
}

// Merge adds what another holds.
func (h *Histogram) Merge(other Histogram) {
	if other.Count() > 0 {
		h.change().Merge(other.open())
	}
}

// reset empties it, and keeps its memory.
func (h *Histogram) reset() {
	if h.text != nil {
		*h = Histogram{}
	}
	if h.h != nil {
		h.h.Reset()
	}
}

// Count is how many durations were recorded.
func (h Histogram) Count() uint64 {
	if h.h == nil {
		return h.count
	}
	return uint64(h.h.TotalCount())
}

// Quantile is the duration that the share q of all, 0 to 1, does not exceed: 0.99 is
// the 99th percentile. It is 0 for an empty histogram.
func (h Histogram) Quantile(q float64) time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.open().ValueAtQuantile(100*min(max(q, 0), 1))) * time.Microsecond
}

// Percentile is Quantile where at least one was beyond it. Of too few, such as the p99
// of 40, it would be the longest under another name, and is not known.
func (h Histogram) Percentile(q float64) (d time.Duration, known bool) {
	const rounding = 1e-9 // 10×(1−0.9) is a hair less than 1
	if float64(h.Count())*(1-q) < 1-rounding {
		return 0, false
	}
	return h.Quantile(q), true
}

// Above is how many lasted longer than d, as exactly as three digits allow.
func (h Histogram) Above(d time.Duration) uint64 {
	var n uint64
	if h.Count() == 0 {
		return 0
	}
	for _, bar := range h.open().Distribution() {
		if time.Duration(bar.From)*time.Microsecond > d {
			n += uint64(bar.Count)
		}
	}
	return n
}

// Max is the longest; 0 for an empty histogram, as Mean is.
func (h Histogram) Max() time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.open().Max()) * time.Microsecond
}

// Mean is the arithmetic mean.
func (h Histogram) Mean() time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.open().Mean() * float64(time.Microsecond))
}

// MarshalText is the log, empty for an empty histogram.
func (h Histogram) MarshalText() ([]byte, error) {
	if h.Count() == 0 {
		return nil, nil
	}
	if h.text != nil {
		return h.text, nil
	}
	return h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// errHistogram is every error of UnmarshalText.
var errHistogram = errors.New("load: not a histogram of durations")

// The bounds of a log that is read: its text, and the sum of its counts, so that
// merging thousands of them cannot overflow.
const (
	maxHistogramText  = 1 << 20
	maxHistogramCount = 1 << 48
)

// UnmarshalText reads a log of the geometry that this package writes, and no other.
// It may come from another host: the head is looked at before anything is inflated.
func (h *Histogram) UnmarshalText(text []byte) error {
	*h = Histogram{}
	if len(text) == 0 {
		return nil
	}
	if len(text) > maxHistogramText {
		return fmt.Errorf("%w: longer than %d bytes", errHistogram, maxHistogramText)
	}
	if err := checkHistogramHead(text); err != nil {
		return fmt.Errorf("%w: %w", errHistogram, err)
	}
	decoded, err := hdrhistogram.Decode(text)
	if err != nil {
		return fmt.Errorf("%w: %w", errHistogram, err)
	}
	if n := decoded.TotalCount(); n < 0 || n > maxHistogramCount {
		return fmt.Errorf("%w: %d counts", errHistogram, n)
	}
	if n := decoded.TotalCount(); n > 0 {
		h.text, h.count = bytes.Clone(text), uint64(n)
	}
	return nil
}

// checkHistogramHead refuses another geometry: the largest that the format can
// express would take 50 MB.
func checkHistogramHead(text []byte) error {
	packed, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return err
	}
	if len(packed) < 8 {
		return io.ErrUnexpectedEOF
	}
	z, err := zlib.NewReader(bytes.NewReader(packed[8:]))
	if err != nil {
		return err
	}
	var head struct {
		Cookie, Length, Offset, Digits int32
		Low, High                      int64
		Ratio                          float64
	}
	if err := binary.Read(z, binary.BigEndian, &head); err != nil {
		return err
	}
	if head.Digits != histogramDigits || head.Low != histogramLow || head.High != histogramHigh {
		return fmt.Errorf("%d digits from %d to %d", head.Digits, head.Low, head.High)
	}
	return nil
}
