package tunnel

import "testing"

// A defect of a carrier ends its tunnel, wherever it lies, and nothing else.
func TestDefectOfACarrier(t *testing.T) {
	for _, at := range []string{"Await", "Read", "Write", "Close"} {
		panics := make(chan any, 8)
		relays := relaysWith(t, RelaysHooks{Panicked: func(value any, _ []byte) { panics <- value }})
		client, near := tcpPair(t)
		service, nearS := tcpPair(t)
		ended := make(chan Result, 1)
		go relays.join(&defective{near, at}, nearS, Limits{}).run(enderFunc(func(r Result) { ended <- r }))
		_, _ = client.Write([]byte("up"))
		_, _ = service.Write([]byte("down"))
		if at == "Close" {
			_ = client.CloseWrite()
			_ = service.CloseWrite()
		}
		if got := <-panics; got != "a defect in "+at {
			t.Errorf("%s: panicked with %v", at, got)
		}
		if got := <-ended; got.Reason != Defect && at != "Close" {
			t.Errorf("%s: %+v", at, got)
		}
		_, _ = client.Close(), service.Close()
	}
}

// defective is a stream that no tunnel parks on.
type defective struct {
	Stream
	at string
}

func (d *defective) defect(at string) {
	if d.at == at {
		panic("a defect in " + at)
	}
}

func (d *defective) Await() error                { d.defect("Await"); return nil }
func (d *defective) Read(p []byte) (int, error)  { d.defect("Read"); return d.Stream.Read(p) }
func (d *defective) Write(p []byte) (int, error) { d.defect("Write"); return d.Stream.Write(p) }
func (d *defective) Close() error                { _ = d.Stream.Close(); d.defect("Close"); return nil }
