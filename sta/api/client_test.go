package api_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
	"github.com/sallyport/sallyport/sta/ticket"
)

func TestNewClientRefuses(t *testing.T) {
	key := newKey(t)
	for _, url := range []string{
		"", "http://sta.example.com", "sta.example.com:8442", "https://", "https://u:p@sta.example.com",
		"https://sta.example.com/path", "https://sta.example.com?q", "https://sta.example.com#f", "://",
	} {
		if _, err := api.NewClient(api.ClientConfig{URL: url, Key: key}); err == nil {
			t.Errorf("%q was accepted", url)
		}
	}
	if _, err := api.NewClient(api.ClientConfig{URL: "https://sta.example.com"}); err == nil {
		t.Error("a client without a key was accepted")
	}
	if _, err := api.NewClient(api.ClientConfig{URL: "https://sta.example.com", TLS: &tls.Config{}}); err == nil {
		t.Error("a client without a certificate was accepted")
	}
	if _, err := api.NewClient(api.ClientConfig{URL: "https://sta.example.com/", Key: key}); err != nil {
		t.Error(err)
	}
}

// What answers at the address may be no authority. Its words are not taken for
// one's, and the key goes nowhere else.
func TestClientDistrustsAnswers(t *testing.T) {
	key, handle := newKey(t), ticket.NewHandle().Reveal()
	elsewhere := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere++ })
	var reply http.HandlerFunc
	mux.HandleFunc("/v1/redeem", func(w http.ResponseWriter, r *http.Request) { reply(w, r) })
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	c, err := api.NewClient(api.ClientConfig{URL: server.URL, Key: key, TLS: server.Client().Transport.(*http.Transport).TLSClientConfig})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	problem := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, test := range map[string]struct {
		reply http.HandlerFunc
		want  ticket.Reason
	}{
		"a proxy's page": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusForbidden) }, ticket.Unavailable},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, ticket.Unavailable},
		"odd reason":     {problem(403, `{"reason":"because"}`), ticket.Unavailable},
		"no JSON":        {problem(403, `{`), ticket.Unavailable},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"statement":`)) }, ticket.Unavailable},
		"revoked":        {problem(410, `{"reason":"revoked","detail":"a\u001b[2Jb"}`), ticket.Revoked},
		"an echo":        {problem(410, `{"reason":"revoked","detail":"`+handle+`"}`), ticket.Revoked},
	} {
		t.Run(name, func(t *testing.T) {
			reply = test.reply
			_, err := c.Redeem(t.Context(), ticket.Hash{})
			wantReason(t, err, test.want)
			if strings.Contains(err.Error(), key.Reveal()) || strings.Contains(err.Error(), handle) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("the error shows what it must not: %q", err)
			}
		})
	}
	if elsewhere != 0 {
		t.Error("the redirect was followed")
	}
	server.Close()
	_, err = c.Revoke(t.Context(), sta.RevokeRequest{Ticket: "aaaa"})
	wantReason(t, err, ticket.Unavailable)
	_, err = c.List(t.Context(), sta.Filter{})
	wantReason(t, err, ticket.Unavailable)
}
