package connect

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/sallyport/sallyport/splitdns/stub"
)

const (
	resolvConf = "/etc/resolv.conf"
	// maxResolvConf bounds what is read of it, in bytes.
	maxResolvConf = 64 << 10
	// maxPacket is the largest answer taken from a packet; larger ones are asked
	// for over TCP.
	maxPacket = 4 << 10
	// askAgain is how long an answer to a packet is waited for until it is sent
	// once more.
	askAgain = 1500 * time.Millisecond
)

// flagTC, in the third byte of a message, says that it was cut (RFC 1035 section
// 4.1.1).
const flagTC = 0x02

// errOwnServer would be a question that comes round and round.
var errOwnServer = errors.New("the local DNS is this program's own stub: say --local-dns")

// localDNS asks the DNS server outside of the gateway.
type localDNS struct {
	server string // host:port; "" is the first of resolv.conf, read for each question, since machines move
	never  string // the stub's own address
}

// checkLocalDNS wants an address and a port, for a name would have to be looked
// up first.
func checkLocalDNS(server, stub string) error {
	if server == "" {
		return nil
	}
	at, err := netip.ParseAddrPort(server)
	if err != nil || at.Port() == 0 {
		return errors.New("the local DNS must be an address and a port, such as 192.0.2.53:53")
	}
	if isSameServer(server, stub) {
		return errOwnServer
	}
	return nil
}

// isSameServer compares addresses rather than texts: [::ffff:127.0.0.1]:53 is
// where 127.0.0.1:53 is.
func isSameServer(a, b string) bool {
	one, err := netip.ParseAddrPort(a)
	two, otherErr := netip.ParseAddrPort(b)
	return err == nil && otherErr == nil && one.Port() == two.Port() && one.Addr().Unmap() == two.Addr().Unmap()
}

// address is whom to ask now.
func (l localDNS) address() (string, error) {
	server := l.server
	if server == "" {
		file, err := os.Open(resolvConf)
		if err != nil {
			return "", err
		}
		defer file.Close()
		first, ok := firstNameserver(io.LimitReader(file, maxResolvConf))
		if !ok {
			return "", errors.New(resolvConf + " names no server")
		}
		server = netip.AddrPortFrom(first, 53).String()
	}
	if isSameServer(server, l.never) {
		return "", errOwnServer
	}
	return server, nil
}

// firstNameserver reads the format of resolv.conf(5). The unspecified address
// means this machine there.
func firstNameserver(r io.Reader) (netip.Addr, bool) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(words[1])
		switch {
		case err != nil:
			continue
		case addr == netip.IPv4Unspecified():
			return loopbacks[0], true
		case addr == netip.IPv6Unspecified():
			return loopbacks[1], true
		}
		return addr, true
	}
	return netip.Addr{}, false
}

// exchange asks by a packet from a fresh port with a fresh id, and over TCP if
// the answer does not fit. server is who was asked, "" for nobody.
func (l localDNS) exchange(ctx context.Context, wire []byte) (answer []byte, server string, err error) {
	if server, err = l.address(); err != nil {
		return nil, "", err
	}
	query := bytes.Clone(wire)
	_, _ = rand.Read(query[:2]) // never fails, by its contract
	answer, err = askPacket(ctx, server, query)
	if err == nil && answer == nil {
		answer, err = askStream(ctx, server, query)
	}
	if err != nil {
		return nil, server, err
	}
	copy(answer, wire[:2])
	return answer, server, nil
}

// askPacket returns nil for an answer that must be had over TCP.
func askPacket(ctx context.Context, server string, query []byte) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	for {
		answer, err := askPacketOnce(conn, query)
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		}
	}
}

func askPacketOnce(conn net.Conn, query []byte) ([]byte, error) {
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(askAgain))
	packet := make([]byte, maxPacket)
	for {
		n, err := conn.Read(packet)
		if err != nil {
			return nil, err
		}
		if !stub.IsAnswer(packet[:n], query) {
			continue // somebody's guess
		}
		if n == maxPacket || packet[2]&flagTC != 0 {
			return nil, nil
		}
		return packet[:n], nil
	}
}

func askStream(ctx context.Context, server string, query []byte) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return stub.Exchange(ctx, conn, query)
}
