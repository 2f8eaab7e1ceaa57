package load

import (
	"math"
	"time"
)

// What devices say, in bytes of one exchange's bodies, and when. The sizes are ours
// where nothing else is said: rounded from what an ActiveSync client with usual
// headers sends.
const (
	requestUp   = 600 // a small request with its headers
	requestDown = 4 << 10
	pollUp      = 400 // a Ping, and an answer that says that something is new
	pollDown    = 200
	syncUp      = 1 << 10 // a Sync of one folder, and what it brings: heads of mail
	syncDown    = 2 << 10
	fetchUp     = requestUp // one mail with its text
	fetchDown   = 20 << 10
	folderDown  = 8 << 10 // one of the exchanges after a log-on: folders, policies, settings

	transferSize = 16 << 20 // of a bulk transfer, after which the next begins
)

// Attachments are log-normal: so that 50 KiB and 10 MiB are two standard deviations
// from the median, and never beyond them.
const (
	attachmentMin = 50 << 10
	attachmentMax = 10 << 20
)

// attachment is the size of attachment k.
func (p *Plan) attachment(k uint64) int64 {
	low, high := math.Log(attachmentMin), math.Log(attachmentMax)
	// Box and Muller's way from two uniform numbers to a normal one.
	normal := math.Sqrt(-2*math.Log(p.draw(k, drawSize))) * math.Cos(2*math.Pi*p.draw(k, drawSize2))
	size := math.Exp((low+high)/2 + normal*(high-low)/4)
	return int64(min(max(size, attachmentMin), attachmentMax))
}

// A Cloud Extender: so many mailboxes share a streaming connection, which the server
// ends after its time; subscriptions are renewed then. How often a mailbox gets mail
// is ours.
const (
	mailboxesPerStream = 200
	streamLife         = 30 * time.Minute
	mailEvery          = 10 * time.Minute
	eventDown          = 1536
)

// A day's operations beside the polls, in shares of all; the rest are set-ups.
const (
	daySyncs       = 0.70
	dayAttachments = 0.10
	// dayPolls is the share of devices that hold a poll; the others do the rest.
	dayPolls = 0.8
)

// A device that lost its tunnel, or could not open one, tries again after this, and
// up to as long again, so that they do not all come at once. Scale does not shorten it.
const retryAfter = time.Second

// heartbeat is how long device k holds its n-th poll. The first is under way already
// when a run begins, like those of a fleet that has been up for days.
func (p *Plan) heartbeat(k, n uint64) time.Duration {
	shortest, longest := p.Scenario.scaled(p.Scenario.Heartbeat[0]), p.Scenario.scaled(p.Scenario.Heartbeat[1])
	hold := shortest + time.Duration(p.draw(k^mix(n), drawHold)*float64(longest-shortest))
	if n == 0 {
		hold = time.Duration(p.draw(k, drawPhase) * float64(hold))
	}
	return hold
}
