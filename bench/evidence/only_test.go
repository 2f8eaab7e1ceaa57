package evidence

import (
	"slices"
	"strings"
	"testing"
)

func TestOnly(t *testing.T) {
	t.Parallel()
	h, err := lay(t, "mlx5.txtar", mlx5()).look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Only("ens1f0np0")
	if err != nil || len(got.Interfaces) != 1 || got.Interfaces[0].Name != "ens1f0np0" || got.Name != h.Name {
		t.Errorf("%+v, %v", got, err)
	}
	if slices.ContainsFunc(got.Gaps, func(g Gap) bool { return strings.HasPrefix(g.What, "veth0") || strings.HasPrefix(g.What, "lo:") }) {
		t.Errorf("gaps of others: %v", got.Gaps)
	}
	if all, err := h.Only(); err != nil || len(all.Interfaces) != 3 || len(h.Interfaces) != 3 || len(all.Gaps) != len(h.Gaps) {
		t.Errorf("all of them: %+v, %v", all, err)
	}
	if _, err := h.Only("lo", "eth9"); err == nil || err.Error() != "there is no interface eth9; there are lo, ens1f0np0, veth0" {
		t.Errorf("one that is not there: %v", err)
	}

	var missing gaps
	missing.say("eth1 tbf 1:", "drops", "x")
	missing.say("eth10", "driver", "x")
	missing.say("host", "cores", "x")
	s := Sample{Interfaces: []Traffic{{Name: "eth0"}, {Name: "eth1"}}, Qdiscs: []QdiscTraffic{{Interface: "eth1"}, {Interface: "eth0"}}, Gaps: missing}
	if one := s.Only("eth0"); len(one.Interfaces) != 1 || len(one.Qdiscs) != 1 || one.Qdiscs[0].Interface != "eth0" || len(one.Gaps) != 2 {
		t.Errorf("%+v", one)
	}
	if all := s.Only(); len(all.Interfaces) != 2 || len(s.Gaps) != 3 {
		t.Errorf("%+v", all)
	}
}
