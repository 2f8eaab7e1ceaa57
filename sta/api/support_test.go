package api_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
	"github.com/sallyport/sallyport/sta/ticket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// audit keeps events, or fails.
type audit struct {
	mu     sync.Mutex
	events []sta.Event
	err    error
}

func (a *audit) Append(_ context.Context, e sta.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.events = append(a.events, e)
	}
	return a.err
}

func (a *audit) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

// door is an authority behind its JSON door, on loopback.
type door struct {
	authority *sta.Authority
	server    *httptest.Server
	audit     *audit
	keys      map[string]sta.Key // by client
	verifier  *ticket.Verifier

	mu     sync.Mutex
	access []api.Access
}

func newKey(t testing.TB) sta.Key {
	t.Helper()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	keys, err := sta.ParseKeyFile([]byte(base64.StdEncoding.EncodeToString(raw) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return keys[0]
}

func openDoor(t testing.TB) *door {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	d := &door{audit: &audit{}, keys: make(map[string]sta.Key)}
	dir, store := t.TempDir(), sta.NewMemoryStore()
	files := sta.KeyFiles{Root: filepath.Join(dir, "root.key"), Signing: filepath.Join(dir, "sta.key")}
	_, err := sta.Init(t.Context(), store, "STA01", files, time.Now())
	must(err)
	signer, keys, err := sta.OpenKeys(t.Context(), store, "STA01", files.Signing)
	must(err)
	d.verifier, err = ticket.NewVerifier(keys, "gw.example.com", nil)
	must(err)
	d.authority, err = sta.New(sta.Config{
		ID: "STA01", Audience: []string{"gw.example.com"}, Signer: signer, Keys: keys, Store: store, Audit: d.audit,
		CutWait: 20 * time.Millisecond,
	})
	must(err)
	var configs []sta.ClientConfig
	for name, may := range map[string]sta.Rights{
		"desk": sta.MayIssue | sta.MayRedeem | sta.MayRevoke | sta.MayList, "enrolment": 0, "gw": sta.MayRedeem,
	} {
		d.keys[name] = newKey(t)
		configs = append(configs, sta.ClientConfig{Name: name, Keys: []sta.Key{d.keys[name]}, May: may})
	}
	clients, err := sta.NewClients(configs)
	must(err)
	d.server = httptest.NewUnstartedServer(nil)
	d.server.Config = api.NewServer(api.NewHandler(d.authority, clients, api.Options{Log: d.log}))
	d.server.EnableHTTP2 = true
	d.server.StartTLS()
	t.Cleanup(d.server.Close)
	return d
}

func (d *door) log(a api.Access) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.access = append(d.access, a)
}

func (d *door) client(t testing.TB, name string) *api.Client {
	t.Helper()
	c, err := api.NewClient(api.ClientConfig{URL: d.server.URL, Key: d.keys[name], TLS: d.tls()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (d *door) tls() *tls.Config {
	return d.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

// answer is what came back, read whole.
type answer struct {
	*http.Response
	body []byte
}

// problem reads the answer as problem details.
func (a *answer) problem(t *testing.T) (p struct {
	Type, Title, Detail string
	Status              int
	Reason              ticket.Reason
}) {
	t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("an error of type %q: %s", got, a.body)
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Errorf("%v in %s", err, a.body)
	}
	return p
}

// send makes a raw request. Header values may be nil to leave them out.
func (d *door) send(t *testing.T, method, path, body string, header http.Header) *answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, d.server.URL+path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	response, err := d.server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{response, data}
}

// as gives the header of a client's JSON request.
func (d *door) as(name string) http.Header {
	return http.Header{
		"Authorization": {"Bearer " + d.keys[name].Reveal()},
		"Content-Type":  {"application/json"},
	}
}
