package api_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
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
	proof     tls.Certificate    // of the client "certified"
	verifier  *ticket.Verifier
	pin       string

	mu     sync.Mutex
	access []api.Access
}

func newKey(t testing.TB) sta.Key {
	t.Helper()
	key, err := randomKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func randomKey() (sta.Key, error) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	keys, err := sta.ParseKeyFile([]byte(base64.StdEncoding.EncodeToString(raw) + "\n"))
	if err != nil {
		return sta.Key{}, err
	}
	return keys[0], nil
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
	var err error
	d.authority, d.pin, err = newAuthority(t.Context(), t.TempDir(), d.audit)
	must(err)
	d.verifier, err = ticket.NewVerifier(d.authority.Keys(), "gw.example.com", nil)
	must(err)
	var configs []sta.ClientConfig
	for name, may := range map[string]sta.Rights{
		"desk": sta.MayIssue | sta.MayRedeem | sta.MayRevoke | sta.MayList, "enrolment": 0, "gw": sta.MayRedeem,
		"ender": sta.MayRevoke, "elsewhere": sta.MayList, "hasty": sta.MayList | sta.MayIssue,
	} {
		d.keys[name] = newKey(t)
		config := sta.ClientConfig{Name: name, Keys: []sta.Key{d.keys[name]}, May: may}
		switch name {
		case "elsewhere": // than these tests run
			config.Sources = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		case "hasty":
			config.Rate = 2
		}
		configs = append(configs, config)
	}
	d.proof, _ = certificate(t)
	leaf, err := x509.ParseCertificate(d.proof.Certificate[0])
	must(err)
	pin := "sha256:" + ticket.Hash(sha256.Sum256(leaf.RawSubjectPublicKeyInfo)).String()
	configs = append(configs, sta.ClientConfig{Name: "certified", Certificates: []string{pin}, May: sta.MayRedeem | sta.MayList})
	clients, err := sta.NewClients(configs)
	must(err)
	handler := readContract(t).watch(t, api.NewHandler(d.authority, clients, api.Options{Log: d.log}))
	d.server = httptest.NewUnstartedServer(nil)
	d.server.Config = api.NewServer(handler)
	d.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	d.server.TLS = api.AskForCertificates(&tls.Config{})
	d.server.EnableHTTP2 = true
	d.server.StartTLS()
	t.Cleanup(d.server.Close)
	return d
}

// newAuthority makes one with keys in a folder and everything else in memory, and
// gives the pin of its root.
func newAuthority(ctx context.Context, dir string, events sta.AuditLog) (*sta.Authority, string, error) {
	store := sta.NewMemoryStore()
	files := sta.KeyFiles{Root: filepath.Join(dir, "root.key"), Signing: filepath.Join(dir, "sta.key")}
	if _, err := sta.Init(ctx, store, "STA01", files, time.Now()); err != nil {
		return nil, "", err
	}
	keys, err := sta.OpenKeys(ctx, store, "STA01", files.Signing)
	if err != nil {
		return nil, "", err
	}
	authority, err := sta.New(sta.Config{
		ID: "STA01", Audience: []string{"gw.example.com"}, Signer: keys.Signer, Keys: keys.Set, Pin: keys.Pin,
		Store: store, Audit: events, CutWait: 2 * time.Second,
	})
	return authority, keys.Pin, err
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

func (d *door) tls() *tls.Config { return trust(d.server) }

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
	Names               []string
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
