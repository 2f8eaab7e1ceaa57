package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// This file has what the tests of failures do at a cluster, and what they look at.

// form is how a device shows its ticket.
type form bool

const (
	byHandle form = false // in the place of a password
	byToken  form = true  // with its statement
)

// present opens a tunnel with a ticket, sends bytes through it and closes it. It
// gives the address that the gateway's log has.
func (c *cluster) present(g *member, issued sta.Issued, as form) (client string, err error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: c.roots, ServerName: fqdn, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", g.addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	client = conn.LocalAddr().String()
	if as == byToken {
		_ = conn.SetDeadline(time.Now().Add(patience))
		err = handshakeByToken(conn, issued.Token(), echoHost, c.echo)
	} else {
		err = socks.ClientHandshake(ctx, conn, socks.Auth{User: "device", Password: issued.Handle.Reveal()}, echoHost, uint16(c.echo))
	}
	if err == nil {
		err = (&liveTunnel{conn}).pass()
	}
	return client, err
}

// handshakeByToken is the device's side of method 0x80.
func handshakeByToken(conn net.Conn, token, host string, port int) error {
	var answer [4]byte
	if _, err := conn.Write(append([]byte{socks.Version, 1, 0x80}, socks.AppendToken(nil, token)...)); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	switch answer {
	case [4]byte{socks.Version, 0x80, 1, 0}:
	case [4]byte{socks.Version, 0x80, 1, 1}:
		return socks.ErrAuth
	default:
		return fmt.Errorf("% x is no answer to a token", answer)
	}
	request := append([]byte{socks.Version, 1, 0, 3, byte(len(host))}, host...)
	if _, err := conn.Write(append(request, byte(port>>8), byte(port))); err != nil {
		return err
	}
	return socks.ReadReply(conn)
}

// admits wants a ticket to open a tunnel.
func (c *cluster) admits(g *member, issued sta.Issued, as form) {
	c.t.Helper()
	if client, err := c.present(g, issued, as); err != nil {
		c.t.Errorf("%s refuses a good ticket (token: %t): %v: %s", g.name, as, err, c.reason(g, client))
	}
}

// refuses wants a ticket to be refused, for one of these reasons.
func (c *cluster) refuses(g *member, issued sta.Issued, as form, reasons ...ticket.Reason) {
	c.t.Helper()
	client, err := c.present(g, issued, as)
	if !errors.Is(err, socks.ErrAuth) {
		c.t.Errorf("%s does not refuse the ticket (token: %t): %v", g.name, as, err)
		return
	}
	if reason := c.reason(g, client); !slices.Contains(reasons, reason) {
		c.t.Errorf("%s refuses the ticket (token: %t) for reason %q, not %q", g.name, as, reason, reasons)
	}
}

// reason is what the gateway's log says about a connection that it refused.
func (c *cluster) reason(g *member, client string) ticket.Reason {
	c.t.Helper()
	pattern := regexp.MustCompile(fmt.Sprintf(`"event":"tunnel_refused","client":"%s".*"reason":"([a-z_]+)"`, regexp.QuoteMeta(client)))
	found, err := g.stderr.await(pattern, 1, g.ended)
	if err != nil {
		c.t.Errorf("%s: %v", g.name, err)
		return ""
	}
	return ticket.Reason(found[1])
}

// revoked is what sallyport ticket revoke --json says.
type revoked struct {
	Cut, Copies int
	SingleCopy  bool `json:"single_copy"`
	Gateways    []struct {
		Name     string
		Answered bool
	}
	Warnings []string
}

// revokes runs sallyport ticket revoke at a node.
func (c *cluster) revokes(n *member, args ...string) (r revoked) {
	c.t.Helper()
	said := c.ticket(n, 0, "revoke", append(args, "--json")...)
	c.check(json.Unmarshal([]byte(said.stdout), &r))
	for _, warning := range r.Warnings {
		if !strings.Contains(said.stderr, "sallyport: warning: "+warning) {
			c.t.Errorf("whoever revokes is not warned: %s", warning)
		}
	}
	return r
}

// refusesToIssue wants a node to answer 503, and when to ask again, to a request
// for a ticket.
func (c *cluster) refusesToIssue(n *member) (took time.Duration) {
	c.t.Helper()
	key, err := os.ReadFile(c.path("enrolment.key"))
	c.check(err)
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "https://"+n.addr+"/v1/tickets",
		strings.NewReader(`{"user": "user2", "device": "phone"}`))
	c.check(err)
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	began := time.Now()
	response, err := client.Do(request)
	c.check(err)
	took = time.Since(began)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	c.check(err)
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" || !bytes.Contains(body, []byte(`"unavailable"`)) {
		c.t.Errorf("a request for a ticket is answered %s, Retry-After %q: %s", response.Status, response.Header.Get("Retry-After"), body)
	}
	return took
}

// canIssue tells whether a node issues a ticket.
func (c *cluster) canIssue(n *member) bool {
	_, err := n.api.Issue(c.t.Context(), sta.IssueRequest{User: "probe", Device: "probe"})
	return err == nil
}

// knowsRevoked wants a node to say of a ticket that it was revoked.
func (c *cluster) knowsRevoked(n *member, issued sta.Issued) {
	c.t.Helper()
	if _, err := n.api.Redeem(c.t.Context(), issued.Handle.Hash()); ticket.ReasonOf(err) != ticket.Revoked {
		c.t.Errorf("%s redeems what was revoked: %v", n.name, err)
	}
}

// within waits until something holds, and no longer.
func (c *cluster) within(limit time.Duration, what string, holds func() bool) (took time.Duration) {
	c.t.Helper()
	began := time.Now()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		if time.Since(began) > limit {
			c.t.Fatalf("not within %s: %s", limit, what)
		}
		<-again.C
	}
	return time.Since(began)
}
