package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/sallyport/sallyport/cmd/sallyport/internal/config"
	"github.com/sallyport/sallyport/tunnel"
	"github.com/sallyport/sallyport/tunnel/httpconnect"
	"github.com/sallyport/sallyport/tunnel/quic"
)

// doors are how devices come in: always by SOCKS5 over TLS, and as the file says by
// HTTP on the same port, and by QUIC on the UDP port of that number. Whichever way,
// their streams go to one server, and are in its limits.
type doors struct {
	identity *tls.Config
	tcp      net.Listener
	web      *httpconnect.Carrier // nil without HTTP
	quic     *quic.Listener       // nil without QUIC
}

// doorsClose is how long the last words on QUIC connections have.
const doorsClose = 200 * time.Millisecond

func (n *Node) openDoors(ctx context.Context, c *config.Config) (*doors, error) {
	tcp, udp, err := openPorts(ctx, c)
	if err != nil {
		return nil, err
	}
	d := &doors{tcp: tcp, identity: &tls.Config{GetCertificate: n.certs.GetCertificate}}
	if c.Gateway.HTTPSProxy {
		d.web = httpconnect.New(httpconnect.Config{Header: c.Gateway.CredentialHeader, DNS: true})
	}
	if udp == nil {
		return d, nil
	}
	config := quic.Config{TLS: d.identity, Hooks: quic.Hooks{Refused: n.carrierHooks().Refused}}
	if d.web != nil {
		config.HTTP3 = d.web.ServeQUIC
	}
	if d.quic, err = quic.Listen(ctx, udp, config); err != nil {
		_ = udp.Close()
		d.close()
		return nil, fmt.Errorf("gateway.listen, for QUIC: %w", err)
	}
	return d, nil
}

// openPorts listens at the same port for both. If the kernel is to choose it, it
// chooses by TCP alone, and another one if that is taken for UDP.
func openPorts(ctx context.Context, c *config.Config) (net.Listener, *net.UDPConn, error) {
	const tries = 8
	var err error
	for range tries {
		var tcp net.Listener
		if tcp, err = listen(ctx, c, c.Gateway.Listen); err != nil {
			return nil, nil, err
		}
		if !c.Gateway.QUIC {
			return tcp, nil, nil
		}
		var udp *net.UDPConn
		at := tcp.Addr().(*net.TCPAddr).AddrPort()
		network, _ := family("udp", at)
		udp, err = net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
		if err == nil {
			return tcp, udp, nil
		}
		_ = tcp.Close()
		if c.Gateway.Listen.Port() != 0 {
			break
		}
	}
	return nil, nil, fmt.Errorf("gateway.listen, for QUIC: %w", err)
}

func (d *doors) address() netip.AddrPort { return d.tcp.Addr().(*net.TCPAddr).AddrPort() }

// tell adds what the doors need to the config of the server.
func (d *doors) tell(c *tunnel.Config) {
	if d.web == nil {
		c.TLS = tunnel.ServerTLS(d.identity)
		return
	}
	c.TLS, c.Web = tunnel.ServerTLS(d.identity, tunnel.WebProtocols()...), d.web.Web
}

// serve starts what accepts. All of it ends with the server.
func (d *doors) serve(ctx context.Context, n *Node, server *tunnel.Server) {
	n.run("gateway", func() error { return server.Serve(ctx, d.tcp) })
	if d.quic != nil {
		n.run("gateway by QUIC", func() error { return server.Serve(ctx, d.quic) })
	}
	if d.web != nil {
		n.run("gateway by HTTP", func() error { return server.Serve(ctx, d.web) })
	}
}

// close stops listening. It is for doors that were never served, too.
func (d *doors) close() {
	_ = d.tcp.Close()
	if d.web != nil {
		_ = d.web.Close()
	}
	if d.quic != nil {
		ctx, cancel := context.WithTimeout(context.Background(), doorsClose)
		defer cancel()
		_ = d.quic.Shutdown(ctx)
	}
}

// overHTTP tells whether a carrier's refusals have a status, and not a SOCKS5 reply.
func overHTTP(carrier string) bool {
	switch carrier {
	case httpconnect.CarrierHTTP1, httpconnect.CarrierHTTP2, httpconnect.CarrierHTTP3:
		return true
	}
	return false
}

// by says for the log which ways in there are.
func (d *doors) by() []string {
	ways := []string{tunnel.CarrierSOCKS5}
	if d.web != nil {
		ways = append(ways, httpconnect.CarrierHTTP1, httpconnect.CarrierHTTP2)
	}
	if d.quic != nil {
		ways = append(ways, quic.Carrier)
		if d.web != nil {
			ways = append(ways, quic.CarrierH3)
		}
	}
	return ways
}
