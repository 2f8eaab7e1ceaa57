package tunnel

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/tunnel/record"
)

// TestKeysChangeOften: both directions go on to new keys again and again, with
// data between, and not a byte is lost.
func TestKeysChangeOften(t *testing.T) {
	for _, k := range forgedKinds() {
		r, f, run := k.join(t, Limits{})
		run()
		for i := range 200 {
			up, down := noise(50+i, 1), noise(5000+i, 2)
			b := append(f.update(t, byte(i%2)), f.seal(23, up...)...)
			write(t, below(r.client), b)
			got := make([]byte, len(up))
			if _, err := io.ReadFull(r.service, got); err != nil || !bytes.Equal(got, up) {
				t.Fatalf("%s: up %d: %v", k.name, i, err)
			}
			write(t, r.service, down)
			got = make([]byte, len(down))
			if _, err := io.ReadFull(r.client, got); err != nil || !bytes.Equal(got, down) {
				t.Fatalf("%s: down %d: %v", k.name, i, err)
			}
		}
	}
}

// TestKeysAskedForOnceTheServiceIsDone: the client asks for new keys when it has
// been sent the end, and goes on to upload. Nothing can be sent in answer.
func TestKeysAskedForOnceTheServiceIsDone(t *testing.T) {
	for _, k := range forgedKinds() {
		r, f, run := k.join(t, Limits{})
		run()
		if err := r.service.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		receive(t, r.client, nil)
		write(t, below(r.client), f.update(t, 1))
		up := noise(100<<10, 3)
		var records []byte
		for part := range slices.Chunk(up, record.MaxContent) {
			records = append(records, f.seal(23, part...)...)
		}
		for part := range slices.Chunk(append(records, f.seal(21, 1, 0)...), 7000) {
			write(t, below(r.client), part)
		}
		receive(t, r.service, up)
		if got := soon(t, r); got.Reason != ServiceClosed || got.Err != nil || got.Up != int64(len(up)) {
			t.Errorf("%s: %+v", k.name, got)
		}
	}
}

// TestFloodOfKeyUpdates: a client asks for new keys as fast as it can, with just
// enough data between to be legal, and reads no answer. We hold no more than the
// loads of one tunnel, and the account says who is at fault.
func TestFloodOfKeyUpdates(t *testing.T) {
	for _, k := range forgedKinds() {
		t.Run(k.name, func(t *testing.T) {
			r, f, run := k.join(t, Limits{WriteStall: 300 * time.Millisecond})
			run()
			var service sync.WaitGroup
			service.Go(func() { _, _ = io.Copy(io.Discard, r.service) })
			var most int64
			for range 2000 {
				var b []byte
				for range 20 {
					b = append(b, keyUpdatesAndAByte(t, f)...)
				}
				if _, err := below(r.client).Write(b); err != nil {
					break
				}
				most = max(most, relaysOf(t).held.Load())
			}
			if got := soon(t, r); got.Reason != ClientError {
				t.Errorf("%+v", got)
			}
			if most > 2*(largeRead+loadSlack) {
				t.Errorf("%d bytes held", most)
			}
			service.Wait()
		})
	}
}

// TestKeyUpdatesWhoseAnswersAreNotTaken: a client that takes nothing asks for new
// keys. crypto/tls answers each, so the client is not read again before it takes
// the answers; our own layer owes one for all, and has had enough after 1,024.
func TestKeyUpdatesWhoseAnswersAreNotTaken(t *testing.T) {
	for _, k := range forgedKinds() {
		t.Run(k.name, func(t *testing.T) {
			r, f, run := k.join(t, Limits{WriteStall: time.Second})
			narrow(t, r)
			run()
			s := &scene{rig: r}
			s.stall(t, r.service)
			var err error
			var taken int
			for ; err == nil; taken++ {
				if _, err = below(r.client).Write(keyUpdatesAndAByte(t, f)); err == nil {
					_, err = io.ReadFull(r.service, make([]byte, 1))
				}
			}
			got := soon(t, r)
			switch {
			case k.records == StdRecords && got.Reason == Stall && taken <= 20: // the kernel may have taken a little more
			case k.records == DirectRecords && got.Reason == ClientError && taken <= 1024/16+1:
			default:
				t.Errorf("%+v after %d requests", got, 16*taken)
			}
			s.floods.Wait()
		})
	}
}

// keyUpdatesAndAByte is as many requests for new keys as may come in a row, and a
// byte of data.
func keyUpdatesAndAByte(t *testing.T, f *forger) (b []byte) {
	for range 16 {
		b = append(b, f.update(t, 1)...)
	}
	return append(b, f.seal(23, 1)...)
}
