package gateway_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/follow"
	"github.com/sallyport/sallyport/sta/revlog"
	"github.com/sallyport/sallyport/sta/ticket"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/socks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fqdn      = "gateway3.example.com"
	authority = "STA01"
	wait      = 10 * time.Second
)

// world is an authority with the reference store, a gateway that follows it and
// listens on loopback, and a service behind it that echoes.
type world struct {
	t         *testing.T
	store     sta.Store
	authority *sta.Authority
	gateway   *gateway.Gateway
	root      ed25519.PrivateKey
	signer    *ticket.Signer
	second    *ticket.Signer // its key is in the set too, until takeKeyOut
	clock     clock
	// takeKeyOut has the root sign a set without the second key.
	takeKeyOut func()
	client     *sta.Client
	addr       string // of the gateway
	service    string // port of the service
	port       uint16
	resolver   *names
	roots      *x509.CertPool
	sessions   tls.ClientSessionCache

	refused  chan refusal
	opened   chan *gateway.Attempt
	accounts chan account
}

type refusal struct {
	attempt *gateway.Attempt
	why     *tunnel.Refusal
}

type account struct {
	attempt *gateway.Attempt
	of      *gateway.Account
}

// clock is the authority's and the gateway's idea of now.
type clock struct {
	ahead  atomic.Int64
	frozen atomic.Pointer[time.Time]
}

func (c *clock) now() time.Time {
	if at := c.frozen.Load(); at != nil {
		return *at
	}
	return time.Now().Add(time.Duration(c.ahead.Load()))
}

func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func (c *clock) freeze() { now := c.now(); c.frozen.Store(&now) }

// names is a resolver with answers of the test's choosing.
type names struct {
	mu      sync.Mutex
	answers map[string][]netip.Addr
	errs    map[string]error
	asked   []string
}

func (n *names) Resolve(ctx context.Context, host string) (gateway.Resolution, error) {
	n.mu.Lock()
	n.asked = append(n.asked, host)
	addrs, err := n.answers[host], n.errs[host]
	n.mu.Unlock()
	if err == context.DeadlineExceeded {
		<-ctx.Done()
		return gateway.Resolution{}, ctx.Err()
	}
	if err == nil && addrs == nil {
		return gateway.Resolution{}, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return gateway.Resolution{Addrs: addrs, Source: "public", Server: "192.0.2.53"}, err
}

func (n *names) wasAsked(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, asked := range n.asked {
		if asked == host {
			return true
		}
	}
	return false
}

// noAudit forgets. What is audited is the business of other tests.
type noAudit struct{}

func (noAudit) Append(context.Context, sta.Event) error { return nil }

// options change what a world is made of.
type options struct {
	list     string // in the list, PORT stands for the service's port
	relay    tunnel.Limits
	setUp    time.Duration
	failures int
	slots    int
	serve    func(net.Conn) // what the service does; nil echoes
	source   func(follow.Source) follow.Source
	dialer   net.Dialer
	upstream *gateway.Upstream
	opened   func(*gateway.Attempt)
	panicked func(tunnel.Peer, any, []byte) // nil: a panic ends the test
	defect   func(any, []byte)              // likewise, beside the tunnel's own goroutine
}

const defaultList = "mail.example.com:PORT,*.wild.example.com:PORT,mail.example.com:1,gone.example.com:PORT," +
	"broken.example.com:PORT,private.example.com:PORT,metadata.example.com:PORT," +
	"own.example.com:OWN,bücher.example.com:PORT"

func newWorld(t *testing.T, o options) *world {
	t.Helper()
	w := &world{
		t: t, store: sta.NewMemoryStore(),
		sessions: tls.NewLRUClientSessionCache(8),
		client:   &sta.Client{Name: "enrolment", May: sta.MayIssue | sta.MayRevoke | sta.MayList},
		refused:  make(chan refusal, 1024),
		opened:   make(chan *gateway.Attempt, 1024),
		accounts: make(chan account, 1024),
	}
	w.startService(o.serve)
	w.startAuthority()
	w.startGateway(o)
	return w
}

func (w *world) startService(serve func(net.Conn)) {
	if serve == nil {
		serve = func(c net.Conn) { _, _ = io.Copy(c, c) }
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	w.port = listener.Addr().(*net.TCPAddr).AddrPort().Port()
	_, w.service, _ = net.SplitHostPort(listener.Addr().String())
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	w.t.Cleanup(func() { listener.Close(); conns.Wait() })
}

func (w *world) startAuthority() {
	var err error
	_, w.root, err = ed25519.GenerateKey(rand.Reader)
	must(w.t, err)
	var keys [2]ed25519.PublicKey
	for i, signer := range []**ticket.Signer{&w.signer, &w.second} {
		public, key, err := ed25519.GenerateKey(rand.Reader)
		must(w.t, err)
		keys[i] = public
		*signer, err = ticket.NewSigner(authority, key)
		must(w.t, err)
	}
	pin := ticket.Pin(w.root.Public().(ed25519.PublicKey))
	set, err := ticket.VerifyKeySet(w.putKeys(1, keys[:]...), authority, pin)
	must(w.t, err)
	w.takeKeyOut = func() {
		w.putKeys(2, keys[0])
		must(w.t, w.authority.Look(w.t.Context()))
	}
	w.authority, err = sta.New(sta.Config{
		ID: authority, Audience: []string{fqdn}, Signer: w.signer, Keys: set, Pin: pin,
		Store: w.store, Audit: noAudit{}, Now: w.clock.now,
	})
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.authority.Run(ctx) })
	w.t.Cleanup(func() { cancel(); running.Wait(); w.store.Close() })
}

// putKeys signs a set of keys and stores it, as an operator does.
func (w *world) putKeys(version uint64, keys ...ed25519.PublicKey) (signed string) {
	signed, err := ticket.SignKeySet(w.root, authority, version, time.Now(), keys)
	must(w.t, err)
	must(w.t, w.store.PutKeySet(w.t.Context(), sta.SignedKeySet{Version: version, Signed: signed}))
	return signed
}

func (w *world) startGateway(o options) {
	listener, err := tunnel.Listen(w.t.Context(), "127.0.0.1:0")
	must(w.t, err)
	own := listener.Addr().(*net.TCPAddr).AddrPort()
	w.addr = own.String()
	_, ownPort, _ := net.SplitHostPort(w.addr)

	var source follow.Source = w.authority
	if o.source != nil {
		source = o.source(source)
	}
	log, err := revlog.Open("", "")
	must(w.t, err)
	w.t.Cleanup(func() { log.Close() })
	follower, err := follow.New(follow.Config{
		Gateway: "gw-1", Audience: fqdn, Authority: authority, Keys: w.authority.Keys, Now: w.clock.now,
		Nodes: []follow.Node{{Name: "local", Source: source}}, Log: log,
		Cut:     func(r *ticket.Revocation) int { return w.gateway.Cut(authority, r) },
		CutKeys: func(set *ticket.KeySet) int { return w.gateway.CutKeys(set) },
	})
	must(w.t, err)

	if o.list == "" {
		o.list = defaultList
	}
	local := netip.MustParseAddr("127.0.0.1")
	w.resolver = &names{
		answers: map[string][]netip.Addr{
			"mail.example.com":          {local},
			"a.wild.example.com":        {local},
			"own.example.com":           {local},
			"loop.example.com":          {local},
			"private.example.com":       {netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("::ffff:10.1.2.4")},
			"metadata.example.com":      {netip.MustParseAddr("169.254.169.254")},
			"xn--bcher-kva.example.com": {local},
		},
		errs: map[string]error{"slow.example.com": context.DeadlineExceeded, "broken.example.com": io.ErrUnexpectedEOF},
	}
	relays, err := tunnel.NewRelays(tunnel.RelaysHooks{Panicked: o.defect})
	must(w.t, err)
	if o.opened == nil {
		o.opened = func(a *gateway.Attempt) { w.opened <- a }
	}
	w.gateway, err = gateway.New(gateway.Config{
		Upstream: o.upstream,
		Redeemer: follower, Relays: relays, Relay: o.relay, FailuresPerMinute: o.failures, Now: w.clock.now, Dialer: o.dialer,
		Snapshot: w.snapshot(strings.NewReplacer("PORT", w.service, "OWN", ownPort).Replace(o.list), own),
		Hooks: gateway.Hooks{
			Refused:  func(a *gateway.Attempt, r *tunnel.Refusal) { w.refused <- refusal{a, r} },
			Opened:   o.opened,
			Closed:   func(a *gateway.Attempt, of *gateway.Account) { w.accounts <- account{a, of} },
			Panicked: o.defect,
		},
	})
	must(w.t, err)
	server, err := tunnel.NewServer(tunnel.Config{
		TLS: tunnel.ServerTLS(w.certificate()), Handler: w.gateway, SetupTimeout: o.setUp, MaxStreams: o.slots,
		Hooks: tunnel.Hooks{Panicked: o.panicked},
	})
	must(w.t, err)

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = follower.Run(ctx) })
	running.Go(func() { _ = server.Serve(ctx, listener) })
	w.t.Cleanup(func() { cancel(); running.Wait(); must(w.t, relays.Close()) })

	// Whoever sets the clock afterwards shall not make the first word of the
	// authority look as if somebody had held it back.
	_, err = follower.Redeem(ctx, &ticket.Presentation{Form: ticket.FormHandle, Handle: ticket.NewHandle()})
	if ticket.ReasonOf(err) != ticket.Unknown {
		w.t.Fatalf("a ticket that nobody issued: %v", err)
	}
}

func (w *world) snapshot(list string, own netip.AddrPort) gateway.Snapshot {
	w.t.Helper()
	compiled, err := policy.CompileSet(policy.Spec{Services: list, ExchangeServers: []string{"mail.example.com"}}, nil)
	must(w.t, err)
	local := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	return gateway.Snapshot{
		Policies: compiled, Resolver: w.resolver, Since: time.Unix(1_800_000_000, 0),
		Address: policy.NewAddressRules(policy.AddressConfig{
			Own: []netip.AddrPort{own},
			Pinned: map[string][]netip.Addr{
				"mail.example.com": local, "a.wild.example.com": local, "own.example.com": local,
				"xn--bcher-kva.example.com": local,
			},
		}),
	}
}

func (w *world) certificate() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(w.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{fqdn},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(w.t, err)
	leaf, err := x509.ParseCertificate(der)
	must(w.t, err)
	w.roots = x509.NewCertPool()
	w.roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}
}

// issue gets a ticket; change may be nil.
func (w *world) issue(change func(*sta.IssueRequest)) sta.Issued {
	w.t.Helper()
	request := sta.IssueRequest{User: "user2@example.com", Device: "iPhone", App: "Secure Mail"}
	if change != nil {
		change(&request)
	}
	issued, err := w.authority.Issue(w.t.Context(), w.client, request)
	must(w.t, err)
	return issued
}

// connect opens TLS to the gateway, and no more.
func (w *world) connect() *tls.Conn {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), wait)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{
		RootCAs: w.roots, ServerName: fqdn,
		// Handshakes are most of what these tests cost, and not what they are about.
		CurvePreferences: []tls.CurveID{tls.X25519}, ClientSessionCache: w.sessions,
	}}
	conn, err := d.DialContext(ctx, "tcp", w.addr)
	must(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	must(w.t, conn.SetDeadline(time.Now().Add(wait)))
	return conn.(*tls.Conn)
}

// open tries a tunnel.
func (w *world) open(password, host string, port uint16) (*tls.Conn, error) {
	w.t.Helper()
	conn := w.connect()
	ctx, cancel := context.WithTimeout(w.t.Context(), wait)
	defer cancel()
	err := socks.ClientHandshake(ctx, conn, socks.Auth{User: "jürgen€", Password: password}, host, port)
	if err != nil {
		conn.Close() // or the gateway lingers, so that the answer arrives
		return nil, err
	}
	must(w.t, conn.SetDeadline(time.Now().Add(wait)))
	return conn, nil
}

func (w *world) mustOpen(password, host string, port uint16) *tls.Conn {
	w.t.Helper()
	conn, err := w.open(password, host, port)
	if err != nil {
		w.t.Fatalf("open %s:%d: %v", host, port, err)
	}
	return conn
}

// echo sends a line and wants it back.
func echo(t *testing.T, conn net.Conn, line string) {
	t.Helper()
	_, err := io.WriteString(conn, line+"\n")
	must(t, err)
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || got != line+"\n" {
		t.Fatalf("echo of %q: %q, %v", line, got, err)
	}
}

func next[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(wait):
		t.Fatalf("no %s came", what)
		panic("unreachable")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
