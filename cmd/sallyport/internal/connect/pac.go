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
