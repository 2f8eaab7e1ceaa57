package record

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
	"unsafe"
)

func TestStartRefuses(t *testing.T) {
	good := bytes.Repeat([]byte{1}, 32)
	for name, start := range map[string]func(*Layer) error{
		"suite of TLS 1.2": func(l *Layer) error {
			return l.Start(Server, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, good, good, 0)
		},
		"short secret": func(l *Layer) error {
			return l.Start(Server, tls.TLS_AES_128_GCM_SHA256, good[1:], good, 0)
		},
		"secret of another suite": func(l *Layer) error {
			return l.Start(Server, tls.TLS_AES_256_GCM_SHA384, good, good, 0)
		},
		"no secret":    func(l *Layer) error { return l.Start(Server, tls.TLS_AES_128_GCM_SHA256, good, nil, 0) },
		"a worn key":   func(l *Layer) error { return l.Start(Server, tls.TLS_AES_128_GCM_SHA256, good, good, rekeyAfter) },
		"never called": func(*Layer) error { return errSecret },
	} {
		t.Run(name, func(t *testing.T) {
			l := new(Layer)
			if err := start(l); err == nil {
				t.Error("started")
			}
			_, _, err := l.Open(make([]byte, 100))
			_, sealErr := l.Seal(make([]byte, 100), 1)
			if !errors.Is(err, ErrEnded) || !errors.Is(sealErr, ErrEnded) {
				t.Errorf("opens with %v, seals with %v", err, sealErr)
			}
			if l.Owes() || len(l.AppendOwed(nil))+len(l.AppendGoodbye(nil, nil)) > 0 {
				t.Error("says something")
			}
		})
	}
}

func TestSealBounds(t *testing.T) {
	server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
	b := make([]byte, MaxRecord)
	for _, tt := range []struct{ room, n int }{
		{MaxRecord, MaxContent + 1}, {MaxRecord, -1}, {HeaderSize + 9 + TrailerSize, 10}, {0, 0}, {HeaderSize, 0},
	} {
		if n, err := server.Seal(b[:tt.room], tt.n); err == nil || n != 0 {
			t.Errorf("%v: %d, %v", tt, n, err)
		}
	}
	for _, n := range []int{0, 1, MaxContent} {
		whole, err := server.Seal(b[:HeaderSize+n+TrailerSize], n)
		if err != nil || whole != HeaderSize+n+TrailerSize {
			t.Fatalf("%d: %d, %v", n, whole, err)
		}
		plain, got, err := client.Open(b)
		if len(plain) != n || got != whole || err != nil {
			t.Errorf("%d: opened %d of %d, %v", n, len(plain), got, err)
		}
	}
}

// TestKeyUpdates: who is asked answers before his next data, once, with an
// update that asks for nothing.
func TestKeyUpdates(t *testing.T) {
	for _, id := range suites {
		server, client := newPair(t, id)
		if server.Owes() || len(server.AppendOwed(nil)) > 0 {
			t.Fatal("owes from the beginning")
		}
		for range 3 {
			client.due.Or(dueAsk)
			request := client.AppendOwed(nil)
			if len(request) != keyUpdateSize || client.Owes() {
				t.Fatalf("request of %d bytes, owes %t", len(request), client.Owes())
			}
			mustOpen(t, server, request, "")
		}
		old := server.out.secret
		if _, err := server.Seal(make([]byte, 100), 1); !errors.Is(err, ErrOwes) || !server.Owes() {
			t.Fatalf("sealed before the answer: %v", err)
		}
		answer := server.AppendOwed(nil)
		if len(answer) != keyUpdateSize || server.Owes() || server.out.secret == old || server.out.seq != 0 {
			t.Fatalf("answer of %d bytes, owes %t, sequence %d", len(answer), server.Owes(), server.out.seq)
		}
		mustOpen(t, client, append(answer, sealed(t, server, "down")...), "down")
		if client.Owes() {
			t.Error("an answer is answered")
		}
		mustOpen(t, server, sealed(t, client, "up"), "up")
	}
}

// TestKeyLimits: keys wear out.
func TestKeyLimits(t *testing.T) {
	t.Run("ours", func(t *testing.T) {
		server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
		server.out.seq, client.in.seq = rekeyAfter-1, rekeyAfter-1
		mustOpen(t, client, sealed(t, server, "last"), "last")
		if _, err := server.Seal(make([]byte, 100), 1); !errors.Is(err, ErrOwes) {
			t.Fatalf("sealed with a worn key: %v", err)
		}
		mustOpen(t, client, append(server.AppendOwed(nil), sealed(t, server, "first")...), "first")
		if client.Owes() || server.out.seq != 1 {
			t.Errorf("owes %t, sequence %d", client.Owes(), server.out.seq)
		}
	})
	t.Run("the peer's", func(t *testing.T) {
		server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
		client.out.seq, server.in.seq = askAfter-1, askAfter-1
		mustOpen(t, server, forge(client, data("a")...), "a")
		if !server.Owes() || !server.asks() {
			t.Fatal("does not ask")
		}
		mustOpen(t, client, server.AppendOwed(nil), "")
		mustOpen(t, server, forge(client, data("b")...), "b")
		if server.Owes() {
			t.Fatal("asks twice")
		}
		mustOpen(t, server, append(client.AppendOwed(nil), sealed(t, client, "c")...), "c")
		if server.in.seq != 1 {
			t.Errorf("sequence %d under the new key", server.in.seq)
		}
	})
	t.Run("both at once", func(t *testing.T) {
		server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
		server.due.Store(dueAnswer | dueAsk)
		b := server.AppendOwed(nil)
		if len(b) != 2*keyUpdateSize {
			t.Fatalf("%d bytes", len(b))
		}
		mustOpen(t, client, append(b, sealed(t, server, "a")...), "a")
		if !client.Owes() {
			t.Error("was not asked")
		}
	})
	t.Run("the peer takes no notice", func(t *testing.T) {
		server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
		client.out.seq, server.in.seq = keyLimit-1, keyLimit-1
		mustOpen(t, server, forge(client, data("a")...), "a")
		_, err := openAll(server, forge(client, data("b")...))
		wantAlert(t, err, alertUnexpectedMessage)
	})
	t.Run("the peer comes first", func(t *testing.T) {
		server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
		client.out.seq, server.in.seq = askAfter-1, askAfter-1
		mustOpen(t, server, forge(client, data("a")...), "a")
		client.due.Store(dueAnswer)
		mustOpen(t, server, client.AppendOwed(nil), "")
		if server.Owes() {
			t.Error("asks for what it has")
		}
	})
}

func TestGoodbye(t *testing.T) {
	received := func() error {
		server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
		_, err := openAll(server, forge(client, alertInner(2, 40)...))
		return err
	}()
	tests := []struct {
		name  string
		cause error
		want  error // what the peer reads; nil if nothing is said
	}{
		{"no cause", nil, io.EOF},
		{"the peer's close_notify", fmt.Errorf("wrapped: %w", io.EOF), io.EOF},
		{"the peer's mistake", fmt.Errorf("wrapped: %w", &Error{Alert: alertRecordOverflow}), alertRecordOverflow},
		{"the peer's alert", received, nil},
		{"truncated", ErrTruncated, alertInternalError},
		{"our own trouble", os.ErrDeadlineExceeded, alertInternalError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, client := newPair(t, tls.TLS_AES_128_GCM_SHA256)
			server.due.Store(dueAnswer)
			goodbye := server.AppendGoodbye(nil, tt.cause)
			if (len(goodbye) > 0) != (tt.want != nil) {
				t.Fatalf("%d bytes", len(goodbye))
			}
			if tt.want != nil {
				if _, err := openAll(client, goodbye); !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
			}
			if again := server.AppendGoodbye([]byte("x"), nil); string(again) != "x" {
				t.Error("said twice")
			}
			if _, err := server.Seal(make([]byte, 100), 1); !errors.Is(err, ErrEnded) {
				t.Errorf("sealed afterwards: %v", err)
			}
			if server.Owes() || len(server.AppendOwed(nil)) > 0 {
				t.Error("owes afterwards")
			}
			mustOpen(t, server, sealed(t, client, "still heard"), "still heard")
		})
	}
}

// TestRest: ciphers made anew go on where the old ones stood.
func TestRest(t *testing.T) {
	for _, id := range suites {
		server, client := newPair(t, id)
		for range 2 {
			mustOpen(t, client, sealed(t, server, "a"), "a")
			client.due.Or(dueAsk)
			mustOpen(t, server, append(client.AppendOwed(nil), sealed(t, client, "b")...), "b")
			for _, l := range []*Layer{server, client} {
				l.Rest()
				if l.in.keys != nil || l.out.keys != nil {
					t.Fatal("holds a cipher")
				}
			}
			mustOpen(t, client, append(server.AppendOwed(nil), sealed(t, server, "c")...), "c")
			mustOpen(t, server, sealed(t, client, "d"), "d")
		}
	}
}

func TestWipe(t *testing.T) {
	server, client := newPair(t, tls.TLS_AES_256_GCM_SHA384)
	record := sealed(t, client, "a")
	server.Wipe()
	whole := unsafe.Slice((*byte)(unsafe.Pointer(server)), unsafe.Sizeof(*server))
	if slices.ContainsFunc(whole, func(b byte) bool { return b != 0 }) {
		t.Errorf("left: %x", whole)
	}
	if _, _, err := server.Open(record); !errors.Is(err, ErrEnded) {
		t.Errorf("opened: %v", err)
	}
}

// TestUpdateWipes: a secret that was replaced is nowhere in the Layer.
func TestUpdateWipes(t *testing.T) {
	server, _ := newPair(t, tls.TLS_AES_256_GCM_SHA384)
	server.due.Store(dueAnswer)
	old := server.out.secret
	server.AppendOwed(nil)
	whole := unsafe.Slice((*byte)(unsafe.Pointer(server)), unsafe.Sizeof(*server))
	if bytes.Contains(whole, old[:8]) {
		t.Error("the old secret is still there")
	}
}

func TestSize(t *testing.T) {
	if size := unsafe.Sizeof(Layer{}); size > 168 {
		t.Errorf("a Layer has %d bytes; doc.go says 168", size)
	}
}

func TestNoAllocations(t *testing.T) {
	for _, id := range suites {
		server, client := newPair(t, id)
		b := make([]byte, MaxRecord)
		n := testing.AllocsPerRun(100, func() {
			whole, err := server.Seal(b, MaxContent)
			if err != nil {
				t.Fatal(err)
			}
			if plain, _, err := client.Open(b[:whole]); err != nil || len(plain) != MaxContent {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", tls.CipherSuiteName(id), n)
		}
	}
}

// TestFIPS: in FIPS 140-3 mode the connection is to stay with crypto/tls. The
// mode is a process's, so another one is asked.
func TestFIPS(t *testing.T) {
	if os.Getenv("RECORD_TEST_FIPS") != "" {
		for _, id := range suites {
			fmt.Println(Supported(id))
		}
		fmt.Println(SelfTest() == nil)
		return
	}
	for mode, want := range map[string]string{"off": "true\ntrue\ntrue\ntrue\n", "on": "false\nfalse\nfalse\nfalse\n"} {
		cmd := exec.CommandContext(context.Background(), os.Args[0], "-test.run=^TestFIPS$", "-test.count=1")
		cmd.Env = append(os.Environ(), "RECORD_TEST_FIPS=1", "GODEBUG=fips140="+mode)
		out, err := cmd.Output()
		if err != nil || !bytes.HasPrefix(out, []byte(want)) {
			t.Errorf("fips140=%s: %q, %v", mode, out, err)
		}
	}
}

// BenchmarkLayer is one record sealed and opened. Compare by
//
//	go test -run - -bench Layer -count 10 ./tunnel/record | benchstat -col /suite -
func BenchmarkLayer(b *testing.B) {
	for _, id := range suites {
		b.Run("suite="+tls.CipherSuiteName(id), func(b *testing.B) {
			server, client := newPair(b, id)
			buf := make([]byte, MaxRecord)
			b.SetBytes(MaxContent)
			for b.Loop() {
				if server.Owes() {
					mustOpen(b, client, server.AppendOwed(nil), "")
				}
				n, err := server.Seal(buf, MaxContent)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := client.Open(buf[:n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRest is what a connection pays for the first record after a rest.
func BenchmarkRest(b *testing.B) {
	server, client := newPair(b, tls.TLS_AES_128_GCM_SHA256)
	buf := make([]byte, 64)
	for b.Loop() {
		server.Rest()
		n, err := server.Seal(buf, 4)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := client.Open(buf[:n]); err != nil {
			b.Fatal(err)
		}
		server.out.seq, client.in.seq = 0, 0
	}
}
