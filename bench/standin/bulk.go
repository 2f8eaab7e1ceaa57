package standin

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
)

// MaxBulk is the largest transfer, in bytes.
const MaxBulk = 1 << 40

// bulkBlock is the unit that the bytes are made and written in.
const bulkBlock = 256 << 10

// ChecksumTrailer is the trailer (RFC 9110 §6.5) behind a bulk download: the
// SHA-256 of the body in hex. A header would have to know it before the first byte.
const ChecksumTrailer = "X-Checksum"

// NewBulk returns n pseudo-random bytes that follow from seed alone: the body of
// GET /bulk?bytes=n&seed=seed, and good to upload. One random block repeats
// with its number at its head, so that it costs little and yet no block can be
// lost, doubled or swapped unseen.
func NewBulk(seed uint64, n int64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	block := make([]byte, bulkBlock)
	_, _ = rand.NewChaCha8(key).Read(block) // never fails
	return &bulk{block: block, at: bulkBlock, left: n}
}

type bulk struct {
	block  []byte
	number uint64 // of the next block
	at     int    // first byte of block not yet given
	left   int64
}

// Read fills p as far as the current block goes.
func (b *bulk) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.EOF
	}
	if b.at == len(b.block) {
		binary.BigEndian.PutUint64(b.block, b.number)
		b.number++
		b.at = 0
	}
	n := copy(p[:min(int64(len(p)), b.left)], b.block[b.at:])
	b.at += n
	b.left -= int64(n)
	return n, nil
}

// bulkDown sends the bytes asked for, and their checksum behind them.
func bulkDown(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	n, err := strconv.ParseInt(query.Get("bytes"), 10, 64)
	if err != nil || n < 0 || n > MaxBulk {
		http.Error(w, fmt.Sprintf("bulk stand-in: bytes must be 0 to %d", int64(MaxBulk)), http.StatusBadRequest)
		return
	}
	var seed uint64
	if text := query.Get("seed"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			http.Error(w, "bulk stand-in: seed must be a number of 64 bits", http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", ChecksumTrailer)
	sum := sha256.New()
	body := io.TeeReader(NewBulk(seed, n), sum)
	if _, err := io.CopyBuffer(rollingWriter{w}, body, make([]byte, bulkBlock)); err != nil {
		// An answer cut short must not look whole: no final chunk, no trailer.
		panic(http.ErrAbortHandler)
	}
	w.Header().Set(ChecksumTrailer, hex.EncodeToString(sum.Sum(nil)))
}

// received is the answer to an upload.
type received struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// bulkUp reads everything and tells what it was.
func bulkUp(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	body := rollingReader{http.MaxBytesReader(w, r.Body, MaxBulk), w}
	n, err := io.CopyBuffer(sum, body, make([]byte, bulkBlock))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		http.Error(w, fmt.Sprintf("bulk stand-in: the body is over %d bytes", int64(MaxBulk)), http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, "bulk stand-in: the body ended too early", http.StatusBadRequest)
		return
	}
	writeJSON(w, http.StatusOK, received{Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))})
}

// rollingWriter and rollingReader give every block its own deadline: a transfer
// may be as long as it likes, as long as it moves. Being plain, they also keep
// io.Copy from its short cuts.
type rollingWriter struct{ w http.ResponseWriter }

func (r rollingWriter) Write(p []byte) (int, error) {
	if err := extend(r.w, 0); err != nil {
		return 0, err
	}
	return r.w.Write(p)
}

type rollingReader struct {
	body io.Reader
	w    http.ResponseWriter
}

func (r rollingReader) Read(p []byte) (int, error) {
	if err := extend(r.w, 0); err != nil {
		return 0, err
	}
	return r.body.Read(p)
}
