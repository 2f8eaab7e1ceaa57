package connect

import (
	"net"

	"github.com/sallyport/sallyport/gateway/policy"
	"github.com/sallyport/sallyport/gateway/policy/export"
)

// pacFile is what a PAC file is made of: the config's rules, and nothing that
// proves who somebody is.
type pacFile struct {
	settings export.Settings
}

func newPAC(c Config) pacFile {
	host, port, _ := net.SplitHostPort(c.Gateway) // NewClient has checked it
	dialled := net.JoinHostPort(host, port)
	s := export.Settings{Name: "connect", Spec: c.spec(), Gateway: dialled, Suffixes: c.Suffixes}
	// The program keeps two names of the gateway outside: the one that devices are
	// told and the one that it is known by. Here these are the name that is dialled
	// and the one in the certificate: a browser that sent either to the proxy would
	// have it looked up, and refused, inside.
	if c.ServerName != "" && c.ServerName != host {
		s.Gateway = net.JoinHostPort(c.ServerName, port)
		if name, err := policy.ParseHost(host); err == nil && name.Name != "" {
			s.Spec.Console.ServicesGateway = dialled
		}
	}
	return pacFile{s}
}

// write makes the file for the proxy at an address. Browsers have no password
// for SOCKS5, so that listener is not in it.
func (f pacFile) write(proxy string) ([]byte, error) {
	return export.PAC(f.settings, export.Proxies{HTTP: proxy})
}
