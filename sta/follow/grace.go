package follow

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/sallyport/sallyport/sta/ticket"
)

const (
	// never is a moment before all others.
	never = math.MinInt64
	// maxBehind is by how much the clock here may be behind the date of a head.
	maxBehind = time.Minute
	// noteEvery is how often the anchor is written down at most.
	noteEvery = 5 * time.Second
	// sampleFor is how long a reading of the boot clock is good for. It costs a
	// system call, which every known ticket would otherwise pay.
	sampleFor = 10 * time.Millisecond
	// lostAfter is the age of the newest good head at which somebody is told: it
	// is never that old while all is well.
	lostAfter = 20 * time.Second
)

// BlindLimit is who makes the revocation that ends all tunnels when there has
// been no good head for so long.
const BlindLimit = "blind-limit"

// graceNote is the name under which the anchor is kept.
const graceNote = "follow.grace"

// grace is how long ago the newest good head was signed.
type grace struct {
	bootID string
	// anchor is the date of the newest good head on the boot clock, in
	// nanoseconds, or never.
	anchor atomic.Int64
	// newest is that date on the clock of its node, in milliseconds of Unix time.
	newest atomic.Int64
	// doubt is set when the clock here turned out to be behind, until a good head
	// agrees with it.
	doubt  atomic.Bool
	sample atomic.Pointer[sample]

	// The rest is guarded by Follower.judging.
	noted   int64     // the anchor that was written down
	notedAt time.Time // and when
	broken  bool      // it could not be
	ended   bool      // all tunnels were cut, BlindLimit being over
}

// sample is a reading of two clocks at one moment.
type sample struct {
	at   time.Time // Config.Now
	boot time.Duration
}

// noted is the form in which the anchor is kept.
type noted struct {
	BootID string `json:"boot_id"`
	Anchor int64  `json:"anchor_ns"`
	Head   int64  `json:"head_ms"`
}

// endOfTime is after every iat, whatever the clock here says.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

var (
	errBlind      = ticket.Refuse(ticket.Unavailable, "revocations have not been heard of for longer than the grace")
	errNoGoodHead = errors.New("no node has given a good head for a while")
	errClock      = ticket.Refuse(ticket.Unavailable, "the clock here is over %s behind the authority's", maxBehind)
)

// recallGrace reads the anchor that was kept. On another start of the machine it
// counts for nothing: nobody knows how long that took.
func (f *Follower) recallGrace() error {
	g := &f.grace
	g.anchor.Store(never)
	g.bootID = f.config.Boot.BootID()
	data, err := f.config.Log.Noted(graceNote)
	if err != nil || data == nil {
		return err
	}
	var n noted
	if err := json.Unmarshal(data, &n); err != nil {
		f.alarm("", fmt.Errorf("the grace that was kept cannot be read: %w", err))
		return nil // so there is none
	}
	g.newest.Store(n.Head)
	if n.BootID != "" && n.BootID == g.bootID && n.Anchor <= int64(f.config.Boot.Boottime()) {
		g.anchor.Store(n.Anchor)
		g.noted = n.Anchor
	}
	return nil
}

// sighted refuses when it is not known who was revoked.
func (f *Follower) sighted(now time.Time) error {
	if age, ok := f.age(now); !ok || age > f.config.Grace {
		return errBlind
	}
	g := &f.grace
	if now.UnixMilli() < g.newest.Load()-maxBehind.Milliseconds() {
		g.doubt.Store(true)
	}
	if g.doubt.Load() {
		return errClock
	}
	return nil
}

// age is how long ago the newest good head was signed; false if there is none.
func (f *Follower) age(now time.Time) (time.Duration, bool) {
	anchor := f.grace.anchor.Load()
	if anchor == never {
		return 0, false
	}
	// The sample may be a little older than the anchor.
	boot := f.boottime(now)
	if boot == never || int64(boot) < anchor-int64(time.Second) {
		return 0, false
	}
	return max(0, boot-time.Duration(anchor)), true
}

// boottime reads the boot clock, or takes the last reading if that is from just
// now by the time of day as well as by the monotonic clock. A machine that slept,
// or whose clock was set, is past one of them.
func (f *Follower) boottime(now time.Time) time.Duration {
	if s := f.grace.sample.Load(); s != nil {
		wall := time.Duration(now.UnixNano() - s.at.UnixNano())
		if since := now.Sub(s.at); wall >= 0 && wall < sampleFor && since >= 0 && since < sampleFor {
			return s.boot
		}
	}
	return f.readBoottime(now)
}

func (f *Follower) readBoottime(now time.Time) time.Duration {
	s := &sample{at: now, boot: f.config.Boot.Boottime()}
	f.grace.sample.Store(s)
	return s.boot
}

// renew counts the grace from a good head. The caller holds judging.
func (f *Follower) renew(head *ticket.Head) {
	g := &f.grace
	g.doubt.Store(false)
	newer := head.Time.UnixMilli() > g.newest.Load()
	if newer || g.anchor.Load() == never {
		now := f.config.Now()
		boot := f.readBoottime(now)
		if boot == never {
			return
		}
		// Not from its receipt: somebody may have held it back. And not back in
		// time: what the last good head was good for, it is still.
		anchor := int64(boot - max(0, now.Sub(head.Time)))
		g.anchor.Store(max(anchor, g.anchor.Load()))
		g.newest.Store(head.Time.UnixMilli())
		g.ended = false
		f.heads.good = head
	}
	f.noteGrace(false)
}

// noteGrace writes the anchor down, when it has moved, and not all the time. The
// caller holds judging.
func (f *Follower) noteGrace(now bool) {
	g := &f.grace
	anchor := g.anchor.Load()
	if anchor == never || anchor == g.noted || !now && time.Since(g.notedAt) < noteEvery {
		return
	}
	g.notedAt = time.Now()
	data, err := json.Marshal(noted{g.bootID, anchor, g.newest.Load()})
	if err == nil {
		err = f.config.Log.Note(graceNote, data)
	}
	if err != nil && !g.broken {
		f.alarm("", fmt.Errorf("the grace could not be kept: %w", err))
	}
	g.broken = err != nil
	if err == nil {
		g.noted = anchor
	}
}

// endBlind cuts every tunnel, once, when there has been no good head for too long.
func (f *Follower) endBlind() {
	f.judging.Lock()
	defer f.judging.Unlock()
	now := f.config.Now()
	age, ok := f.age(now)
	if !ok && f.grace.anchor.Load() != never {
		age = math.MaxInt64 // the boot clock cannot be read, or went back
	}
	if age <= f.config.BlindLimit || f.grace.ended {
		return
	}
	f.grace.ended = true
	f.config.Cut(&ticket.Revocation{
		Time: now.UTC(), By: BlindLimit, All: true,
		Cut: endOfTime, Forget: now.UTC(),
	})
}

// tellLost tells when there is no good head to be had, and when there is again.
func (f *Follower) tellLost() {
	f.telling.Lock()
	defer f.telling.Unlock()
	why := f.current().lost()
	if age, ok := f.age(f.config.Now()); why == nil && time.Since(f.began) > lostAfter && (!ok || age > lostAfter) {
		why = errNoGoodHead
	}
	if (why != nil) == f.lost {
		return
	}
	f.lost = why != nil
	if f.config.Hooks.Lost != nil {
		f.config.Hooks.Lost(why)
	}
}

// HeadTime is when the newest good head was signed, UTC; zero if there was none.
func (f *Follower) HeadTime() time.Time {
	if ms := f.grace.newest.Load(); ms != 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}

// GraceLeft is for how long tickets are admitted if no good head comes.
func (f *Follower) GraceLeft() time.Duration {
	age, ok := f.age(f.config.Now())
	if !ok {
		return 0
	}
	return max(0, f.config.Grace-age)
}
