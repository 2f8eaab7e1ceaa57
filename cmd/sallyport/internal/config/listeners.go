package config

import (
	"net/netip"
	"path/filepath"
)

// listener is an address of the process.
type listener struct {
	path string
	at   netip.AddrPort
	// home says that development certificates keep it on this machine.
	home bool
}

func listenersOf(c *Config) []listener {
	var all []listener
	add := func(path string, at netip.AddrPort, home bool) {
		if at.IsValid() {
			all = append(all, listener{path, at, home})
		}
	}
	if c.STA != nil {
		add("sta.listen", c.STA.Listen, true)
	}
	if c.Gateway != nil {
		add("gateway.listen", c.Gateway.Listen, true)
		if c.Gateway.Inside != nil {
			add("gateway.inside.listen", c.Gateway.Inside.Listen, true)
		}
	}
	if c.Admin != nil {
		add("admin.listen", c.Admin.Listen, true)
	}
	add("health.listen", c.Health.Listen, false)
	return all
}

// checkListeners wants every listener to have an address of its own, and the
// development certificates to stay on this machine.
func (r *reader) checkListeners(c *Config) {
	all := listenersOf(c)
	for i, one := range all {
		for _, other := range all[:i] {
			if collide(one.at, other.at) {
				r.say(one.path, "is the address of "+other.path+" too; choose another port")
				break
			}
		}
		if c.Certs.Mode == "dev" && one.home && !one.at.Addr().IsLoopback() {
			r.say(one.path, "certs.mode dev is for loopback only; listen on 127.0.0.1 or use mode files")
		}
	}
}

// collide reports whether the system would refuse the second of two listeners.
func collide(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() || a.Port() == 0 {
		return false
	}
	return a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified()
}

// checkCerts settles the mode and what belongs to it.
func (r *reader) checkCerts(c *Config) {
	if r.bad("certs") || r.bad("certs.mode") {
		return
	}
	switch {
	case c.Certs.Mode != "":
	case len(c.Certs.Files) > 0 || r.bad("certs.files"):
		c.Certs.Mode = "files"
	case c.Certs.ACME != nil || r.bad("certs.acme"):
		c.Certs.Mode = "acme"
	default:
		r.say("certs.mode", "is required: every listener needs a certificate; files for your own, dev for a try on this machine")
		return
	}
	files := len(c.Certs.Files) > 0
	switch mode := c.Certs.Mode; {
	case mode != "files" && files:
		r.say("certs.files", "mode "+mode+" makes its own certificates; leave files out or set mode to files")
	case mode == "files" && !files && !r.bad("certs.files"):
		r.say("certs.files", "mode files needs at least one {cert: FILE, key: FILE}")
	}
	for i, pair := range c.Certs.Files {
		if path := item("certs.files", i); !r.bad(path) {
			r.need(path+".cert", pair.Cert == "", "the PEM file of the certificate and its chain")
			r.need(path+".key", pair.Key == "", "the PEM file of the certificate's key")
		}
	}
}

// checkMadePaths wants everything that the process writes to have a place of
// its own.
func (r *reader) checkMadePaths(c *Config) {
	type made struct{ key, path string }
	var all []made
	if c.STA != nil {
		all = append(all, made{"sta.signing_key", c.STA.SigningKey}, made{"sta.store.path", c.STA.Store.Path},
			made{"sta.state", c.STA.State}, made{"sta.audit", c.STA.Audit})
	}
	if c.Gateway != nil {
		all = append(all, made{"gateway.state", c.Gateway.State})
	}
	if c.Admin != nil {
		all = append(all, made{"admin.token_file", c.Admin.TokenFile})
	}
	first := make(map[string]string)
	for _, m := range all {
		if m.path == "" {
			continue
		}
		path := filepath.Clean(m.path)
		if other, taken := first[path]; taken {
			r.say(m.key, "is the same file as "+other)
			continue
		}
		first[path] = m.key
	}
}
