package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
)

// TestRevokeUserEverywhere asks one node of an authority to end a user's tickets:
// the user's tunnels are cut at every gateway and nobody else's, the other node
// knows, the answer counts, and the user is given new tickets at once.
func TestRevokeUserEverywhere(t *testing.T) {
	c := startCluster(t, plan{nodes: 2, gateways: 2})
	second := c.nodes[1]
	lost := []sta.Issued{c.issue("user2", "phone"), c.issue("user2", "phone"), c.issue("user2", "tablet")}
	others := c.colleagues(5)
	var theirs, kept []*liveTunnel
	for _, g := range c.gateways {
		theirs = append(theirs, c.open(g, 50, lost...)...)
		kept = append(kept, c.open(g, 150, others...)...)
	}
	passAll(t, slices.Concat(theirs, kept))

	said := c.ticket(second, 0, "revoke", "--user", "user2", "--operator", "operator7").stdout
	if want := `^3 tickets revoked\n100 cut, 2 gateways, \d\.\d{3} s\n$`; !regexp.MustCompile(want).MatchString(said) {
		t.Errorf("the answer is %q", said)
	}
	endAll(t, theirs)
	passAll(t, kept)
	for _, g := range c.gateways {
		c.await(g, `"event":"tunnel_closed".*"user":"user2".*"reason":"revoked"`, 50)
		if n := strings.Count(g.stderr.String(), `"reason":"revoked"`); n != 50 {
			t.Errorf("%s: %d tunnels ended as revoked, not 50", g.name, n)
		}
	}
	c.checkAudit(second, "user2", "operator7")
	for _, old := range lost {
		if shown, err := c.nodes[0].api.Show(t.Context(), old.ID); err != nil || shown.Status != sta.Revoked {
			t.Errorf("the other node shows %q, %v", shown.Status, err)
		}
		for _, g := range c.gateways {
			if tunnel, err := c.dial(t.Context(), g, old.Handle.Reveal()); err == nil {
				_ = tunnel.Close()
				t.Errorf("%s lets the revoked ticket in", g.name)
			}
		}
	}
	again := c.issue("user2", "phone")
	for _, g := range c.gateways {
		passAll(t, c.open(g, 1, again))
	}

	t.Run("soon again", c.revokeSoonAgain)
	t.Run("nothing matches", c.revokeNothing)
	t.Run("a model's name", c.revokeModel)
	t.Run("a gateway stands still", c.revokePastGateway)
	t.Run("in stages", c.revokeInStages)
}

func (c *cluster) revokeNothing(t *testing.T) {
	c.issue("user5@example.com", "phone")
	said := c.ticket(c.nodes[0], 1, "revoke", "--user", "user5@exmaple.com")
	if said.stdout != "" || !strings.Contains(said.stderr, `"user5@example.com"`) {
		t.Errorf("the answer is %q, %q", said.stdout, said.stderr)
	}
}

// revokeModel: some devices call themselves by what they are, so that a name is
// that of many.
func (c *cluster) revokeModel(t *testing.T) {
	const model = "Apple-iPhone14C2/2003.71"
	mine, others := c.issue("user6", model), c.issue("user7", model)
	cut, kept := c.open(c.gateways[0], 1, mine), c.open(c.gateways[1], 1, others)
	said := c.ticket(c.nodes[0], 1, "revoke", "--device", model)
	if said.stdout != "" || !strings.HasSuffix(said.stderr, `: "user6", "user7"`+"\n") {
		t.Errorf("the answer is %q, %q", said.stdout, said.stderr)
	}
	passAll(t, slices.Concat(cut, kept))
	c.ticket(c.nodes[0], 0, "revoke", "--device", model, "--user", "user6")
	endAll(t, cut)
	passAll(t, kept)
	c.ticket(c.nodes[0], 0, "revoke", "--device", model, "--all-matching")
	endAll(t, kept)
}

// revokePastGateway: a gateway that does not answer is named, and cuts when it
// can.
func (c *cluster) revokePastGateway(t *testing.T) {
	slow := c.gateways[1]
	tunnels := c.open(slow, 2, c.issue("user8", "phone"))
	c.check(slow.cmd.Process.Signal(syscall.SIGSTOP))
	defer func() { _ = slow.cmd.Process.Signal(syscall.SIGCONT) }()
	said := c.ticket(c.nodes[0], 0, "revoke", "--user", "user8").stdout
	if want := `^0 cut, 2 gateways, 1\.\d{3} s\nno answer from gateway/gw-2: `; !regexp.MustCompile(want).MatchString(said) {
		t.Errorf("the answer is %q", said)
	}
	c.check(slow.cmd.Process.Signal(syscall.SIGCONT))
	endAll(t, tunnels)
}

// revokeInStages: all are cut at once, and come back with the tickets that they
// have, not all together.
func (c *cluster) revokeInStages(t *testing.T) {
	const stage = 5 * time.Second
	tickets := c.colleagues(12)
	var tunnels []*liveTunnel
	for _, g := range c.gateways {
		tunnels = append(tunnels, c.open(g, len(tickets), tickets...)...)
	}
	began := time.Now()
	said := c.ticket(c.nodes[0], 0, "revoke", "--all", "--stage", stage.String(), "--json").stdout
	answered := time.Now()
	var answer struct {
		Scope string
		Cut   int
	}
	if err := json.Unmarshal([]byte(said), &answer); err != nil || answer.Scope != "all" || answer.Cut < len(tunnels) {
		t.Errorf("the answer is %q", said)
	}
	endAll(t, tunnels)
	back := make([]time.Time, len(tickets))
	var coming sync.WaitGroup
	for i, ticket := range tickets {
		coming.Go(func() { back[i] = c.comeBack(t, c.gateways[i%2], ticket, answered.Add(stage+patience)) })
	}
	coming.Wait()
	slices.SortFunc(back, time.Time.Compare)
	first, last := back[0].Sub(began), back[len(back)-1].Sub(answered)
	t.Logf("the first was back after %.1f s, the last after %.1f s", first.Seconds(), last.Seconds())
	if first < stage/10 {
		t.Errorf("the first was back after %v", first)
	}
	if last > stage+2*time.Second {
		t.Errorf("the last was back after %v", last)
	}
	if together := back[len(back)-1].Sub(back[0]); together < stage/5 {
		t.Errorf("all were back within %v", together)
	}
}

// comeBack tries until a ticket is let in, and tells when that was.
func (c *cluster) comeBack(t *testing.T, g *member, ticket sta.Issued, late time.Time) time.Time {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		tunnel, err := c.dial(t.Context(), g, ticket.Handle.Reveal())
		if err == nil {
			defer tunnel.Close()
			if err := tunnel.pass(); err != nil {
				t.Error(err)
			}
			return time.Now()
		}
		if <-again.C; time.Now().After(late) {
			t.Errorf("not let in again: %v", err)
			return late
		}
	}
}

// colleagues gives so many tickets, each of another user.
func (c *cluster) colleagues(n int) []sta.Issued {
	c.t.Helper()
	tickets := make([]sta.Issued, n)
	for i := range tickets {
		tickets[i] = c.issue("colleague"+string(rune('a'+i)), "phone")
	}
	return tickets
}

// each does the same with many tunnels at once.
func each(t testing.TB, tunnels []*liveTunnel, do func(*liveTunnel) error) {
	t.Helper()
	var running sync.WaitGroup
	for _, tunnel := range tunnels {
		running.Go(func() {
			if err := do(tunnel); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
}

func passAll(t testing.TB, tunnels []*liveTunnel) {
	t.Helper()
	each(t, tunnels, (*liveTunnel).pass)
}

func endAll(t testing.TB, tunnels []*liveTunnel) {
	t.Helper()
	each(t, tunnels, (*liveTunnel).awaitEnd)
}

// checkAudit wants one line that says when who revoked whom.
func (c *cluster) checkAudit(n *member, user, operator string) {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(n.dir, "data", "audit.log"))
	c.check(err)
	lines := regexp.MustCompile(`(?m)^{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z","action":"revoke","result":"ok","scope":"user",`+
		`"client":"enrolment","operator":"`+operator+`","user":"`+user+`",.*}$`).FindAll(data, -1)
	if len(lines) != 1 {
		c.t.Errorf("%s has %d lines about it:\n%s", n.name, len(lines), data)
	}
}

// revokeSoonAgain: what is issued after a revocation ends by the next one, also
// within the second.
func (c *cluster) revokeSoonAgain(t *testing.T) {
	for range 3 {
		tunnels := c.open(c.gateways[0], 1, c.issue("user2", "phone"))
		if said := c.ticket(c.nodes[1], 0, "revoke", "--user", "user2").stdout; !strings.Contains(said, " cut, 2 gateways, ") {
			t.Errorf("the answer is %q", said)
		}
		endAll(t, tunnels)
	}
}
