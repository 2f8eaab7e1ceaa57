package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	goodPin = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	remote  = "{id: STA02, url: 'https://sta.example.com:8442', pin: '" + goodPin + "', key_file: enrolment.key}"
)

func TestRemoteAuthority(t *testing.T) {
	dir := folder(t)
	entry := "{id: STA02, url: ['https://a.example.com:8442', 'https://b.example.com'], spread: true, bypass: 5s, pin: '" + goodPin +
		"', key_file: enrolment.key, policies: [default, lab]}"
	foreign := "{id: STA03, url: ctxsta+https://old.example.com}"
	c, diagnostics := Parse("f", []byte(edit(t, "[local]", "[local, "+entry+", "+foreign+"]")), dir)
	if len(diagnostics) > 0 {
		t.Fatal(diagnostics)
	}
	got := c.Gateway.Authorities[1]
	if got.ID != "STA02" || len(got.URL) != 2 || !got.Spread || got.Bypass != 5*time.Second || got.Pin != goodPin || got.Foreign() {
		t.Errorf("read %+v", got)
	}
	if got := c.Gateway.Authorities[2]; !got.Foreign() || got.Bypass != 30*time.Second {
		t.Errorf("read %+v", got)
	}
}

func TestRemoteAuthorityMistakes(t *testing.T) {
	dir := folder(t)
	in := func(old, with string) string {
		if !strings.Contains(remote, old) {
			t.Fatalf("%q is not in the example", old)
		}
		return strings.Replace(remote, old, with, 1)
	}
	const at = "gateway.authorities[1]"
	for entry, want := range map[string][]string{
		remote:                                       nil,
		in("pin: '"+goodPin+"', ", ""):               {at + ".pin: is required: the fingerprint of its root key, as its  sallyport sta init  printed it: without one, whoever answers at the URL could make tickets"},
		in("sha256:A", "sha256:"):                    {at + ".pin: needs sha256: and 43 characters of base64url"},
		in("STA02", "STA01"):                         {at + ": STA01 stands in the list already; several URLs of one authority go under url"},
		in("STA02", "sta2"):                          {at + ".id: needs STA and 1 to 13 digits or upper-case letters, such as STA01"},
		in(", key_file: enrolment.key", ""):          {at + ".key_file: is required: the key by which it knows this gateway, or cert and key"},
		in("key_file: enrolment.key", "cert: c.pem"): {at + ".cert: no such file: DIR/c.pem", at + ".key: is required: the key of the client certificate"},
		in("https:", "http:"):                        {at + ".url: needs https://host:port, or ctxsta+https://host:port"},
		in("8442'", "8442/x'"):                       {at + ".url: needs https://host:port, and nothing behind it"},
		in("https://", "https://u:p@"):               {at + ".url: needs https://host:port, and nothing behind it"},
		in("8442'", "0'"):                            {at + ".url: needs a port from 1 to 65535"},
		in("'https://sta.example.com:8442'", "['https://a.example', 'ctxsta+https://b.example']"): {
			at + ".url[1]: one authority speaks one protocol: all begin with https:// or all with ctxsta+https://"},
		in("https:", "ctxsta+https:"): {at + ".pin: an authority that speaks only XML signs nothing, and has no root key to pin"},
		"{}": {
			at + ".id: is required: its ID, as in its sta.id",
			at + ".key_file: is required: the key by which it knows this gateway, or cert and key",
			at + ".pin: is required: the fingerprint of its root key, as its  sallyport sta init  printed it: without one, whoever answers at the URL could make tickets",
			at + ".url: is required: where it is asked, such as https://sta.example.com:8442"},
	} {
		if got := without(said(edit(t, "[local]", "[local, "+entry+"]"), dir)); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", entry, got, want)
		}
	}
}

func TestRedisMistakes(t *testing.T) {
	dir := folder(t)
	const at = "sta.store.redis"
	for redis, want := range map[string][]string{
		"addrs: ['10.0.0.1:6379'], tls: {}, db: 3":                                nil,
		"addrs: ['a:1', 'b:2'], master_name: m, replicas: 1":                      nil,
		"addrs: ['a:1', 'b:2'], cluster: true":                                    nil,
		"addrs: []":                                                               {at + ".addrs: is required: the servers, such as [redis1.example.com:6379]; with master_name the Sentinels"},
		"addrs: [a, 'b:0']":                                                       {at + ".addrs: several servers need master_name, for Sentinel, or cluster: true", at + ".addrs[0]: needs host:port, such as redis1.example.com:6379", at + ".addrs[1]: needs host:port, such as redis1.example.com:6379"},
		"addrs: ['a:1'], cluster: true, master_name: m":                           {at + ".cluster: is for a Cluster, and master_name is for Sentinel; it can be one of them"},
		"addrs: ['a:1'], cluster: true, db: 1":                                    {at + ".db: a Cluster has only database 0"},
		"addrs: ['a:1'], user: sallyport":                                         {at + ".password_file: is required: the password of the user"},
		"addrs: ['a:1'], sentinel_user: s, sentinel_password_file: enrolment.key": {at + ".master_name: is required beside the Sentinels' user or password"},
		"addrs: ['a:1'], tls: {cert: enrolment.key}":                              {at + ".tls.key: is required: the key of the client certificate"},
		"addrs: ['a:1'], replicas: 9":                                             {at + ".replicas: needs a whole number from 0 to 5"},
	} {
		if got := without(said(edit(t, "  id:", "  store: {redis: {"+redis+"}}\n  id:"), dir)); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", redis, got, want)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	dir := folder(t)
	client := func(keys string) string { return edit(t, "key_file: enrolment.key", keys) }
	for keys, want := range map[string][]string{
		"certificates: ['" + goodPin + "']": nil,
		"certificates: [x]":                 {"sta.clients[0].certificates[0]: needs the fingerprint of a key, sha256: and 43 characters of base64url; docs/api.md says how to get it"},
		"certificates: ['" + goodPin + "', '" + goodPin + "']": {
			"sta.clients[0].certificates[1]: is that of client enrolment too; each key belongs to one client"},
	} {
		if got := without(said(client(keys), dir)); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", keys, got, want)
		}
	}
}

// without takes the places off, and sorts.
func without(lines []string) []string {
	var texts []string
	for _, line := range lines {
		parts := strings.SplitN(line, ":", 4)
		texts = append(texts, strings.TrimPrefix(parts[3], " "))
	}
	slices.Sort(texts)
	return texts
}
