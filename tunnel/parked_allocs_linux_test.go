package tunnel

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime/debug"
	"testing"

	"github.com/sallyport/sallyport/tunnel/record"
)

// TestParkedAllocatesNoBuffer: what a parked tunnel moves costs no allocation, in
// either direction, but for the 16 bytes with which the goroutine is started that
// moves it. The far ends send and take ciphertext that was made before, or is not
// opened, so that all there is to count is the tunnel's.
func TestParkedAllocatesNoBuffer(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties the pools
	const rounds = 200
	for _, k := range append(forgedKinds(), forgedKind{name: "TCP/parked"}) {
		for _, up := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/up=%v", k.name, up), func(t *testing.T) {
				allowed := 1.0 + poolMisses
				if up && k.records == StdRecords && k.name != "TCP/parked" {
					allowed += 3 // crypto/tls's, one for each read of below: header, body, nothing
				}
				play := pump(t, k, up, rounds+20)
				for range 10 {
					play() // the pools, stacks and poller's slots have what they need
				}
				if n := testing.AllocsPerRun(rounds, play); n > allowed {
					t.Errorf("%v allocations for a load", n)
				}
			})
		}
	}
}

// pump gives what moves one load of 16 KiB through a tunnel, and waits for it. It
// can be called as often as said.
func pump(t *testing.T, k forgedKind, up bool, most int) func() {
	buf := make([]byte, record.MaxRecord)
	content := noise(record.MaxContent, 1)
	if k.name == "TCP/parked" {
		r, run := joinRig(t, parkedKinds()[0], Limits{})
		run()
		from, to := r.client, r.service
		if !up {
			from, to = to, from
		}
		return func() {
			write(t, from, content)
			if _, err := io.ReadFull(to, buf[:len(content)]); err != nil {
				t.Error(err)
			}
		}
	}
	r, f, run := k.join(t, Limits{})
	run()
	if !up {
		wire := below(r.client)
		return func() {
			write(t, r.service, content)
			for left := len(content); left > 0; {
				left -= skipRecord(t, wire, buf)
			}
		}
	}
	var records [][]byte
	for range most {
		records = append(records, f.seal(23, content...))
	}
	i := 0
	return func() {
		write(t, below(r.client), records[i])
		i++
		if _, err := io.ReadFull(r.service, buf[:len(content)]); err != nil {
			t.Error(err)
		}
	}
}

// skipRecord reads a record and returns how much content it has, without padding.
func skipRecord(t *testing.T, from io.Reader, buf []byte) int {
	if _, err := io.ReadFull(from, buf[:record.HeaderSize]); err != nil {
		t.Fatal(err)
	}
	n := int(binary.BigEndian.Uint16(buf[3:]))
	if _, err := io.ReadFull(from, buf[:n]); err != nil {
		t.Fatal(err)
	}
	return n - record.TrailerSize
}
