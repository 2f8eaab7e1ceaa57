package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/gateway/policy"
)

// filled is a snapshot in force whose resolver is the test's.
type filled struct {
	t     *testing.T
	force *inForce
}

func newFilled(t *testing.T, list string, resolve func(context.Context, string) (netip.Addr, error), told panicHook) *filled {
	t.Helper()
	set, err := policy.CompileSet(policy.Spec{Services: list}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &filled{t, newInForce(Snapshot{
		Policies: set, Address: policy.NewAddressRules(policy.AddressConfig{}), Resolver: resolverOf(resolve),
	}, told)}
}

type resolverOf func(context.Context, string) (netip.Addr, error)

func (r resolverOf) Resolve(ctx context.Context, name string) (Resolution, error) {
	addr, err := r(ctx, name)
	if err != nil {
		return Resolution{}, err
	}
	return Resolution{Addrs: []netip.Addr{addr}}, nil
}

// matches tells whether an address is found to be a listed name's.
func (f *filled) matches(addr netip.Addr) bool {
	f.t.Helper()
	trial := newTrial(f.force, Ask{Host: policy.Host{Addr: addr}, Port: 443})
	err := trial.judge(f.t.Context())
	if err != nil && asRefusal(err).Label != string(policy.AddressNotListed) {
		f.t.Errorf("%s: %v", addr, err)
	}
	return err == nil
}

func eight(n int) netip.Addr { return netip.AddrFrom4([4]byte{8, 0, 0, byte(n)}) }

// A name whose server is silent keeps nobody from the others, and is asked for again
// soon; what was answered is not, be it that there is no address.
func TestMatchBackWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mute atomic.Bool
		mute.Store(true)
		var silent, good, gone atomic.Int32
		f := newFilled(t, "silent.example.com:443,good.example.com:443,gone.example.com:443",
			func(ctx context.Context, name string) (netip.Addr, error) {
				switch name {
				case "gone.example.com":
					gone.Add(1)
					return netip.Addr{}, &net.DNSError{Err: "no such host", IsNotFound: true}
				case "good.example.com":
					good.Add(1)
					return eight(1), nil
				}
				silent.Add(1)
				if mute.Load() {
					<-ctx.Done()
					return netip.Addr{}, ctx.Err()
				}
				return eight(2), nil
			}, nil)
		began := time.Now()
		if !f.matches(eight(1)) || f.matches(eight(2)) {
			t.Error("not what was answered")
		}
		if took := time.Since(began); took != matchTimeout {
			t.Errorf("held up for %v", took)
		}
		mute.Store(false)
		time.Sleep(matchAgain)
		if !f.matches(eight(1)) || !f.matches(eight(2)) {
			t.Error("the silent one has no address still")
		}
		if silent.Load() != 2 || good.Load() != 1 || gone.Load() != 1 {
			t.Errorf("asked for: %d, %d, %d", silent.Load(), good.Load(), gone.Load())
		}
		time.Sleep(matchFor)
		if !f.matches(eight(1)) || !f.matches(eight(2)) {
			t.Error("not found later")
		}
		if silent.Load() != 3 || good.Load() != 2 || gone.Load() != 2 {
			t.Errorf("later: %d, %d, %d", silent.Load(), good.Load(), gone.Load())
		}
	})
}

// A list that is too long for the time is done in parts.
func TestMatchBackInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const names = 5 * matchTurns
		var list []string
		for i := range names {
			list = append(list, fmt.Sprintf("h%d.example.com:443", i))
		}
		var asked atomic.Int32
		f := newFilled(t, strings.Join(list, ","), func(ctx context.Context, name string) (netip.Addr, error) {
			asked.Add(1)
			select {
			case <-time.After(matchTimeout - matchTimeout/10): // so that there is time for one part
			case <-ctx.Done():
				return netip.Addr{}, ctx.Err()
			}
			var i int
			_, err := fmt.Sscanf(name, "h%d.", &i)
			return eight(i), err
		}, nil)
		for part := range 5 {
			found := 0
			for i := range names {
				if f.matches(eight(i)) {
					found++
				}
			}
			if found != (part+1)*matchTurns {
				t.Errorf("%d names after part %d", found, part)
			}
			time.Sleep(matchAgain)
		}
		// Each was asked for once, and those once more whose turn came too late.
		if n := asked.Load(); n > 2*names {
			t.Errorf("%d look-ups for %d names", n, names)
		}
	})
}

// A name that gets no answer for long holds up nobody whose address is known, and
// what was answered at one time is asked for again at one time.
func TestMatchBackMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var good atomic.Int32
		f := newFilled(t, "a.example.com:443,b.example.com:443,silent.example.com:443",
			func(ctx context.Context, name string) (netip.Addr, error) {
				switch name {
				case "a.example.com":
					good.Add(1)
					return eight(1), nil
				case "b.example.com":
					good.Add(1)
					time.Sleep(matchTimeout / 2)
					return eight(2), nil
				}
				<-ctx.Done()
				return netip.Addr{}, ctx.Err()
			}, nil)
		f.matches(eight(1))
		for began := time.Now(); time.Since(began) < matchFor-time.Second; time.Sleep(time.Second / 2) {
			asked := time.Now()
			if !f.matches(eight(1)) || !f.matches(eight(2)) {
				t.Error("not what was answered")
			}
			if held := time.Since(asked); held > 0 {
				t.Fatalf("held up for %v", held)
			}
		}
		if n := good.Load(); n != 2 {
			t.Errorf("%d look-ups of what was answered", n)
		}
		time.Sleep(matchFor)
		if !f.matches(eight(1)) || good.Load() != 4 {
			t.Errorf("%d look-ups when all are due", good.Load())
		}
	})
}

// What was answered at one time is not asked for again name by name.
func TestMatchBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		f := newFilled(t, "a.example.com:443,b.example.com:443", func(_ context.Context, name string) (netip.Addr, error) {
			asked.Add(1)
			if name == "b.example.com" {
				time.Sleep(matchTimeout / 2)
				return eight(2), nil
			}
			return eight(1), nil
		}, nil)
		f.matches(eight(1))
		time.Sleep(matchFor - matchTimeout/4) // over for one of them, if each had its own time
		f.matches(eight(1))
		if n := asked.Load(); n != 2 {
			t.Errorf("%d look-ups for two names", n)
		}
		time.Sleep(matchTimeout / 4)
		f.matches(eight(1))
		if n := asked.Load(); n != 4 {
			t.Errorf("%d look-ups for two names, twice", n)
		}
	})
}

// A defect in a look-up ends neither the process nor the others' look-ups.
func TestMatchBackWithADefect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan any, 8)
		f := newFilled(t, "bad.example.com:443,good.example.com:443", func(_ context.Context, name string) (netip.Addr, error) {
			if name == "bad.example.com" {
				panic("a defect")
			}
			return eight(1), nil
		}, func(value any, stack []byte) {
			if !strings.Contains(string(stack), "TestMatchBackWithADefect") {
				t.Errorf("another stack: %s", stack)
			}
			told <- value
		})
		if !f.matches(eight(1)) || f.matches(eight(2)) {
			t.Error("not what was answered")
		}
		if value := <-told; value != "a defect" {
			t.Errorf("told of %v", value)
		}
	})
}
