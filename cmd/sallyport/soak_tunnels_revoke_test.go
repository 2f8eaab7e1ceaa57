package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// cutWithin bounds what a tunnel lives on after its user's revocation was asked
// for. What it takes at the same time to have the authority write down something
// else, and to exchange bytes with the service, comes on top: that is the machine's
// share in it, its disk's above all, when it is busy with something else.
const cutWithin = time.Second

// victims are the tunnels of a user who is to be revoked.
type victims struct {
	tunnels []*strand
	running sync.WaitGroup
	ended   []time.Time // once nothing is running
	errs    []error
}

// occupations are what the tunnels are at when they are cut.
var occupations = []func(s *strand, seed uint64, flowing chan<- bool) error{
	listen, listen, listen, floodUp, floodUp, readOn,
}

// revoke gives a user tunnels that are idle, in mid-upload and in mid-download, and
// revokes the user. All of them must end, at both sides, and soon; a colleague's
// tunnel, which speaks all the while, must not notice. It tells how long each lived.
func (c *crowd) revoke(ctx context.Context, i int) ([]time.Duration, error) {
	user := c.group(fmt.Sprintf("user-%d-%d", len(c.cycles), i))
	dice := c.dice("revoke", i)
	v, err := c.openVictims(ctx, user, dice)
	if err != nil {
		return nil, err
	}
	colleague, err := c.open(ctx, c.group("idle"), dice)
	if err != nil {
		return nil, err
	}
	if err := v.occupy(dice); err != nil {
		return nil, err
	}
	gone := make(chan struct{})
	bystander := make(chan others, 1)
	seed := dice.Uint64()
	go func() { bystander <- c.goOn(ctx, colleague, seed, gone) }()
	began := time.Now()
	result, err := c.api.Revoke(ctx, sta.RevokeRequest{User: user.name})
	v.running.Wait()
	close(gone)
	untouched := <-bystander
	if err == nil && result.Cut() != len(v.tunnels) {
		err = fmt.Errorf("%d tunnels were cut, not %d: %+v", result.Cut(), len(v.tunnels), result)
	}
	took, late := v.judge(began, cutWithin+untouched.written+untouched.echoed)
	return took, errors.Join(err, late, untouched.err, colleague.finish(), c.wantRefused(ctx, user, dice))
}

func (c *crowd) openVictims(ctx context.Context, user *group, dice *rand.Rand) (*victims, error) {
	v := &victims{ended: make([]time.Time, len(occupations)), errs: make([]error, len(occupations))}
	for range occupations {
		s, err := c.open(ctx, user, dice)
		if err == nil {
			err = s.exchange(dice.Uint64(), idleBytes)
		}
		if err != nil {
			return nil, err
		}
		v.tunnels = append(v.tunnels, s)
	}
	return v, nil
}

// occupy returns when all tunnels are where they can be cut.
func (v *victims) occupy(dice *rand.Rand) error {
	flowing := make(chan bool, len(occupations))
	for i, occupation := range occupations {
		seed := dice.Uint64()
		v.running.Go(func() {
			v.errs[i] = occupation(v.tunnels[i], seed, flowing)
			v.ended[i] = time.Now()
		})
	}
	for range occupations {
		if !<-flowing {
			v.running.Wait()
			return errors.Join(v.errs...)
		}
	}
	return nil
}

// judge looks at how long the tunnels lived, and whether the service has seen their
// end as well.
func (v *victims) judge(began time.Time, most time.Duration) (took []time.Duration, err error) {
	errs := v.errs
	for i, s := range v.tunnels {
		lived := v.ended[i].Sub(began)
		took = append(took, lived)
		if lived > most {
			errs = append(errs, fmt.Errorf("tunnel %d of a revoked user lived for %v, more than %v", s.id, lived, most))
		}
		s.abandon()
		errs = append(errs, s.awaitFar(false))
	}
	return took, errors.Join(errs...)
}

// wantRefused wants a user's ticket to open nothing any more.
func (c *crowd) wantRefused(ctx context.Context, user *group, dice *rand.Rand) error {
	s, err := c.open(ctx, user, dice)
	switch {
	case err == nil:
		s.abandon()
		return errors.New("a revoked ticket opens a tunnel")
	case !errors.Is(err, socks.ErrAuth):
		return fmt.Errorf("a revoked ticket: %w", err)
	}
	return nil
}

// others is what those go through who are not revoked.
type others struct {
	echoed, written time.Duration // at most
	err             error
}

// goOn has somebody else exchange bytes and get tickets, until the revoked are gone,
// and once more.
func (c *crowd) goOn(ctx context.Context, s *strand, seed uint64, gone <-chan struct{}) (o others) {
	for last := false; o.err == nil && !last; seed++ {
		select {
		case <-gone:
			last = true
		default:
		}
		began := time.Now()
		err := s.exchange(seed, idleBytes)
		o.echoed = max(o.echoed, time.Since(began))
		began = time.Now()
		_, issueErr := c.api.Issue(ctx, sta.IssueRequest{User: "bystander", Device: "phone"})
		o.written = max(o.written, time.Since(began))
		o.err = errors.Join(err, issueErr)
	}
	return o
}

// listen waits for the tunnel's end. It, floodUp and readOn report once whether
// they have come to where they can be cut.
func listen(s *strand, _ uint64, flowing chan<- bool) error {
	_ = s.SetDeadline(time.Now().Add(patience))
	flowing <- true
	return s.wantCut(s.Read(make([]byte, 1)))
}

// wantCut takes the error with which a tunnel ended, which must not be that it has
// not.
func (s *strand) wantCut(n int, err error) error {
	if n > 0 || err == nil || isTimeout(err) {
		return fmt.Errorf("tunnel %d of %s should be cut: %d bytes, %v", s.id, s.of.name, n, err)
	}
	return nil
}

// floodUp sends as much as the service takes.
func floodUp(s *strand, seed uint64, flowing chan<- bool) error {
	if err := s.say(flood, seed, math.MaxInt64); err != nil {
		flowing <- false
		return err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = give(s, seed, math.MaxInt64) // until it is cut
	}()
	var receipt [1]byte
	n, err := io.ReadFull(s, receipt[:])
	flowing <- err == nil
	for err == nil {
		n, err = s.Read(receipt[:])
	}
	err = s.wantCut(n, err)
	_ = s.tcp.Close()
	<-sent
	return err
}

// readOn receives without end. What the device's own kernel has when the tunnel is
// cut it still hands out, so it must not have much.
func readOn(s *strand, seed uint64, flowing chan<- bool) error {
	_ = s.tcp.SetReadBuffer(flooded)
	err := s.say(download, seed, math.MaxInt64)
	want := stream(seed, math.MaxInt64)
	if err == nil {
		err = compare(s, want, flooded)
	}
	flowing <- err == nil
	for err == nil {
		err = compare(s, want, flooded)
	}
	if errors.Is(err, errOtherBytes) {
		return err
	}
	return s.wantCut(0, err)
}
