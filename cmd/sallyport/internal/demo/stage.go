package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/sallyport/sallyport/bench/standin"
	"github.com/sallyport/sallyport/certs"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/connect"
	"github.com/sallyport/sallyport/cmd/sallyport/internal/node"
	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/api"
)

// stage is what runs: the mail server, the node, the enrolment server's client,
// and the device's side.
type stage struct {
	*place
	*console
	config    *config.Config
	mail      *standin.Server
	mailPort  int
	mailRoots *x509.CertPool
	held      chan struct{} // gets one for each Ping that the mail server holds
	node      *node.Node
	log       *os.File
	enrolment *api.Client
	roots     *x509.CertPool // of authority and gateway
	tunnels   *connect.Client
	device    *connect.Proxy
	local     net.Listener // where the device's proxy listens
	showing   atomic.Bool  // the steps are being taken

	work sync.WaitGroup
	ctx  context.Context
	end  context.CancelFunc
}

// start brings everything up. Ports are the fixed ones, unless once.
func start(ctx context.Context, p *place, c *console, once bool) (_ *stage, err error) {
	s := &stage{place: p, console: c}
	s.ctx, s.end = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	port := func(fixed int) int {
		if once {
			return 0
		}
		return fixed
	}
	if err := s.startMail(port(portMail)); err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	if err := s.startNode(port(portAuthority), port(portGateway)); err != nil {
		return nil, err
	}
	if err := s.startEnrolment(); err != nil {
		return nil, fmt.Errorf("enrolment server: %w", err)
	}
	return s, s.startDevice(port(portConnect))
}

func (s *stage) startMail(port int) error {
	names := []string{mailHost, ewsHost, pushHost}
	source, err := certs.OpenDev(s.path(dirMail), names)
	if err != nil {
		return err
	}
	if s.mailRoots, err = certs.DevRoots(s.path(dirMail)); err != nil {
		return err
	}
	listener, err := listen(s.ctx, port)
	if err != nil {
		return err
	}
	s.mailPort = portOf(listener)
	s.held = make(chan struct{}, 1)
	s.mail = standin.New(standin.Config{
		TLS:   &tls.Config{GetCertificate: source.GetCertificate},
		Hooks: &standin.Hooks{Holding: s.holding},
	})
	s.work.Go(func() { _ = s.mail.Serve(listener) })
	s.step("a stand-in mail server listens on %s: ActiveSync, EWS, push registration", listener.Addr())
	return nil
}

// holding is told by the mail server of each long poll that begins to wait.
func (s *stage) holding(standin.Kind) {
	select {
	case s.held <- struct{}{}:
	default:
	}
}

func (s *stage) startNode(authority, gateway int) (err error) {
	if s.log, err = os.OpenFile(s.path(fileLog), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	// Between finding a port free and taking it somebody else may have it.
	for try := 1; ; try++ {
		err := s.tryNode(authority, gateway)
		if err == nil {
			break
		}
		if try == maxTries || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	s.step("authority %s accepts requests on %s", s.config.STA.ID, s.node.AuthorityAddr())
	s.step("gateway %s accepts tunnels on %s", fqdn, s.node.GatewayAddr())
	return nil
}

// maxTries bounds the search for free ports.
const maxTries = 5

func (s *stage) tryNode(authority, gateway int) error {
	set := settings{Mail: s.mailPort}
	var err error
	if set.Authority, err = free(s.ctx, authority); err != nil {
		return err
	}
	if set.Gateway, err = free(s.ctx, gateway); err != nil {
		return err
	}
	if err := s.write(set); err != nil {
		return err
	}
	var diagnostics config.Diagnostics
	if s.config, diagnostics = config.Load(s.path(fileConfig)); diagnostics.HasErrors() {
		return diagnostics.Err()
	}
	log := zerolog.New(s.log).With().Timestamp().Str("node", s.config.Node).Logger()
	s.node, err = node.Start(s.ctx, s.config, log)
	return err
}

func (s *stage) startEnrolment() error {
	keys, err := sta.ReadKeyFile(s.path(fileKey))
	if err != nil {
		return err
	}
	if s.roots, err = certs.DevRoots(s.config.Certs.Dir); err != nil {
		return err
	}
	s.enrolment, err = api.NewClient(api.ClientConfig{
		URL: "https://" + s.node.AuthorityAddr().String(), Key: keys[0],
		TLS: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12},
	})
	return err
}

// startDevice starts the device's side. Its ticket comes later, by the file.
func (s *stage) startDevice(port int) error {
	c := s.deviceConfig(func() (string, error) {
		line, err := os.ReadFile(s.path(fileTicket))
		return strings.TrimSpace(string(line)), err
	})
	c.Hooks.Tunnel = s.tunnelled
	var err error
	if c.Services, err = policy.ParseServices(s.config.Gateway.Policy.BackgroundServices); err != nil {
		return err
	}
	if s.tunnels, err = connect.NewClient(c); err != nil {
		return err
	}
	if s.device, err = connect.New(c); err != nil {
		return err
	}
	if s.local, err = listen(s.ctx, port); err != nil {
		return err
	}
	s.work.Go(func() { _ = s.device.Serve(s.ctx, s.local) })
	return nil
}

// deviceConfig is a device with this ticket.
func (s *stage) deviceConfig(ticket func() (string, error)) connect.Config {
	return connect.Config{
		Listen: loopback(0), Gateway: s.node.GatewayAddr().String(), ServerName: fqdn, RootCAs: s.roots,
		User: user, Ticket: ticket, SplitTunnel: connect.Off,
	}
}

// tunnelled shows what the device writes into its log, while the steps are
// taken.
func (s *stage) tunnelled(t connect.Tunnel) {
	if t.Err == nil && s.showing.Load() {
		s.quote("device", t.String())
		s.quote("device", fmt.Sprintf("New TCP proxy connection to (null):%d established", t.Destination.Port))
	}
}

// stop ends everything and waits for it.
func (s *stage) stop() error {
	var errs []error
	s.end()
	if s.enrolment != nil {
		s.enrolment.Close()
	}
	if s.node != nil {
		errs = append(errs, s.node.Close(s.ctx))
	}
	if s.mail != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whoever still waits for mail waits in vain
		_ = s.mail.Shutdown(ctx)
	}
	s.work.Wait()
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(errs...)
}
