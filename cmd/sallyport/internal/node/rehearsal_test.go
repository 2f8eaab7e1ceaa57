package node

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/splitdns"
	"github.com/sallyport/sallyport/splitdns/upstream"
)

// What is looked up is what somebody listed by name, each name once, with all of
// its ports.
func TestExactNames(t *testing.T) {
	p, err := policy.Compile("web", policy.Spec{
		NetworkAccess: "web_sso",
		Services:      "mail.example.com:443,*.example.com:443,192.0.2.7:25,mail.example.com:25,www.example.com:80",
		WebDomains:    []string{"www.example.com", "*.example.net", "wiki.example.net"},
	})
	if err != nil {
		t.Fatal(err)
	}
	names, ports := exactNames(p)
	var got []string
	for _, n := range names {
		got = append(got, fmt.Sprint(n.Name, ports[n.Name]))
	}
	if want := []string{"mail.example.com[443 25]", "www.example.com[80 443]", "wiki.example.net[80 443]"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Servers without an answer are told from names that are not there, and from
// answers that cannot be used.
func TestLookUpErrors(t *testing.T) {
	for _, c := range []struct {
		err                        error
		notFound, timeout, noReply bool
	}{
		{fmt.Errorf("splitdns: a.example: %w (zone example)", splitdns.ErrNotFound), true, false, false},
		{fmt.Errorf("splitdns: a.example: %w: %w", splitdns.ErrTimeout, upstream.ErrTimeout), false, true, true},
		{fmt.Errorf("splitdns: a.example: %w: %w", splitdns.ErrFailed, upstream.ErrFailed), false, false, true},
		{fmt.Errorf("splitdns: a.example: %w: a circle", splitdns.ErrFailed), false, false, false},
	} {
		got := lookUpError("a.example", c.err)
		if got.IsNotFound != c.notFound || got.IsTimeout != c.timeout || got.IsTemporary != c.noReply || got.Err == "" {
			t.Errorf("%v: %+v", c.err, got)
		}
	}
}
