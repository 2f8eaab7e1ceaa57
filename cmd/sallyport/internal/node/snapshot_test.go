package node

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/gateway/policy/lint"
)

// A file of facts that somebody is writing comes into force with a reload, and not
// when the machine has a new address; nor does a broken one keep that from being
// known.
func TestSnapshotKeepsItsFacts(t *testing.T) {
	facts := filepath.Join(t.TempDir(), "facts.json")
	if err := os.WriteFile(facts, lint.DefaultFacts().JSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &config.Config{Gateway: &config.Gateway{FQDN: "gateway3.example.com", Facts: facts, MatchCatalogue: true}}
	n := &Node{config: c, log: zerolog.Nop()}
	names, err := n.openNames(c)
	if err != nil {
		t.Fatal(err)
	}
	defer names.drop()
	if err := os.WriteFile(facts, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	around := surroundings{local: []netip.Addr{netip.MustParseAddr("192.0.2.9")}}
	snapshot, err := n.snapshot(c, time.Now(), names, &around, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Release()
	if len(snapshot.Catalogue) == 0 {
		t.Error("no catalogue")
	}
	if _, err := n.openNames(c); err == nil {
		t.Error("a reload takes broken facts")
	}
}

// Whom an authority's tickets may become is what the file of the start says.
func TestSnapshotHoldsAuthorities(t *testing.T) {
	c := &config.Config{Gateway: &config.Gateway{FQDN: "gateway3.example.com", Authorities: []config.Authority{
		{ID: "STA01"}, {ID: "STA02", Policies: []string{"default"}}, {ID: "STA03", Policies: []string{}},
	}}}
	later := *c.Gateway
	later.Authorities = []config.Authority{{ID: "STA02"}}
	n := &Node{config: c, log: zerolog.Nop()}
	names, err := n.openNames(c)
	if err != nil {
		t.Fatal(err)
	}
	defer names.drop()
	snapshot, err := n.snapshot(&config.Config{Gateway: &later}, time.Now(), names, &surroundings{}, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Release()
	if may := snapshot.Trusted["STA02"]; !slices.Equal(may, []string{"default"}) {
		t.Errorf("STA02 may give %q", may)
	}
	if may, bounded := snapshot.Trusted["STA03"]; !bounded || len(may) > 0 {
		t.Errorf("STA03 may give %q", may)
	}
	if may, bounded := snapshot.Trusted["STA01"]; bounded {
		t.Errorf("STA01 may give only %q", may)
	}
}
