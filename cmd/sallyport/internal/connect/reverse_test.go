package connect

import "testing"

func TestInsideReverse(t *testing.T) {
	for name, want := range map[string]bool{
		"25.0.0.10.in-addr.arpa": true, "10.in-addr.arpa": true, "1.16.172.in-addr.arpa": true, "31.172.in-addr.arpa": true,
		"1.1.168.192.in-addr.arpa": true, "1.0.64.100.in-addr.arpa": true, "1.1.254.169.in-addr.arpa": true,
		"1.0.0.d.f.ip6.arpa": true, "1.8.e.f.ip6.arpa": true, "c.f.ip6.arpa": true,

		"8.8.8.8.in-addr.arpa": false, "15.172.in-addr.arpa": false, "32.172.in-addr.arpa": false, "172.in-addr.arpa": false,
		"167.192.in-addr.arpa": false, "63.100.in-addr.arpa": false, "110.in-addr.arpa": false, "in-addr.arpa": false,
		"10.in-addr.arpa.example.com": false, "x10.in-addr.arpa": false, "1.0.0.2.ip6.arpa": false, "ip6.arpa": false,
		"xd.f.ip6.arpa": false, "10.example.com": false,
	} {
		if got := isInsideReverse(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
	for _, names := range []DNSMode{Local, Remote, Both} {
		want := askNobody
		if names == Local {
			want = askLocal
		}
		if got := (split{names: names}).asks("25.0.0.10.in-addr.arpa"); got != want {
			t.Errorf("%v: %v", names, got)
		}
	}
}
