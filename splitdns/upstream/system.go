package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// systemFile is a resolv.conf, and when it was last looked at. Pool.mu guards
// it.
type systemFile struct {
	path    string
	looked  time.Time
	servers []Server
	err     error
}

const (
	lookEvery         = 5 * time.Second
	maxSystemFile     = 64 << 10
	maxSystemServers  = 3 // as libc: the rest of the file has never been asked
	systemServersPort = 53
)

var errNoNameServers = errors.New("names no name server")

// SystemPool returns a pool of the name servers in a file like
// /etc/resolv.conf: the addresses of its nameserver lines, the first three, asked
// over UDP at port 53, in this order. Config.Servers is not looked at. The
// file is read when a question comes, at most every five seconds; servers that
// stay keep their state.
//
// Nothing else of the file counts: not search and domain, for names are
// absolute, and not options, for Config has the time-outs and attempts.
//
// While the file cannot be read, the servers stay as they were. If they never
// were, or the file names none, Ask fails with ErrFailed and says so: libc would
// ask this machine then, but whether it has a resolver is for the file to say.
func SystemPool(file string, c Config) *Pool {
	p := newPool(c)
	p.file = &systemFile{path: file}
	return p
}

// reread takes the servers from the file if it is time to. The caller holds the
// mutex.
func (p *Pool) reread() error {
	f := p.file
	if now := p.config.Now(); f.looked.IsZero() || now.Sub(f.looked) >= lookEvery || now.Before(f.looked) {
		f.looked = now
		servers, err := readSystemFile(f.path)
		if err == nil && !slices.Equal(servers, f.servers) {
			p.adopt(servers)
			f.servers = servers
		}
		f.err = err
	}
	switch {
	case len(f.servers) > 0:
		return nil
	case f.err != nil:
		return f.err
	}
	return fmt.Errorf("%s %w", f.path, errNoNameServers)
}

func readSystemFile(path string) ([]Server, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSystemFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSystemFile { // what is left of its last line may be another address
		text = text[:bytes.LastIndexByte(text[:maxSystemFile], '\n')+1]
	}
	return parseSystemFile(text), nil
}

// parseSystemFile returns the servers of resolv.conf(5). What is no address of
// a server is passed over, as libc does: other programs must live with the same
// file.
func parseSystemFile(text []byte) []Server {
	var servers []Server
	for line := range bytes.Lines(text) {
		words := strings.Fields(string(line))
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(words[1])
		if err != nil {
			continue
		}
		server := Server{Network: "udp", Addr: netip.AddrPortFrom(addr.Unmap(), systemServersPort)}
		if server.check() == nil && !slices.Contains(servers, server) {
			servers = append(servers, server)
		}
		if len(servers) == maxSystemServers {
			break
		}
	}
	return servers
}
