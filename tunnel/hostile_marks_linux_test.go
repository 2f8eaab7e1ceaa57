package tunnel

import (
	"io"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sallyport/sallyport/tunnel/record"
)

// TestUrgentData: a read stops at the mark of urgent data, with more behind it, and
// no event comes for that.
func TestUrgentData(t *testing.T) {
	for _, k := range parkedKinds() {
		r := startRig(t, k, Limits{})
		exchange(t, r.service, r.client)
		inside(r.tunnel, func(p *parked) { // all of it is there when it looks
			raw, err := below(r.service).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			_ = raw.Control(func(fd uintptr) {
				_, _ = unix.Write(int(fd), []byte("before"))
				_ = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil)
				_, _ = unix.Write(int(fd), []byte("behind"))
			})
			eventually(t, "it has arrived", func() bool {
				n, err := unix.IoctlGetInt(p.service.fd, unix.TIOCINQ)
				return err == nil && n >= len("before")
			})
		})
		got := make([]byte, len("beforebehind"))
		if n, err := io.ReadFull(r.client, got); err != nil || string(got) != "beforebehind" {
			t.Errorf("%s: %q, %v", k.name, got[:n], err)
		}
	}
}

// TestBytesWithoutDataAreNoDefect: crypto/tls gathers a message of its own for as
// long as it is sent some, which may be tens of MiB with padding. The tunnel is busy
// with nothing, and that is not its mistake.
func TestBytesWithoutDataAreNoDefect(t *testing.T) {
	relaysWith(t, RelaysHooks{Panicked: func(v any, _ []byte) { t.Errorf("panic: %v", v) }})
	r, f, run := forgedKinds()[0].join(t, Limits{})
	records := f.sealPadded(22, []byte{24, 0, 0xff, 0xff}, 0)
	for range maxSteps + maxSteps/2 {
		for range 2 { // a read is of 32 KiB, and no more than two of these are in one
			records = append(records, f.sealPadded(22, []byte{0}, record.MaxContent-2)...)
		}
	}
	run()
	var work sync.WaitGroup
	work.Go(func() { _, _ = below(r.client).Write(records) })
	work.Wait()
	_, _ = below(r.client).Close(), r.service.Close()
	if got := soon(t, r); got.Reason == Defect {
		t.Errorf("%+v", got)
	}
}

// TestGoodbyeBehindWhatIsOwed: the client is told what it did wrong under the keys
// that it asked for just before.
func TestGoodbyeBehindWhatIsOwed(t *testing.T) {
	for _, k := range forgedKinds() {
		r, f, run := k.join(t, Limits{})
		write(t, below(r.client), append(f.update(t, 1), f.seal(99, 1)...))
		inside(r.tunnel, func(p *parked) {
			eventually(t, "both are here", func() bool {
				n, err := unix.IoctlGetInt(p.client.fd, unix.TIOCINQ)
				return err == nil && n > 27
			})
		})
		run()
		if _, err := io.ReadAll(r.client); err == nil {
			t.Errorf("%s: a clean end", k.name)
		} else if _, told := alertOf(err); !told {
			t.Errorf("%s: %v, and no alert", k.name, err)
		}
	}
}
