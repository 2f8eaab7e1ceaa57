package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/tunnel/socks"
)

// TestNoSecretIsWritten runs a whole cluster, in which people put tickets wherever
// a name, an id or a key belongs, and then looks through everything that was
// written or answered: logs, output, answers, audit files, revocation logs, state,
// and Redis's two files. No secret may be there in any form.
func TestNoSecretIsWritten(t *testing.T) {
	c := startCluster(t, plan{nodes: 2, gateways: 2, edit: func(_, text string) string {
		return text + "log: {level: debug}\n"
	}})
	used, lost := c.issue("user2", "phone"), c.issue("user3", "phone")
	for _, g := range c.gateways {
		passAll(t, c.open(g, 2, used, lost))
	}
	c.misuseTunnels(used, lost)
	c.misuseDoor(used)
	c.misuseCommands(used)
	c.ticket(c.nodes[1], 0, "revoke", "--user", "user3")
	for _, g := range c.gateways {
		if tunnel, err := c.dial(t.Context(), g, lost.Handle.Reveal()); err == nil {
			_ = tunnel.Close()
			t.Errorf("%s lets a revoked ticket in", g.name)
		}
		c.await(g, `"event":"tunnel_refused".*"reason":"revoked"`, 1)
	}
	dump := c.redis.DumpFile()
	c.secrets = append(c.secrets, used.Token(), lost.Token())
	for _, m := range slices.Concat(c.gateways, c.nodes) {
		c.end(m.process)
	}
	c.searchAll(used.ID, dump)
}

// misuseTunnels presents tickets to the gateways in every wrong place.
func (c *cluster) misuseTunnels(good, other sta.Issued) {
	c.t.Helper()
	handle, second := good.Handle.Reveal(), other.Handle.Reveal()
	wrong := newKey()
	c.secrets = append(c.secrets, wrong)
	for _, g := range c.gateways {
		for _, try := range []struct {
			auth socks.Auth
			host string
		}{
			{socks.Auth{User: second, Password: handle}, echoHost},
			{socks.Auth{User: "claims " + second + second, Password: wrong}, echoHost},
			{socks.Auth{User: handle, Password: "x"}, echoHost},
			{socks.Auth{User: ";40;STA01;" + handle, Password: "x"}, echoHost},
			{socks.Auth{User: "u", Password: ";40;STA01;" + handle}, echoHost},
			{socks.Auth{User: "u", Password: handle}, second + ".example.com"},
			{socks.Auth{User: "u", Password: handle}, second},
			{socks.Auth{User: "u", Password: handle}, ";40;STA01;" + second},
			{socks.Auth{}, ";40;STA01;" + handle},
			{socks.Auth{}, ";40;STA01;" + handle + ";" + echoHost},
			{socks.Auth{}, ";40;STA01;" + handle + ";" + second},
			{socks.Auth{}, handle},
		} {
			c.tryTunnel(g, handle, try.auth, try.host)
		}
	}
}

// tryTunnel tries to open one, and does not mind how that ends.
func (c *cluster) tryTunnel(g *member, protocol string, auth socks.Auth, host string) {
	c.t.Helper()
	config := &tls.Config{RootCAs: c.roots, ServerName: fqdn, MinVersion: tls.VersionTLS12, NextProtos: []string{protocol}}
	dialer := tls.Dialer{Config: config}
	conn, err := dialer.DialContext(c.t.Context(), "tcp", g.addr)
	if err != nil {
		return // refused for its ALPN, which may be
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := socks.ClientHandshake(c.t.Context(), conn, auth, host, uint16(c.echo)); err != nil {
		c.keep("socks", []byte(err.Error()))
	}
}

// misuseDoor puts a ticket into every part of requests to a node, with and
// without a good key.
func (c *cluster) misuseDoor(good sta.Issued) {
	c.t.Helper()
	keys, err := sta.ReadKeyFile(c.path("enrolment.key"))
	c.check(err)
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12}},
		Timeout:   patience,
	}
	defer client.CloseIdleConnections()
	h := good.Handle.Reveal()
	for _, key := range []string{"", h, "Bearer " + h, "Bearer " + good.Token(), "Bearer " + keys[0].Reveal(), "Basic " + h} {
		for _, try := range []struct{ method, path, kind, body string }{
			{"GET", "/" + h, "", ""},
			{h, "/v1/tickets", "", ""},
			{"GET", "/v1/tickets/" + h, "", ""},
			{"GET", "/v1/tickets/x" + h + "/" + h, "", ""},
			{"GET", "/v1/tickets?" + h + "=1", "", ""},
			{"GET", "/v1/tickets?user=" + h, "", ""},
			{"GET", "/v1/tickets?after=" + h, "", ""},
			{"GET", "/v1/tickets?status=" + h, "", ""},
			{"GET", "/v1/tickets?limit=" + h, "", ""},
			{"DELETE", "/v1/tickets/" + h, "", ""},
			{"DELETE", "/v1/tickets/nothing?operator=" + h, "", ""},
			{"GET", "/v1/revocations?after=" + h, "", ""},
			{"GET", "/v1/revocations?gateway=" + h, "", ""},
			{"POST", "/v1/revocations", "application/json", `{"ticket":"` + h + `"}`},
			{"POST", "/v1/revocations", "application/json", `{"family":"` + h + `\n"}`},
			{"POST", "/v1/revocations", "application/json", `{"user":"` + h + `"}`},
			{"POST", "/v1/revocations", "application/json", `{"device":"` + h + `","operator":"` + h + `"}`},
			{"POST", "/v1/revocations", "application/json", `{"` + h + `":true}`},
			{"POST", "/v1/tickets", "application/json", `{"user":"u","device":"d","services":["` + h + `"]}`},
			{"POST", "/v1/tickets", "application/json", `{"user":"` + h + `","device":"d","lifetime":-1}`},
			{"POST", "/v1/tickets", h, `{}`},
			{"POST", "/v1/redeem", "application/json", `{"hash":"` + h + `"}`},
			{"POST", "/v1/cuts?gateway=" + h, "application/json", `{"applied":{}}`},
			{"POST", "/v1/cuts", "application/json", `{"applied":{"` + h + `\n":1}}`},
			{"POST", "/Scripts/CtxSTA.dll", "text/xml", requestData(h)},
			{"POST", "/Scripts/CtxSTA.dll?" + h, "text/xml", "<" + h + "/>"},
		} {
			c.tryDoor(client, c.nodes[0], try.method, try.path, try.kind, try.body, key)
		}
	}
}

func requestData(handle string) string {
	return `<?xml version="1.0"?><!DOCTYPE CtxSTAProtocol SYSTEM "CtxSTA.dtd"><CtxSTAProtocol version="4.0"><RequestData>` +
		`<Ticket>` + handle + `</Ticket><TicketVersion>40</TicketVersion></RequestData></CtxSTAProtocol>`
}

// tryDoor makes a request and keeps the answer.
func (c *cluster) tryDoor(client *http.Client, n *member, method, path, kind, body, key string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, "https://"+n.addr+path, strings.NewReader(body))
	c.check(err)
	r.Header.Set("Content-Type", kind)
	if key != "" {
		r.Header.Set("Authorization", key)
		r.Header.Set("X-Citrix-XmlServiceKey", strings.TrimPrefix(key, "Bearer "))
		r.Header.Set("X-Forwarded-For", strings.TrimPrefix(key, "Bearer "))
		r.Header.Set("User-Agent", strings.TrimPrefix(key, "Bearer "))
	}
	answer, err := client.Do(r)
	c.check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	c.check(err)
	c.keep("http", fmt.Appendf(nil, "%s\n%v\n%s", answer.Status, answer.Header, text))
}

// misuseCommands gives a ticket to the CLI where it wants a name or an id.
func (c *cluster) misuseCommands(good sta.Issued) {
	c.t.Helper()
	h, n := good.Handle.Reveal(), c.nodes[1]
	c.ticket(n, 1, "revoke", "--user", h)
	c.ticket(n, 1, "revoke", "--device", h, "--operator", h)
	c.ticket(n, 1, "revoke", "--user", h, "--device", h, "--json")
	c.ticket(n, -1, "revoke", h, "--operator", h)
	c.ticket(n, -1, "revoke", "--family", h)
	c.ticket(n, -1, "show", h)
	c.ticket(n, -1, "list", "--user", h)
	c.ticket(n, -1, "list", "--after", h)
	c.ticket(n, -1, "list", "--status", h)
}

// keep puts what was said into a file.
func (c *cluster) keep(kind string, text []byte) {
	c.t.Helper()
	c.said++
	c.check(os.MkdirAll(c.path("said"), 0o700))
	c.check(os.WriteFile(c.path(fmt.Sprintf("said/%s-%d.txt", kind, c.said)), text, 0o600))
}

// searchAll looks for the secrets wherever they do not belong, and, so that it
// would find them, for a ticket's id where that belongs.
func (c *cluster) searchAll(id, dump string) {
	c.t.Helper()
	forms := secretForms(append(c.privateKeys(), c.secrets...))
	windows := make(map[string]bool) // of 8 bytes of a handle
	for _, secret := range c.secrets {
		for i := 0; i+8 <= len(secret) && len(secret) == 32; i++ {
			windows[secret[i:i+8]] = true
		}
	}
	held := make(map[string]bool)
	for _, root := range []string{c.dir, filepath.Dir(dump)} {
		c.check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || isKeyFile(path) {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			held[filepath.Ext(path)] = held[filepath.Ext(path)] || bytes.Contains(data, []byte(id))
			if where := find(data, forms, windows); where >= 0 {
				c.t.Errorf("%s holds a secret:\n%s", path, data[max(0, where-200):min(len(data), where+80)])
			}
			return nil
		}))
	}
	for _, kind := range []string{".err", ".log", ".rdb", ".aof"} {
		if !held[kind] {
			c.t.Errorf("no %s file holds the ticket's id: what was searched?", kind)
		}
	}
}

// isKeyFile tells where secrets belong.
func isKeyFile(path string) bool {
	name := filepath.Base(path)
	return filepath.Ext(name) == ".key" || filepath.Ext(name) == ".pem" || name == "redis.password" || name == "redis.conf"
}

// find gives the place of a secret in data, -1 for none.
func find(data []byte, forms [][]byte, windows map[string]bool) int {
	for _, form := range forms {
		if at := bytes.Index(data, form); at >= 0 {
			return at
		}
	}
	for i := range data {
		if i+8 <= len(data) && windows[string(data[i:i+8])] {
			return i
		}
	}
	return -1
}

// secretForms are what a secret may look like: as it is, in lower case, in hex,
// and in base64 of either alphabet, wherever in the encoded text it begins.
func secretForms(secrets []string) [][]byte {
	var forms [][]byte
	add := func(form string) { forms = append(forms, []byte(form)) }
	for _, secret := range secrets {
		add(secret)
		add(strings.ToLower(secret))
		add(hex.EncodeToString([]byte(secret)))
		add(strings.ToUpper(hex.EncodeToString([]byte(secret))))
		for shift := range 3 {
			whole := append(make([]byte, shift), secret...)
			whole = whole[:len(whole)/3*3]
			from := (shift*4 + 2) / 3 // the characters that depend on what stands before
			add(base64.StdEncoding.EncodeToString(whole)[from:])
			add(base64.URLEncoding.EncodeToString(whole)[from:])
		}
		if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && len(raw) >= 24 {
			forms = append(forms, raw)
			add(hex.EncodeToString(raw))
		}
	}
	return forms
}

// privateKeys gives what is secret in the key files that the cluster made: each
// key's own bytes, and the form in which it is stored.
func (c *cluster) privateKeys() (keys []string) {
	c.t.Helper()
	c.check(filepath.WalkDir(c.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !isKeyFile(path) {
			return err
		}
		data, err := os.ReadFile(path)
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if !strings.Contains(block.Type, "PRIVATE KEY") {
				continue
			}
			if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			keys = append(keys, string(block.Bytes))
		}
		return err
	}))
	if len(keys) < 5 { // two authorities, signing and root key, certificates
		c.t.Fatalf("found %d private keys", len(keys))
	}
	return keys
}
