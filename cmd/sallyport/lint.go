package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/lint"
)

// written is a policy of a file: where it stands and what it says.
type written struct {
	key string // gateway.policy, or gateway.policies.NAME
	policy.Named
}

// policiesOf gives the policies of a file, the default one first.
func policiesOf(c *config.Config) []written {
	all := []written{{"gateway.policy", policy.Named{Name: policy.DefaultName, Spec: c.Gateway.Policy.Spec()}}}
	for _, named := range c.NamedPolicies() {
		all = append(all, written{"gateway.policies." + named.Name, named})
	}
	return all
}

// factsOf gives the facts that a file names, or the built-in ones.
func factsOf(c *config.Config) (*lint.Facts, config.Diagnostics) {
	if c.Gateway == nil || c.Gateway.Facts == "" {
		return lint.DefaultFacts(), nil
	}
	facts, err := readFacts(c.Gateway.Facts)
	if err != nil {
		return nil, config.Diagnostics{c.At("gateway.facts", config.Error, err.Error())}
	}
	return facts, nil
}

// readFacts reads facts. An error does not name the file.
func readFacts(file string) (*lint.Facts, error) {
	data, err := os.ReadFile(file)
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		return nil, fmt.Errorf("cannot be read: %w", cause.Err)
	}
	if err != nil {
		return nil, err
	}
	return lint.ParseFacts(data)
}

// toldGateway is the gateway that devices are told, fqdn:port; "" if the file
// does not say.
func toldGateway(c *config.Config) string {
	if c.Gateway.FQDN == "" || c.Gateway.PublicPort == 0 {
		return ""
	}
	return net.JoinHostPort(c.Gateway.FQDN, strconv.Itoa(int(c.Gateway.PublicPort)))
}

// suffixes are the zones whose names devices ask the gateway for, be there DNS
// servers of a zone's own or only networks that it allows.
func suffixes(c *config.Config) []string {
	var all []string
	for _, zone := range c.SplitDNS.Zones {
		all = append(all, zone.Suffix)
	}
	return all
}

// insideZones are those of them that are known inside only: they have DNS servers
// of their own.
func insideZones(c *config.Config) []string {
	var all []string
	for _, zone := range c.SplitDNS.Zones {
		if len(zone.Servers) > 0 {
			all = append(all, zone.Suffix)
		}
	}
	return all
}

// lintPolicies says what of a file devices would stumble over. A policy with a
// mistake has been judged already, and lint would go by settings that are not
// there; but for a mistake in its list: that one is judged by the list as it was
// meant.
func lintPolicies(c *config.Config) config.Diagnostics {
	if c.Gateway == nil {
		return nil
	}
	facts, bad := factsOf(c)
	if bad != nil {
		return bad
	}
	var found config.Diagnostics
	for _, p := range policiesOf(c) {
		if !c.Sound(p.key) {
			continue
		}
		var mistake *policy.ListError
		if _, err := policy.ParseServices(p.Spec.Services); errors.As(err, &mistake) && mistake.Corrected != "" {
			p.Spec.Services = mistake.Corrected
		}
		for _, finding := range lint.Check(lint.Input{
			Name: p.Name, Spec: p.Spec, Match: p.Match, Gateway: toldGateway(c), Zones: insideZones(c), Facts: facts, Now: time.Now(),
		}) {
			found = append(found, place(c, p, finding))
		}
	}
	return found
}

// place points to where a finding stands in the file.
func place(c *config.Config, p written, f lint.Finding) config.Diagnostic {
	severity := config.Warning
	if f.Severity == lint.Error {
		severity = config.Error
	}
	key := p.key + "." + f.Field
	if f.Field == "" {
		key = "splitdns" // the servers themselves
	}
	if f.Index >= 0 {
		key = fmt.Sprintf("%s[%d]", key, f.Index)
	}
	d := c.At(key, severity, f.Problem)
	if f.Column > 0 {
		d = c.AtColumn(key, p.Spec.Services, f.Column, severity, fmt.Sprintf("entry %d %s", f.Entry, f.Problem))
	}
	d.Fix, d.Rule = f.Fix, f.Rule
	return d
}

// lintNames says what the names of a good file resolve to that they should not.
func lintNames(ctx context.Context, c *config.Config) config.Diagnostics {
	if c.Gateway == nil {
		return nil
	}
	rehearsal, err := node.NewRehearsal(c)
	if err != nil {
		return config.Diagnostics{c.At("splitdns", config.Error, err.Error())}
	}
	defer rehearsal.Close()
	var found config.Diagnostics
	for _, p := range policiesOf(c) {
		compiled, err := policy.Compile(p.Name, p.Spec)
		if err != nil || p.Spec.NetworkAccess == policy.AccessUnrestricted {
			continue
		}
		looked, err := rehearsal.Look(ctx, compiled)
		if err != nil {
			return append(found, c.At("splitdns", config.Error, err.Error()))
		}
		for _, finding := range lint.CheckNames(p.Spec, looked) {
			found = append(found, place(c, p, finding))
		}
	}
	return found
}
