package demo

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"text/template"
)

// place is where a demo lives: a folder, readable by its owner only, and ports.
type place struct {
	dir  string
	lock *os.File // held for the fixed folder
	keep bool     // the folder outlives the demo
}

// Files in the folder. data/ is the node's own.
const (
	fileConfig = "sallyport.yaml"
	fileKey    = "enrolment.key"
	fileTicket = "ticket.txt"
	fileLog    = "gateway.log"
	dirMail    = "mail"
	dirData    = "data"
)

func (p *place) path(name ...string) string {
	return filepath.Join(append([]string{p.dir}, name...)...)
}

// fixedPlace is the folder that every demo of this user has, so that commands
// keep their names. If another demo runs there, a temporary one is taken.
func fixedPlace() (*place, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return temporaryPlace()
	}
	p := &place{dir: filepath.Join(cache, "sallyport", "demo"), keep: true}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(p.dir, 0o700); err != nil {
		return nil, err
	}
	p.lock, err = os.OpenFile(p.path(".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(p.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		p.lock.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		return temporaryPlace()
	}
	// Keys and tickets are made anew each time; an old demo's are of no use.
	for _, old := range []string{dirData, dirMail, fileConfig, fileKey, fileTicket, fileLog} {
		if err := os.RemoveAll(p.path(old)); err != nil {
			return nil, errors.Join(err, p.leave())
		}
	}
	return p, nil
}

func temporaryPlace() (*place, error) {
	dir, err := os.MkdirTemp("", "sallyport-demo-")
	return &place{dir: dir}, err
}

// leave gives the folder up, and removes it if it was a temporary one.
func (p *place) leave() error {
	if p.lock != nil {
		p.lock.Close()
	}
	if p.keep {
		return nil
	}
	return os.RemoveAll(p.dir)
}

// The ports that commands can be remembered with.
const (
	portAuthority = 8442
	portGateway   = 8443
	portMail      = 8444
	portConnect   = 8445
)

// listen takes the port, or another one if that is taken or 0.
func listen(ctx context.Context, port int) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", loopback(port))
	if errors.Is(err, syscall.EADDRINUSE) {
		l, err = lc.Listen(ctx, "tcp", loopback(0))
	}
	return l, err
}

// free gives the port if nobody has it, or another one. The node opens it by
// itself, from its file.
func free(ctx context.Context, port int) (int, error) {
	l, err := listen(ctx, port)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return portOf(l), nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// The names that are inside.
const (
	fqdn     = "gateway3.example.com"
	mailHost = "mail.example.com"
	ewsHost  = "ews.example.com"
	pushHost = "eu-west-1.pushreg.xm.citrix.com"
	unlisted = "intranet.example.com"
)

type settings struct{ Authority, Gateway, Mail int }

var configTemplate = template.Must(template.New("").Parse(`# Written by sallyport demo, anew each time.
node: gw-1
log: {level: info, format: json}
sta:
  id: STA01
  listen: 127.0.0.1:{{.Authority}}
  clients:
    - {name: enrolment, key_file: enrolment.key, may: [issue, renew, redeem, revoke, list]}
gateway:
  fqdn: gateway3.example.com
  listen: 127.0.0.1:{{.Gateway}}
  authorities: [local]
  policy:
    exchange_server: mail.example.com
    background_services: mail.example.com:{{.Mail}},ews.example.com:{{.Mail}},eu-west-1.pushreg.xm.citrix.com:{{.Mail}}
splitdns:
  # Where the stand-in mail server is. Loopback can be reached by a pin only.
  hosts:
    mail.example.com: [127.0.0.1]
    ews.example.com: [127.0.0.1]
    eu-west-1.pushreg.xm.citrix.com: [127.0.0.1]
certs: {mode: dev}
`))

// write makes the configuration and the enrolment server's key.
func (p *place) write(s settings) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, by its contract
	line := base64.StdEncoding.EncodeToString(key) + "\n"
	if err := os.WriteFile(p.path(fileKey), []byte(line), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(p.path(fileConfig), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := configTemplate.Execute(f, s); err != nil {
		return fmt.Errorf("writing %s: %w", f.Name(), errors.Join(err, f.Close()))
	}
	return f.Close()
}
