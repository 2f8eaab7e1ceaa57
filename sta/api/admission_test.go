package api_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
	"github.com/sallyport/sallyport/sta/ticket"
)

// certifiedClient shows a certificate, and a key unless it is zero.
func (d *door) certifiedClient(t *testing.T, key sta.Key, proof tls.Certificate) *api.Client {
	t.Helper()
	config := d.tls()
	config.Certificates = []tls.Certificate{proof}
	c, err := api.NewClient(api.ClientConfig{URL: d.server.URL, Key: key, TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCertificatesThroughTheDoor(t *testing.T) {
	d := openDoor(t)
	strange, _ := certificate(t)
	for name, test := range map[string]struct {
		key   sta.Key
		proof tls.Certificate
		want  string // the client
	}{
		"a certificate alone":            {sta.Key{}, d.proof, "certified"},
		"another's key with it":          {d.keys["desk"], d.proof, ""},
		"nobody's key with it":           {newKey(t), d.proof, ""},
		"nobody's certificate":           {sta.Key{}, strange, ""},
		"a key, nobody's certificate":    {d.keys["desk"], strange, "desk"},
		"nobody's key, and certificate ": {newKey(t), strange, ""},
	} {
		_, err := d.certifiedClient(t, test.key, test.proof).List(t.Context(), sta.Filter{})
		if test.want == "" {
			wantReason(t, err, ticket.Unauthenticated)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		d.mu.Lock()
		if got := d.access[len(d.access)-1].Client; got != test.want {
			t.Errorf("%s: logged as %q, want %q", name, got, test.want)
		}
		d.mu.Unlock()
	}
	// A header that cannot be read is not overlooked because there is a certificate.
	config := d.tls()
	config.Certificates = []tls.Certificate{d.proof}
	raw := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	defer raw.CloseIdleConnections()
	for _, authorization := range [][]string{{"Basic x"}, {"Bearer"}, {""}, {"Bearer x", "Bearer y"}} {
		request, err := http.NewRequestWithContext(t.Context(), "GET", d.server.URL+"/v1/tickets", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{"Authorization": authorization}
		response, err := raw.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 401 {
			t.Errorf("%q beside a certificate: %d", authorization, response.StatusCode)
		}
	}
}

// From another network a good key is like a wrong one, but for the log.
func TestTheWrongNetworkLooksLikeTheWrongKey(t *testing.T) {
	d := openDoor(t)
	wrong := http.Header{"Authorization": {"Bearer " + newKey(t).Reveal()}}
	first := d.send(t, "GET", "/v1/tickets", "", wrong)
	second := d.send(t, "GET", "/v1/tickets", "", d.as("elsewhere"))
	for _, a := range []*answer{first, second} {
		a.Header.Del("Date")
	}
	if first.StatusCode != 401 || second.StatusCode != 401 || string(first.body) != string(second.body) ||
		fmt.Sprint(first.Header) != fmt.Sprint(second.Header) {
		t.Errorf("%d %v %s; %d %v %s", first.StatusCode, first.Header, first.body, second.StatusCode, second.Header, second.body)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, want := range []string{"", "client elsewhere may not ask from this address"} {
		logged := d.access[i]
		if logged.Client != "" || logged.Reason != ticket.Unauthenticated || !strings.Contains(logged.Err.Error(), want) {
			t.Errorf("logged as %+v", logged)
		}
	}
}

func TestTooManyRequests(t *testing.T) {
	d := openDoor(t)
	for range 2 {
		if a := d.send(t, "GET", "/v1/tickets", "", d.as("hasty")); a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	a := d.send(t, "GET", "/v1/nothing", "", d.as("hasty"))
	after, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if a.StatusCode != 429 || a.problem(t).Reason != ticket.Busy || err != nil || after < 1 || after > 30 {
		t.Errorf("%d, Retry-After %q: %s", a.StatusCode, a.Header.Get("Retry-After"), a.body)
	}
	_, err = d.client(t, "hasty").List(t.Context(), sta.Filter{})
	wantReason(t, err, ticket.Busy)
	if a := d.send(t, "GET", "/v1/tickets", "", d.as("desk")); a.StatusCode != 200 {
		t.Errorf("another client: %d", a.StatusCode)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if logged := d.access[2]; logged.Client != "hasty" || logged.Status != 429 {
		t.Errorf("logged as %+v", logged)
	}
}
