package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/redisstore/redistest"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// These tests take away what an authority stands on, the real thing each time, and
// look at what is left: whether revoking goes on, and whether anybody who was
// revoked is let in. Redis is here, and the audit file's disk; authorities
// that fail are in failures_nodes_test.go, and a Redis that fails over in
// failovers_test.go.

// TestRedisKilled: without Redis nobody gets a ticket, revoking goes on, and what
// was revoked is in Redis and known to the other node when there is one again.
func TestRedisKilled(t *testing.T) {
	c := startCluster(t, plan{nodes: 2, gateways: 2})
	lost, kept := c.issue("user2", "phone"), c.issue("user3", "phone")
	var cut, live []*liveTunnel
	for _, g := range c.gateways {
		cut = append(cut, c.open(g, 3, lost)...)
		live = append(live, c.open(g, 1, kept)...)
	}
	before := c.stored()
	c.redis.Kill()

	if took := c.refusesToIssue(c.nodes[0]); took > 3*time.Second {
		t.Errorf("it took %s to say that no ticket can be issued", took)
	}
	said := c.revokes(c.nodes[0], "--user", "user2")
	if said.Cut != len(cut) || !said.SingleCopy || len(said.Gateways) != 2 || !strings.Contains(strings.Join(said.Warnings, "\n"), "nobody looked at what matches") {
		t.Errorf("without Redis: %+v", said)
	}
	for _, tunnel := range cut {
		c.check(tunnel.awaitEnd())
	}
	for i, g := range c.gateways {
		c.refuses(g, lost, byHandle, ticket.Revoked)
		c.refuses(g, lost, byToken, ticket.Revoked)
		c.admits(g, kept, byHandle)
		c.check(live[i].pass())
	}
	c.await(c.nodes[0], `"event":"store_away"`, 1)

	// The node that revoked dies, with the one log that has it. The gateways have it,
	// too, and hand it to the other node.
	c.nodes[0].kill()
	c.redis.Restart()
	c.within(noticed+5*time.Second, "the entry is in Redis, and known to the other node", func() bool {
		shown, err := c.nodes[1].api.Show(t.Context(), lost.ID)
		return err == nil && shown.Status == sta.Revoked && c.stored() == before+1
	})
	c.start(c.nodes[0])
	for _, n := range c.nodes {
		c.within(10*time.Second, "the node issues again", func() bool { return c.canIssue(n) })
		c.knowsRevoked(n, lost)
	}
	again := c.issue("user2", "phone")
	for _, g := range c.gateways {
		c.refuses(g, lost, byHandle, ticket.Revoked)
		c.admits(g, again, byHandle)
	}
}

// TestRedisSilent: a Redis that takes connections and says nothing is as good as
// none, and holds nobody up.
func TestRedisSilent(t *testing.T) {
	const silence, most = 6 * time.Second, 8 * time.Second
	c := startCluster(t, plan{nodes: 2, gateways: 2})
	warm, cold, lost := c.issue("user2", "phone"), c.issue("user3", "phone"), c.issue("user4", "phone")
	for _, g := range c.gateways {
		c.admits(g, warm, byHandle)
	}
	c.redis.Pause()
	over := time.After(silence)
	node := c.nodes[0].api
	var asking sync.WaitGroup
	for what, ask := range map[string]func(ctx context.Context) error{
		"issue": func(ctx context.Context) error {
			_, err := node.Issue(ctx, sta.IssueRequest{User: "u", Device: "d"})
			return err
		},
		"list":   func(ctx context.Context) error { _, err := node.List(ctx, sta.Filter{}); return err },
		"show":   func(ctx context.Context) error { _, err := node.Show(ctx, warm.ID); return err },
		"redeem": func(ctx context.Context) error { _, err := node.Redeem(ctx, cold.Handle.Hash()); return err },
		"tunnel": func(context.Context) error {
			_, err := c.present(c.gateways[0], cold, byHandle)
			if errors.Is(err, socks.ErrAuth) {
				err = ticket.Refuse(ticket.Unavailable, "by the gateway")
			}
			return err
		},
	} {
		asking.Go(func() {
			began := time.Now()
			err := ask(t.Context())
			if took := time.Since(began); ticket.ReasonOf(err) != ticket.Unavailable || took > most {
				t.Errorf("%s: %v after %s", what, err, took)
			}
		})
	}
	asking.Go(func() {
		began := time.Now()
		r, err := node.Revoke(t.Context(), sta.RevokeRequest{User: "user4"})
		if took := time.Since(began); err != nil || !r.SingleCopy || len(r.Warnings) == 0 || took > most {
			t.Errorf("revoke: %+v, %v after %s", r, err, took)
		}
	})
	pause := time.NewTicker(250 * time.Millisecond)
	defer pause.Stop()
	for opened, waiting := 0, true; waiting; {
		select {
		case <-over:
			waiting = false
		case <-pause.C:
			began := time.Now()
			c.admits(c.gateways[opened%2], warm, byHandle)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("a ticket that is known waited %s", took)
			}
			opened++
		}
	}
	c.redis.Resume()
	asking.Wait()
	for _, n := range c.nodes {
		c.within(10*time.Second, "the node issues again", func() bool { return c.canIssue(n) })
		c.within(10*time.Second, "the node knows what was revoked", func() bool {
			_, err := n.api.Redeem(t.Context(), lost.Handle.Hash())
			return ticket.ReasonOf(err) == ticket.Revoked
		})
	}
	for _, g := range c.gateways {
		c.refuses(g, lost, byHandle, ticket.Revoked)
		c.admits(g, cold, byHandle)
	}
}

// TestRedisFlushed: what an empty Redis must have, the nodes put back. Tickets
// are gone with it, so only who carries a statement is known by it.
func TestRedisFlushed(t *testing.T) {
	c := startCluster(t, plan{nodes: 2, gateways: 2})
	lost, unseen, kept := c.issue("user2", "phone"), c.issue("user2", "tablet"), c.issue("user3", "phone")
	c.admits(c.gateways[0], lost, byHandle)
	c.revokes(c.nodes[1], "--user", "user2")
	before, keys := c.stored(), c.redis.Do("get", keySet)
	c.redis.FlushAll()
	c.within(5*time.Second, "revocations and key set are back", func() bool {
		return c.stored() == before && c.redis.Do("get", keySet) == keys
	})
	if !slices.ContainsFunc(c.nodes, func(n *member) bool {
		return strings.Contains(n.stderr.String(), `"event":"revocations_written_back"`)
	}) {
		t.Error("no node says that revocations were lost")
	}
	for _, g := range c.gateways {
		for _, revoked := range []sta.Issued{lost, unseen} {
			c.refuses(g, revoked, byHandle, ticket.Revoked, ticket.Unknown)
			c.refuses(g, revoked, byToken, ticket.Revoked)
		}
		c.refuses(g, kept, byHandle, ticket.Unknown)
		c.admits(g, kept, byToken)
	}
	// Whom no list shows any more can still be revoked.
	c.revokes(c.nodes[0], "--user", "user3", "--all-matching")
	again := c.issue("user3", "phone")
	for _, g := range c.gateways {
		c.refuses(g, kept, byToken, ticket.Revoked)
		c.admits(g, again, byHandle)
	}
}

// TestRedisRestored: a Redis that is put back to a time before a revocation does
// not bring the ticket back, not even at a node that knows nothing but Redis.
func TestRedisRestored(t *testing.T) {
	server := redistest.Start(t, redistest.Options{})
	c := startCluster(t, plan{nodes: 2, gateways: 2, redis: func(*cluster, int) string {
		return fmt.Sprintf("{addrs: [%q]}", server.Addr)
	}})
	c.redis = server
	lost, kept := c.issue("user2", "phone"), c.issue("user3", "phone")
	dump := server.DumpFile()
	if said := c.revokes(c.nodes[0], lost.ID); said.Copies != 1 || said.SingleCopy || len(said.Warnings) > 0 {
		t.Errorf("with two nodes: %+v", said)
	}
	before := c.stored()
	server.Restart() // without saving: from the dump
	if _, err := os.Stat(dump); err != nil || c.redis.Do("exists", keySet) != int64(1) {
		t.Fatalf("Redis has not come back as it was: %v", err)
	}
	c.within(5*time.Second, "the revocation is back in Redis", func() bool { return c.stored() == before })

	c.nodes[1].kill()
	c.check(os.RemoveAll(filepath.Join(c.nodes[1].dir, "data", "sta")))
	c.start(c.nodes[1])
	for _, n := range c.nodes {
		c.knowsRevoked(n, lost)
	}
	for _, g := range c.gateways {
		c.refuses(g, lost, byHandle, ticket.Revoked)
		c.refuses(g, lost, byToken, ticket.Revoked)
		c.admits(g, kept, byHandle)
	}
}

// TestAuditDiskFull: no ticket leaves that is not audited, revoking goes on, and
// so does issuing when there is room. What fills up is the room that the shell
// leaves the process for a file: it is there on every system, for every user.
func TestAuditDiskFull(t *testing.T) {
	const blocks, room = 2048, 2048 * 512 // a block of ulimit is 512 bytes
	c := startCluster(t, plan{nodes: 1, gateways: 1})
	node, gateway := c.nodes[0], c.gateways[0]
	lost := c.issue("user2", "phone")
	live := c.open(gateway, 2, lost)
	audit := filepath.Join(node.dir, "data", "audit.log")
	c.end(node.process)
	text, err := os.ReadFile(audit)
	c.check(err)
	line, _, _ := bytes.Cut(text, []byte("\n"))
	// The first bytes of the next line still fit.
	text = append(text, bytes.Repeat(append(line, '\n'), (room-len(text))/(len(line)+1))...)
	c.check(os.WriteFile(audit, text, 0o600))
	node.starts++
	node.process, err = startProcess(node.dir, fmt.Sprintf("%s-run%d", node.name, node.starts), c.env,
		"sh", "-c", fmt.Sprintf("ulimit -S -f %d && exec sallyport serve --config sallyport.yaml", blocks))
	c.check(err)
	limited := node.process
	t.Cleanup(func() { c.end(limited) })
	c.await(node, `"event":"authority_ready"`, 1)

	c.refusesToIssue(node)
	c.await(node, `"event":"audit_failed"`, 1)
	if after, err := os.ReadFile(audit); err != nil || !bytes.Equal(after, text) {
		t.Errorf("the audit file holds %d bytes after %d, %v", len(after), len(text), err)
	}
	c.await(gateway, `"event":"authority_up"`, 2) // it follows again
	said := c.revokes(node, lost.ID)
	if said.Cut != len(live) || !strings.Contains(strings.Join(said.Warnings, "\n"), "audit log") {
		t.Errorf("with a full audit disk: %+v", said)
	}
	c.refuses(gateway, lost, byToken, ticket.Revoked)

	c.check(os.Truncate(audit, int64(len(line)+1)))
	c.admits(gateway, c.issue("user3", "phone"), byHandle)
	text, err = os.ReadFile(audit)
	c.check(err)
	for line := range bytes.Lines(text) {
		if !json.Valid(line) {
			t.Errorf("a line of the audit file is torn: %q", line)
		}
	}
	if !bytes.Contains(text, []byte("user3")) {
		t.Error("what was issued is not in the audit file")
	}
}

// keySet is where Redis has the authority's key set.
const keySet = "sallyport:{STA01}:keyset"

// stored counts the revocations in Redis.
func (c *cluster) stored() (n int64) {
	c.t.Helper()
	for _, writer := range c.redis.Do("smembers", "sallyport:{STA01}:writers").([]any) {
		n += c.redis.Do("zcard", fmt.Sprint("sallyport:{STA01}:e:", writer)).(int64)
	}
	return n
}
