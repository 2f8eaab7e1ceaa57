package splitdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// systemFunc makes a System of a function of the host.
type systemFunc func(ctx context.Context, host string) ([]netip.Addr, error)

func (f systemFunc) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if network != "ip" {
		return nil, fmt.Errorf("asked for network %q", network)
	}
	return f(ctx, host)
}

func addrs(ss ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range ss {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func newResolver(t testing.TB, c Config) *Resolver {
	t.Helper()
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHostsComeFirst(t *testing.T) {
	var asked []string
	pins := map[string][]netip.Addr{
		"mail.example.com": addrs("10.0.0.25", "::ffff:10.0.0.25", "fd00::25", "fe80::1%eth0", "10.0.0.26"),
		"mail":             addrs("10.0.0.27"),
	}
	r := newResolver(t, Config{Hosts: pins, System: systemFunc(func(_ context.Context, host string) ([]netip.Addr, error) {
		asked = append(asked, host)
		return addrs("8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1111", "fe80::1%eth0", "8.8.4.4"), nil
	})})
	pins["mail.example.com"][0] = netip.MustParseAddr("6.6.6.6") // the resolver keeps its own
	for _, c := range []struct {
		name, source string
		want         []netip.Addr
	}{
		{"mail.example.com", SourceHosts, addrs("10.0.0.25", "fd00::25", "10.0.0.26")},
		{"mail", SourceHosts, addrs("10.0.0.27")},
		{"a.mail.example.com", SourceSystem, addrs("8.8.8.8", "2606:4700::1111", "8.8.4.4")},
		{"dc_1", SourceSystem, addrs("8.8.8.8", "2606:4700::1111", "8.8.4.4")},
	} {
		for range 2 { // the second time shows that an answer belongs to its caller
			answer, err := r.Resolve(t.Context(), c.name)
			if err != nil || answer.Name != c.name || answer.Source != c.source || !slices.Equal(answer.Addrs, c.want) {
				t.Errorf("%s: %+v, %v", c.name, answer, err)
				continue
			}
			answer.Addrs[0] = netip.Addr{}
		}
	}
	if want := []string{"a.mail.example.com.", "a.mail.example.com.", "dc_1.", "dc_1."}; !slices.Equal(asked, want) {
		t.Errorf("the system was asked %q, want %q", asked, want)
	}
}

func TestNewRefuses(t *testing.T) {
	for what, hosts := range map[string]map[string][]netip.Addr{
		"upper case":   {"Mail.example.com": addrs("10.0.0.1")},
		"trailing dot": {"mail.example.com.": addrs("10.0.0.1")},
		"empty name":   {"": addrs("10.0.0.1")},
		"an address":   {"10.0.0.1": addrs("10.0.0.1")},
		"no address":   {"mail.example.com": nil},
		"only zoned":   {"mail.example.com": addrs("fe80::1%eth0")},
		"only invalid": {"mail.example.com": {netip.Addr{}}},
	} {
		if _, err := New(Config{Hosts: hosts}); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

func TestStrangeNamesAreNotAsked(t *testing.T) {
	r := newResolver(t, Config{System: systemFunc(func(_ context.Context, host string) ([]netip.Addr, error) {
		t.Errorf("the system was asked for %q", host)
		return addrs("8.8.8.8"), nil
	})})
	for _, name := range []string{
		"", ".", "a.", ".a", "a..b", "A.example", "a b", "a\x00b", "ü.example", "127.0.0.1", "127.1", "0x7f.1", "a.0x7f", "0x",
		"2130706433", "::1", "[::1]", "a:443", "*.example.com", ";40;STA01", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a",
	} {
		if _, err := r.Resolve(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	var many []netip.Addr
	for i := range 100 {
		many = append(many, netip.AddrFrom4([4]byte{8, 8, 8, byte(i / 2)})) // each twice
	}
	system := systemFunc(func(context.Context, string) ([]netip.Addr, error) { return many, nil })
	for limit, want := range map[int]int{0: 32, 3: 3, 1000: 50} {
		answer, err := newResolver(t, Config{System: system, MaxAddrs: limit}).Resolve(t.Context(), "a.example")
		if err != nil || len(answer.Addrs) != want || answer.Addrs[0] != many[0] {
			t.Errorf("limit %d: %d addresses, %v; want %d", limit, len(answer.Addrs), err, want)
		}
	}
}

func TestKindsOfFailure(t *testing.T) {
	for what, c := range map[string]struct {
		err  error
		want error
	}{
		"no such host":   {&net.DNSError{Err: "no such host", IsNotFound: true}, ErrNotFound},
		"server timeout": {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, ErrTimeout},
		"deadline":       {context.DeadlineExceeded, ErrTimeout},
		"server failure": {&net.DNSError{Err: "server misbehaving", IsTemporary: true}, ErrFailed},
		"anything":       {errors.New("anything"), ErrFailed},
		"empty answer":   {nil, ErrNotFound},
	} {
		r := newResolver(t, Config{System: systemFunc(func(context.Context, string) ([]netip.Addr, error) { return nil, c.err })})
		_, err := r.Resolve(t.Context(), "a.example")
		for _, kind := range []error{ErrNotFound, ErrTimeout, ErrFailed} {
			if errors.Is(err, kind) != (kind == c.want) {
				t.Errorf("%s: %v; is it %v?", what, err, kind)
			}
		}
		if c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v lost its cause", what, err)
		}
	}
}

// waiting is a system that answers when it is told to, and counts.
type waiting struct {
	answer chan []netip.Addr
	calls  atomic.Int64
	ended  atomic.Int64 // look-ups that the context ended
}

func (w *waiting) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	w.calls.Add(1)
	select {
	case found := <-w.answer:
		return found, nil
	case <-ctx.Done():
		w.ended.Add(1)
		return nil, ctx.Err()
	}
}

// ask resolves in the background.
func ask(ctx context.Context, r *Resolver, name string) chan error {
	done := make(chan error, 1)
	go func() {
		_, err := r.Resolve(ctx, name)
		done <- err
	}()
	return done
}

func TestCallersShareALookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := &waiting{answer: make(chan []netip.Addr)}
		r := newResolver(t, Config{System: system})
		impatient, giveUp := context.WithCancel(t.Context())
		first := ask(impatient, r, "a.example")
		synctest.Wait()
		var rest []chan error
		for range 10 {
			rest = append(rest, ask(t.Context(), r, "a.example"))
		}
		synctest.Wait()

		giveUp() // also the one that began it may leave
		if err := <-first; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrFailed) {
			t.Errorf("the one that gave up: %v", err)
		}
		synctest.Wait()
		system.answer <- addrs("8.8.8.8")
		for _, done := range rest {
			if err := <-done; err != nil {
				t.Errorf("one that waited: %v", err)
			}
		}
		if system.calls.Load() != 1 || system.ended.Load() != 0 {
			t.Errorf("%d look-ups, %d ended early; want 1 and 0", system.calls.Load(), system.ended.Load())
		}
	})
}

func TestTheLastCallerEndsTheLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := &waiting{answer: make(chan []netip.Addr)}
		r := newResolver(t, Config{System: system})
		began := time.Now()
		ctx, giveUp := context.WithCancel(t.Context())
		one, two := ask(ctx, r, "a.example"), ask(ctx, r, "a.example")
		synctest.Wait()
		giveUp()
		<-one
		<-two
		synctest.Wait()
		if system.calls.Load() != 1 || system.ended.Load() != 1 || time.Since(began) != 0 {
			t.Errorf("%d look-ups, %d ended, after %v", system.calls.Load(), system.ended.Load(), time.Since(began))
		}
		// Whoever comes now gets a look-up of its own.
		again := ask(t.Context(), r, "a.example")
		synctest.Wait()
		system.answer <- addrs("8.8.8.8")
		if err := <-again; err != nil || system.calls.Load() != 2 {
			t.Errorf("afterwards: %v, %d look-ups", err, system.calls.Load())
		}
	})
}

// TestASlowEndDisturbsNobody has a look-up that everybody left and that takes
// its time to end: it must not take down the one that came after it.
func TestASlowEndDisturbsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		release := []chan struct{}{make(chan struct{}), make(chan struct{})}
		r := newResolver(t, Config{System: systemFunc(func(context.Context, string) ([]netip.Addr, error) {
			n := calls.Add(1)
			if n > 2 {
				return nil, errors.New("a third look-up")
			}
			<-release[n-1]
			return addrs("8.8.8.8"), nil
		})})
		ctx, giveUp := context.WithCancel(t.Context())
		left := ask(ctx, r, "a.example")
		synctest.Wait()
		giveUp()
		<-left
		second := ask(t.Context(), r, "a.example")
		synctest.Wait()
		close(release[0])
		synctest.Wait()
		joined := ask(t.Context(), r, "a.example")
		synctest.Wait()
		close(release[1])
		for _, done := range []chan error{second, joined} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if calls.Load() != 2 {
			t.Errorf("%d look-ups, want 2", calls.Load())
		}
	})
}

func TestLimitsOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newResolver(t, Config{System: &waiting{}, Timeout: 3 * time.Second})
		began := time.Now()
		if _, err := r.Resolve(t.Context(), "a.example"); !errors.Is(err, ErrTimeout) || time.Since(began) != 3*time.Second {
			t.Errorf("by the resolver: %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if _, err := r.Resolve(ctx, "a.example"); !errors.Is(err, ErrTimeout) || time.Since(began) != time.Second {
			t.Errorf("by the caller: %v after %v", err, time.Since(began))
		}
		gone, cancelGone := context.WithCancel(t.Context())
		cancelGone()
		if _, err := r.Resolve(gone, "a.example"); !errors.Is(err, context.Canceled) {
			t.Errorf("gone before it asked: %v", err)
		}
	})
	// Names differ, so they share nothing, and none waits for another.
	synctest.Test(t, func(t *testing.T) {
		system := &waiting{}
		r := newResolver(t, Config{System: system, Timeout: time.Second})
		began := time.Now()
		one, two := ask(t.Context(), r, "a.example"), ask(t.Context(), r, "b.example")
		<-one
		<-two
		if system.calls.Load() != 2 || time.Since(began) != time.Second {
			t.Errorf("%d look-ups in %v", system.calls.Load(), time.Since(began))
		}
	})
}
