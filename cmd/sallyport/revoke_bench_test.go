package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
)

// BenchmarkRevokeUser revokes a user at one node of two, while 2,000 tunnels are
// live at each of two gateways, 50 of them the user's. A round lasts from the
// request until the devices' side of the last of the 100 has seen its end; each
// has a user, tickets and tunnels of its own. answer-ms is what the CLI prints.
//
//	go test -run '^$' -bench 'RevokeUser$' -count 5 ./cmd/sallyport | tee new.txt && benchstat new.txt
func BenchmarkRevokeUser(b *testing.B) {
	c := startCluster(b, plan{nodes: 2, gateways: 2})
	c.crowd(1950)
	for b.Loop() {
		var took, answers []time.Duration
		for i := range 100 {
			ended, result := c.revokeRound(fmt.Sprintf("user%d", i), 50)
			took, answers = append(took, ended), append(answers, result.Took)
			if result.Cut() != 100 {
				b.Errorf("round %d: %d cut, not 100: %+v", i, result.Cut(), result)
			}
		}
		report(b, "", took)
		report(b, "answer-", answers)
	}
}

// BenchmarkRevokeUserUnheard is the same when no node hears of what the others
// write, and finds it by looking. The gateways ask the other node than the one
// that revokes.
func BenchmarkRevokeUserUnheard(b *testing.B) {
	c := startCluster(b, deafPlan(b, new(atomic.Int64)))
	c.crowd(1950)
	for b.Loop() {
		var took []time.Duration
		for i := range 30 {
			ended, _ := c.revokeRound(fmt.Sprintf("user%d", i), 50)
			took = append(took, ended)
		}
		report(b, "", took)
	}
}

// TestRevokeUnheard drops what wakes the nodes: every tunnel is cut nevertheless,
// within 5 s.
func TestRevokeUnheard(t *testing.T) {
	var dropped atomic.Int64
	c := startCluster(t, deafPlan(t, &dropped))
	kept := c.open(c.gateways[0], 5, c.issue("colleague", "phone"))
	before := dropped.Load()
	for i := range 3 {
		if took, _ := c.revokeRound(fmt.Sprintf("user%d", i), 5); took > 5*time.Second {
			t.Errorf("the last tunnel ended after %v", took)
		}
	}
	passAll(t, kept)
	if dropped.Load() == before {
		t.Error("there was nothing to drop")
	}
}

// crowd opens so many tunnels at each gateway, which stay.
func (c *cluster) crowd(n int) {
	c.t.Helper()
	tickets := c.colleagues(20)
	for _, g := range c.gateways {
		c.open(g, n, tickets...)
	}
}

// revokeRound gives a user n tunnels at each gateway, on three tickets, and
// revokes the user at the second node. It tells how long the last one lived.
func (c *cluster) revokeRound(user string, n int) (time.Duration, sta.RevokeResult) {
	c.t.Helper()
	tickets := []sta.Issued{c.issue(user, "phone"), c.issue(user, "phone"), c.issue(user, "tablet")}
	var tunnels []*liveTunnel
	for _, g := range c.gateways {
		tunnels = append(tunnels, c.open(g, n, tickets...)...)
	}
	var ready, ended sync.WaitGroup
	ready.Add(len(tunnels))
	for _, tunnel := range tunnels {
		ended.Go(func() {
			ready.Done()
			if err := tunnel.awaitEnd(); err != nil {
				c.t.Error(err)
			}
		})
	}
	ready.Wait()
	last := make(chan time.Duration)
	began := time.Now()
	go func() {
		ended.Wait()
		last <- time.Since(began)
	}()
	result, err := c.nodes[1].api.Revoke(c.t.Context(), sta.RevokeRequest{User: user})
	took := <-last
	for _, tunnel := range tunnels { // there are more rounds than descriptors
		_ = tunnel.Close()
	}
	c.check(err)
	return took, result
}

// report gives the middle, the 99th percentile and the greatest in ms.
func report(b *testing.B, prefix string, took []time.Duration) {
	slices.Sort(took)
	for name, i := range map[string]int{"p50": len(took) / 2, "p99": (len(took)*99 - 1) / 100, "max": len(took) - 1} {
		b.ReportMetric(float64(took[i].Microseconds())/1000, prefix+name+"-ms")
	}
}

// deafPlan has two nodes that reach Redis by way of a proxy, which passes on
// everything but published messages. Those it counts.
func deafPlan(t testing.TB, dropped *atomic.Int64) plan {
	return plan{nodes: 2, gateways: 2, deaf: true, redis: func(c *cluster, _ int) string {
		return redisAt(startDeaf(t, c.startRedis().Addr, dropped))
	}}
}

// startDeaf gives the proxy's address.
func startDeaf(t testing.TB, server string, dropped *atomic.Int64) string {
	t.Helper()
	l, err := net.Listen("tcp", loopback("0"))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer client.Close()
				redis, err := net.Dial("tcp", server)
				if err != nil {
					return // the client sees its connection end
				}
				serving.Go(func() {
					_, _ = io.Copy(redis, client)
					_ = redis.Close()
				})
				_ = passReplies(client, bufio.NewReader(redis), dropped)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait() // the nodes have ended, and so have their connections
	})
	return l.Addr().String()
}

// passReplies passes a server's replies on, without published messages.
func passReplies(to io.Writer, from *bufio.Reader, dropped *atomic.Int64) error {
	for {
		var reply bytes.Buffer
		if err := readReply(&reply, from); err != nil {
			return err
		}
		if text := reply.String(); strings.HasPrefix(text, "*3\r\n$7\r\nmessage\r\n") || strings.HasPrefix(text, ">3\r\n$7\r\nmessage\r\n") {
			dropped.Add(1)
			continue
		}
		if _, err := to.Write(reply.Bytes()); err != nil {
			return err
		}
	}
}

// readReply reads one reply of Redis's protocol: a line, and behind it the bytes
// or the replies that it counts.
func readReply(into *bytes.Buffer, from *bufio.Reader) error {
	line, err := from.ReadString('\n')
	into.WriteString(line)
	if err != nil {
		return err
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(line[1:]), 10, 64) // other lines count nothing
	switch line[0] {
	case '$', '=', '!':
		if n >= 0 {
			_, err = io.CopyN(into, from, n+2)
		}
		return err
	case '%':
		n *= 2
	case '*', '>', '~':
	default:
		return nil
	}
	for range n {
		if err := readReply(into, from); err != nil {
			return err
		}
	}
	return nil
}
