package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/sta/ticket"
)

// checkAuthorities judges whose tickets a gateway takes, and how it asks them.
func (r *reader) checkAuthorities(c *Config) {
	ids := make(map[string]bool)
	locals := 0
	for i, authority := range c.Gateway.Authorities {
		path := item("gateway.authorities", i)
		switch {
		case r.bad(path):
		case authority.Local:
			locals++
			if locals > 1 {
				r.say(path, "local stands in the list already")
			} else if c.STA == nil && !r.bad("sta") {
				r.say(path, "local is the authority of this file, which has no sta section")
			}
		default:
			r.checkRemote(path, &authority)
		}
		id := authority.ID
		if authority.Local {
			if c.STA == nil || locals > 1 {
				continue
			}
			id = c.STA.ID
		}
		if id != "" && ids[id] {
			r.say(path, id+" stands in the list already; several URLs of one authority go under url")
		}
		ids[id] = true
	}
}

// Foreign tells whether it is an authority that speaks only the XML protocol.
func (a *Authority) Foreign() bool {
	return len(a.URL) > 0 && strings.HasPrefix(a.URL[0], foreignScheme)
}

const (
	ownScheme     = "https://"
	foreignScheme = "ctxsta+https://"
)

func (r *reader) checkRemote(path string, a *Authority) {
	r.need(path+".id", a.ID == "", "its ID, as in its sta.id")
	if a.ID != "" && !authorityID.MatchString(a.ID) && !r.bad(path+".id") {
		r.say(path+".id", "needs STA and 1 to 13 digits or upper-case letters, such as STA01")
	}
	r.need(path+".url", len(a.URL) == 0, "where it is asked, such as https://sta.example.com:8442")
	foreign := a.Foreign()
	for i, text := range a.URL {
		at := path + ".url"
		if len(a.URL) > 1 {
			at = item(at, i)
		}
		if !r.bad(at) {
			r.checkAuthorityURL(at, text, foreign)
		}
	}
	switch {
	case r.bad(path + ".pin"):
	case foreign && a.Pin != "":
		r.say(path+".pin", "an authority that speaks only XML signs nothing, and has no root key to pin")
	case !foreign:
		r.need(path+".pin", a.Pin == "", "the fingerprint of its root key, as its  sallyport sta init  printed it: without one, whoever answers at the URL could make tickets")
		if a.Pin != "" && ticket.CheckPin(a.Pin) != nil {
			r.say(path+".pin", "needs sha256: and 43 characters of base64url")
		}
		r.need(path+".key_file", a.KeyFile == "" && a.Cert == "", "the key by which it knows this gateway, or cert and key")
	}
	r.need(path+".key", a.Cert != "" && a.Key == "", "the key of the client certificate")
	r.need(path+".cert", a.Key != "" && a.Cert == "", "the client certificate of the key")
	for j, name := range a.Policies {
		if at := item(path+".policies", j); !r.bad(at) && !isName(name) {
			r.say(at, nameRule)
		}
	}
}

// checkAuthorityURL takes scheme, host and port, and nothing else.
func (r *reader) checkAuthorityURL(path, text string, foreign bool) {
	rest, scheme := text, ownScheme
	if foreign {
		scheme = foreignScheme
	}
	rest, ok := strings.CutPrefix(rest, scheme)
	if !ok {
		if foreign || strings.HasPrefix(text, foreignScheme) {
			r.say(path, "one authority speaks one protocol: all begin with https:// or all with ctxsta+https://")
			return
		}
		r.say(path, "needs https://host:port, or ctxsta+https://host:port")
		return
	}
	u, err := url.Parse("https://" + rest)
	if err != nil || u.User != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		r.say(path, "needs "+scheme+"host:port, and nothing behind it")
		return
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			r.say(path, "needs a port from 1 to 65535")
		}
	}
}

func (r *reader) checkRedis(s *STA) {
	redis, at := s.Store.Redis, "sta.store.redis"
	if redis == nil || r.bad(at) {
		return
	}
	if r.places["sta.store.path"].given {
		r.say("sta.store.path", "the store is path or redis, not both")
	}
	r.need(at+".addrs", len(redis.Addrs) == 0, "the servers, such as [redis1.example.com:6379]; with master_name the Sentinels")
	for i, addr := range redis.Addrs {
		host, port, err := net.SplitHostPort(addr)
		n, bad := strconv.ParseUint(port, 10, 16)
		if path := item(at+".addrs", i); !r.bad(path) && (err != nil || host == "" || bad != nil || n == 0) {
			r.say(path, "needs host:port, such as redis1.example.com:6379")
		}
	}
	switch {
	case redis.MasterName != "" && redis.Cluster:
		r.say(at+".cluster", "is for a Cluster, and master_name is for Sentinel; it can be one of them")
	case redis.Cluster && redis.DB != 0:
		r.say(at+".db", "a Cluster has only database 0")
	case redis.MasterName == "" && !redis.Cluster && len(redis.Addrs) > 1:
		r.say(at+".addrs", "several servers need master_name, for Sentinel, or cluster: true")
	case redis.MasterName == "" && (redis.SentinelUser != "" || redis.SentinelPasswordFile != ""):
		r.say(at+".master_name", "is required beside the Sentinels' user or password")
	}
	r.need(at+".password_file", redis.User != "" && redis.PasswordFile == "", "the password of the user")
	r.need(at+".sentinel_password_file", redis.SentinelUser != "" && redis.SentinelPasswordFile == "", "the password of the Sentinels' user")
	if tls := redis.TLS; tls != nil {
		r.need(at+".tls.key", tls.Cert != "" && tls.Key == "", "the key of the client certificate")
		r.need(at+".tls.cert", tls.Key != "" && tls.Cert == "", "the client certificate of the key")
	}
}

// checkCertificates judges the fingerprints by which a client is known.
func (r *reader) checkCertificates(path string, c Client, holder map[string]string) {
	for i, fingerprint := range c.Certificates {
		at := item(path, i)
		switch {
		case r.bad(at):
		case ticket.CheckPin(fingerprint) != nil:
			r.say(at, "needs the fingerprint of a key, sha256: and 43 characters of base64url; docs/api.md says how to get it")
		case holder[fingerprint] != "":
			r.say(at, "is that of client "+holder[fingerprint]+" too; each key belongs to one client")
		default:
			holder[fingerprint] = c.Name
		}
	}
}
