package config

import (
	"maps"
	"slices"

	"github.com/sallyport/sallyport/gateway/policy"
)

// NamedPolicies gives the policies beside the default one, in the order of the
// file: the first that matches a ticket is its policy.
func (c *Config) NamedPolicies() []policy.Named {
	if c.Gateway == nil {
		return nil
	}
	at := func(name string) place { return c.places["gateway.policies."+name] }
	names := slices.SortedFunc(maps.Keys(c.Gateway.Policies), func(a, b string) int {
		if at(a).line != at(b).line {
			return at(a).line - at(b).line
		}
		return at(a).column - at(b).column
	})
	named := make([]policy.Named, len(names))
	for i, name := range names {
		p := c.Gateway.Policies[name]
		named[i] = policy.Named{Name: name, Match: policy.Match(p.Match), Spec: p.Policy.Spec()}
	}
	return named
}

// PolicySet compiles the default policy and the named ones. Of a Config that
// Load gave it cannot fail.
func (c *Config) PolicySet() (*policy.Set, error) {
	return policy.CompileSet(c.Gateway.Policy.Spec(), c.NamedPolicies())
}

// Spec gives the policy as package policy takes it.
func (p *Policy) Spec() policy.Spec {
	return policy.Spec{
		NetworkAccess: p.NetworkAccess, ExchangeServers: p.ExchangeServer, Services: p.BackgroundServices,
		EWSHost: p.EWSHost, PushRegion: p.PushRegion, SplitTunnel: p.SplitTunnel, SplitDNS: p.SplitDNS,
		WebDomains: p.WebDomains,
		Console: policy.Console{
			Mailboxes: p.Mailboxes, Platforms: p.Platforms,
			TrustedExchangeOnline: p.TrustedExchangeOnline, TrustedADFS: p.TrustedADFS,
			LDAPServers: p.LDAPServers, RichPush: p.RichPush, ModernAuthentication: p.ModernAuthentication,
			DerivedCredentials: p.DerivedCredentials, Intune: p.Intune, ServicesGateway: p.ServicesGateway,
		},
	}
}
