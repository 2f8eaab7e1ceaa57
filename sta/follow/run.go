package follow

import (
	"context"
	"time"
)

const (
	// pollWait is how long one request for revocations is left open: half the
	// lease that an authority gives, so that a lost one is followed in time.
	pollWait = 5 * time.Second
	// forgetEvery is how often the revoked set is swept.
	forgetEvery = 10 * time.Minute
	minRetry    = 100 * time.Millisecond
	maxRetry    = 5 * time.Second
)

// Run follows revocations until ctx ends, and returns nil then. Failures of the
// source are told to Config.Lost and tried again, with pauses from 100 ms to 5 s.
func (f *Follower) Run(ctx context.Context) error {
	var (
		after  uint64
		ready  bool
		lost   bool
		retry  = minRetry
		forget = f.config.Now().Add(forgetEvery)
	)
	for ctx.Err() == nil {
		wait := pollWait
		if !ready {
			wait = 0 // what is there already, at once
		}
		next, err := f.poll(ctx, after, wait)
		if err != nil {
			if !lost && ctx.Err() == nil && f.config.Lost != nil {
				f.config.Lost(err)
			}
			lost = true
			pause(ctx, retry)
			retry = min(2*retry, maxRetry)
			continue
		}
		if lost && f.config.Lost != nil {
			f.config.Lost(nil)
		}
		lost, retry = false, minRetry
		if !ready && next == after {
			close(f.ready)
			ready = true
		}
		after = next
		if now := f.config.Now(); now.After(forget) {
			f.revoked.forget(now)
			forget = now.Add(forgetEvery)
		}
	}
	return nil
}

// poll asks once and applies what comes; it returns the last serial applied.
func (f *Follower) poll(ctx context.Context, after uint64, wait time.Duration) (uint64, error) {
	// The source answers within wait; twice that and a little is a source that hangs.
	ctx, cancel := context.WithTimeout(ctx, 2*wait+f.config.RedeemTimeout)
	defer cancel()
	revocations, err := f.config.Source.Revocations(ctx, f.config.Gateway, after, wait)
	if err != nil {
		return after, err
	}
	f.heard.Store(int64(time.Since(f.began)))
	// All of them are in force before the first cut: cutting many tunnels must
	// not hold up what came with it.
	for i := range revocations {
		f.revoked.add(&revocations[i])
	}
	for i := range revocations {
		r := &revocations[i]
		cut := f.config.Cut(r)
		after = r.Serial
		// A lost report makes the authority name this gateway as one that did
		// not answer; the tunnels are cut all the same.
		_ = f.config.Source.ReportCuts(ctx, f.config.Gateway, r.Serial, cut)
	}
	return after, nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
