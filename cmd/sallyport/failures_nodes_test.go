package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
)

// noticed is how soon a gateway goes over to another node.
const noticed = 10 * time.Second

// impatient has gateways look again soon whether a node is back, and keep nobody
// waiting for long.
func impatient(name, text string) string {
	text = strings.Replace(text, "key_file: ../gateway.key}\n  policy:", "key_file: ../gateway.key, bypass: 1s}\n  policy:", 1)
	return strings.Replace(text, "drain_timeout: 0s\n", "drain_timeout: 0s\n  setup_timeout: 3s\n", 1)
}

// TestAuthorityKilled: when the node that the gateways follow is gone, they follow
// the other, and revoking goes on.
func TestAuthorityKilled(t *testing.T) {
	c := startCluster(t, plan{nodes: 2, gateways: 2, edit: impatient})
	gone, left := c.nodes[0], c.nodes[1]
	lost, kept := c.issue("user2", "phone"), c.issue("user3", "phone")
	live := append(c.open(c.gateways[0], 2, lost), c.open(c.gateways[1], 2, lost)...)
	began := time.Now()
	gone.kill()
	c.goOver(gone, began)

	said := c.revokes(left, "--user", "user2")
	if said.Cut != len(live) || len(said.Gateways) != 2 || !said.SingleCopy || !said.Gateways[0].Answered || !said.Gateways[1].Answered {
		t.Errorf("at the node that is left: %+v", said)
	}
	for _, tunnel := range live {
		c.check(tunnel.awaitEnd())
	}
	for _, g := range c.gateways {
		c.refuses(g, lost, byHandle, ticket.Revoked)
		c.admits(g, kept, byHandle) // which only the other node can redeem
	}

	c.start(gone)
	c.comesBack(gone)
	c.knowsRevoked(gone, lost)
	if said := c.revokes(gone, kept.ID); said.Copies != 1 || len(said.Gateways) != 2 {
		t.Errorf("at the node that is back: %+v", said)
	}
	for _, g := range c.gateways {
		c.refuses(g, kept, byHandle, ticket.Revoked)
	}
}

// TestAuthoritySilent: a node that keeps its connections and says nothing is left
// in time, too, and whoever has a new ticket need not wait until then.
func TestAuthoritySilent(t *testing.T) {
	c := startCluster(t, plan{nodes: 2, gateways: 2, edit: func(_, text string) string {
		return strings.Replace(text, "key_file: ../gateway.key}\n  policy:", "key_file: ../gateway.key, bypass: 1s}\n  policy:", 1)
	}})
	silent, left := c.nodes[0], c.nodes[1]
	lost, cold := c.issue("user2", "phone"), c.issue("user3", "phone")
	live := append(c.open(c.gateways[0], 2, lost), c.open(c.gateways[1], 2, lost)...)
	began := time.Now()
	c.check(silent.cmd.Process.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = silent.cmd.Process.Signal(syscall.SIGCONT) }) // or it would not end
	for _, g := range c.gateways {
		c.admits(g, cold, byHandle)
	}
	c.goOver(silent, began)

	if said := c.revokes(left, "--user", "user2"); said.Cut != len(live) || len(said.Gateways) != 2 {
		t.Errorf("at the node that is left: %+v", said)
	}
	for _, g := range c.gateways {
		c.refuses(g, lost, byToken, ticket.Revoked)
	}
	c.check(silent.cmd.Process.Signal(syscall.SIGCONT))
	c.comesBack(silent)
	c.within(noticed, "the node that was silent knows what was revoked", func() bool {
		_, err := silent.api.Redeem(t.Context(), lost.Handle.Hash())
		return ticket.ReasonOf(err) == ticket.Revoked
	})
}

// TestAuthoritiesGone: with nobody to ask, gateways let in by what they know, or
// are shown signed, and nobody else. A restart takes along what is left of the
// grace and makes none; another start of the machine leaves nothing of it. That
// it ends after 15 minutes is tested in sta/follow, on a clock that can be set.
func TestAuthoritiesGone(t *testing.T) {
	c := startCluster(t, plan{nodes: 2, gateways: 2, edit: impatient})
	gateway, other := c.gateways[0], c.gateways[1]
	warm, carried, unknown, lost := c.issue("user2", "phone"), c.issue("user3", "phone"), c.issue("user4", "phone"), c.issue("user5", "phone")
	c.revokes(c.nodes[0], lost.ID)
	live := c.open(gateway, 1, warm)[0]
	for _, n := range c.nodes {
		n.kill()
	}
	for _, g := range c.gateways {
		c.await(g, `"event":"revocations_lost"`, 1)
	}
	c.admits(gateway, warm, byHandle)
	for _, g := range c.gateways {
		c.admits(g, carried, byToken)
		c.refuses(g, unknown, byHandle, ticket.Unavailable)
		c.refuses(g, lost, byToken, ticket.Revoked)
	}
	c.check(live.pass())

	gateway.kill()
	c.start(gateway)
	c.admits(gateway, carried, byToken)
	c.refuses(gateway, warm, byHandle, ticket.Unavailable)
	c.refuses(gateway, lost, byToken, ticket.Revoked)

	gateway.kill()
	c.asOfAnotherStart(gateway)
	c.start(gateway)
	c.refuses(gateway, carried, byToken, ticket.Unavailable)
	c.refuses(gateway, warm, byHandle, ticket.Unavailable)
	c.admits(other, carried, byToken) // whose machine was not started anew

	c.start(c.nodes[1])
	c.await(gateway, `"event":"authority_up"`, 1)
	c.admits(gateway, carried, byToken)
	c.admits(gateway, unknown, byHandle)
	c.refuses(gateway, lost, byHandle, ticket.Revoked)
}

// goOver wants the gateways to notice in time that a node is gone.
func (c *cluster) goOver(gone *member, began time.Time) {
	c.t.Helper()
	for _, g := range c.gateways {
		c.await(g, fmt.Sprintf(`"event":"authority_down".*"node":"https://%s"`, gone.addr), 1)
	}
	if took := time.Since(began); took > noticed {
		c.t.Errorf("the gateways went over after %s", took)
	}
}

// comesBack waits until the gateways ask a node again.
func (c *cluster) comesBack(n *member) {
	c.t.Helper()
	for _, g := range c.gateways {
		c.await(g, fmt.Sprintf(`"event":"authority_up".*"node":"https://%s"`, n.addr), 2)
	}
}

// asOfAnotherStart makes what a gateway keeps look as if the machine had been
// started anew since.
func (c *cluster) asOfAnotherStart(g *member) {
	c.t.Helper()
	const note = "follow.grace"
	files, err := filepath.Glob(filepath.Join(g.dir, "data", "gateway", "STA01*.db"))
	c.check(err)
	if len(files) != 1 {
		c.t.Fatalf("the gateway keeps what it knows in %q", files)
	}
	log, err := revlog.Open(files[0], "")
	c.check(err)
	kept, err := log.Noted(note)
	c.check(err)
	start, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	c.check(err)
	start = bytes.TrimSpace(start)
	if !json.Valid(kept) || !bytes.Contains(kept, start) {
		c.t.Fatalf("the gateway keeps %q, without the start %s", kept, start)
	}
	c.check(log.Note(note, bytes.ReplaceAll(kept, start, []byte("00000000-0000-4000-8000-000000000000"))))
	c.check(log.Close())
}
