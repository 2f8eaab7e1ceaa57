package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestExchange asks a service for what lies on either side of each bound.
func TestExchange(t *testing.T) {
	us, them := net.Pipe()
	answered := make(chan error, 1)
	go func() { answered <- newChunks().answer(them) }()
	asking := newChunks()
	for _, n := range []int64{headSize, headSize + 1, small, small + 1, chunk, chunk + 1, 3*chunk + 5} {
		for _, down := range []int64{0, 1, small, small + 1, chunk + 1} {
			if err := asking.ask(us, n, down); err != nil {
				t.Fatalf("%d up, %d down: %v", n, down, err)
			}
		}
	}
	_ = us.Close()
	if err := <-answered; err != io.EOF {
		t.Errorf("the service ends with %v", err)
	}
}

func TestExchangeRefused(t *testing.T) {
	for _, of := range [][2]int64{{headSize - 1, 1}, {-1, 1}, {headSize, -1}} {
		var head [headSize]byte
		binary.BigEndian.PutUint64(head[:8], uint64(of[0]))
		binary.BigEndian.PutUint64(head[8:], uint64(of[1]))
		err := newChunks().answer(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(head[:]), io.Discard})
		if err == nil || err == io.EOF {
			t.Errorf("an exchange of %v bytes ends with %v", of, err)
		}
	}
}

// TestTranscript reads along, whatever the pieces that lines come in.
func TestTranscript(t *testing.T) {
	long := strings.Repeat("x", 2*keptLine)
	said := "first\n\nthird\n" + long + "\nlast\nrest"
	want := []string{"first", "", "third", long[:keptLine], "last"}
	for _, size := range []int{1, 3, len(said)} {
		var read []string
		var kept transcript
		kept.follow(func(line []byte) { read = append(read, string(line)) })
		for piece := range slices.Chunk([]byte(said), size) {
			if n, err := kept.Write(piece); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		if !slices.Equal(read, want) {
			t.Errorf("in pieces of %d: %d lines, not %d", size, len(read), len(want))
		}
		if tail := kept.tail(); !strings.HasSuffix(tail, "\nlast\nrest") || len(tail) > keptEnd+keptLine {
			t.Errorf("in pieces of %d the end is %d bytes, %q", size, len(tail), tail[max(0, len(tail)-16):])
		}
	}
}

// TestTranscriptReplays shows a reader that comes late what was said before.
func TestTranscriptReplays(t *testing.T) {
	var kept transcript
	for i := range 1000 {
		fmt.Fprintf(&kept, "line %d\n", i)
	}
	var read []string
	kept.follow(func(line []byte) { read = append(read, string(line)) })
	if len(read) == 0 || read[len(read)-1] != "line 999" {
		t.Errorf("replayed %d lines", len(read))
	}
	kept.follow(nil)
	fmt.Fprintln(&kept, "more")
	if read[len(read)-1] != "line 999" {
		t.Error("shown to a reader that had left")
	}
}

// TestEndsTheStubborn kills what does not end when told to.
func TestEndsTheStubborn(t *testing.T) {
	c, err := start(t.Context(), "stubborn", exec.Command("sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.end(time.Millisecond, func() {}); err != nil {
		t.Error(err)
	}
	if !c.killed || c.cmd.ProcessState == nil {
		t.Error("it was not killed")
	}
}

// TestWitness tells where a gateway listens, and that it is not what was asked for.
func TestWitness(t *testing.T) {
	w := &witness{listening: make(chan string, 1)}
	var log transcript
	log.follow(w.read)
	for _, line := range []string{
		`{"event":"authority_ready","listen":"127.0.0.1:1"}`, `no JSON: "gateway_ready"`,
		`{"event":"record_layer_ready","layer":"direct"}`, `{"event":"gateway_ready","listen":"127.0.0.1:2"}`,
		`{"event":"gateway_ready","listen":"127.0.0.1:3"}`, `{"event":"tunnel_ended"}`,
	} {
		fmt.Fprintln(&log, line)
	}
	if addr := <-w.listening; addr != "127.0.0.1:2" {
		t.Errorf("it listens at %q", addr)
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
	for _, event := range []string{"record_layer_refused", "record_layer_not_taken"} {
		w := &witness{}
		w.read(fmt.Appendf(nil, `{"level":"error","event":%q}`, event))
		if w.check() == nil {
			t.Errorf("%s does not matter", event)
		}
	}
}

// TestProbe finds the tunnels that have ended, and those only.
func TestProbe(t *testing.T) {
	l, err := listenLoopback(false)
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() { serveExchanges(l) })
	defer accepting.Wait()
	defer l.Close()
	at := l.Addr().(*net.TCPAddr)
	d := device{dialer: &dialer{clientSetup: clientSetup{Host: at.IP.String(), Port: uint16(at.Port)}}, buffers: newChunks()}
	defer d.drop()
	if answer := d.obey(order{Do: "open", N: 5, Parallel: 2}); answer.Error != "" || len(d.held) != 5 {
		t.Fatalf("%d tunnels are held: %s", len(d.held), answer.Error)
	}
	probe := order{Do: "probe", Parallel: 2, Up: headSize, Down: 1}
	if answer := d.obey(probe); answer.Dead != 0 || answer.Error != "" {
		t.Errorf("of five that live, %d are dead: %s", answer.Dead, answer.Error)
	}
	_ = d.held[1].Close()
	_ = d.held[4].Close()
	if answer := d.obey(probe); answer.Dead != 2 || answer.Error != "" {
		t.Errorf("of two that have ended, %d are dead: %s", answer.Dead, answer.Error)
	}
	if answer := d.obey(order{Do: "exchange", Times: 1, Up: headSize, Down: 1}); answer.Error == "" {
		t.Error("an exchange over what has ended succeeded")
	}
	if answer := d.obey(order{Do: "dance"}); answer.Error == "" {
		t.Error("it obeys an order that does not exist")
	}
}
