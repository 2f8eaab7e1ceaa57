package tunnel

import (
	"crypto/tls"
	"slices"

	"github.com/sallyport/sallyport/tunnel/record"
)

// ALPN is the protocol name of our own clients. Others need not offer any.
const ALPN = "sallyport/1"

// ServerTLS returns base made fit for the public port:
//
//   - TLS 1.2 at least, and of its suites only those with forward secrecy and
//     an AEAD; base may narrow them further.
//   - No session tickets under TLS 1.2, where one key opens all recorded
//     sessions. Under 1.3 they stay: each resumption has a key exchange of its
//     own. There is no 0-RTT, since crypto/tls has none over TCP.
//   - ALPN is answered if the client offers ours, or one of the protocols beside
//     it, the earlier one first; and otherwise left out: TLS lets a server that
//     names no protocol accept any client, where one that names some must refuse
//     the rest. base's own NextProtos are ignored.
//   - Key exchanges are those of crypto/tls, X25519MLKEM768 among them, unless
//     base says otherwise.
//
// The result is one config for all listeners, and SetSessionTicketKeys belongs
// on it: keys set on base would be copied, and then stay for good. base is not
// changed, and changing it later has no effect; its GetConfigForClient, if any,
// is asked first.
func ServerTLS(base *tls.Config, beside ...string) *tls.Config {
	outer := harden(base)
	protocols := append([]string{ALPN}, beside...)
	own := newVariants(outer, protocols)
	choose := base.GetConfigForClient
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if choose == nil {
			return own.pick(hello), nil
		}
		chosen, err := choose(hello)
		switch {
		case err != nil:
			return nil, err
		case chosen == nil:
			return own.pick(hello), nil
		}
		return newVariants(harden(chosen), protocols).pick(hello), nil
	}
	return outer
}

// harden clones base and sets what does not depend on the client.
func harden(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.GetConfigForClient = nil
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.CipherSuites = aeadOnly(c.CipherSuites)
	c.Renegotiation = tls.RenegotiateNever // servers never do; said for the reader
	c.NextProtos = nil
	return c
}

// aeadSuites are the suites of TLS 1.2 that pass; those of 1.3 all do. The
// order means nothing to crypto/tls, which prefers by the hardware.
var aeadSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// aeadOnly keeps of the wanted suites those that pass. Wanting nothing means
// all of them; wanting none that passes leaves no suite, so that TLS 1.2
// clients are refused, and not served with what the caller did not want.
func aeadOnly(wanted []uint16) []uint16 {
	if wanted == nil {
		return slices.Clone(aeadSuites)
	}
	kept := make([]uint16, 0, len(wanted))
	for _, id := range wanted {
		if slices.Contains(aeadSuites, id) {
			kept = append(kept, id)
		}
	}
	return kept
}

// variants are the configs that a ClientHello chooses from, made beforehand.
// They set no session-ticket keys of their own, so crypto/tls uses, and
// rotates, those of the config that they were handed out by.
type variants struct {
	protocols          []string // best first
	tickets, noTickets byProtocol
	only12             bool // by MaxVersion
}

// byProtocol has a config for each protocol that may be agreed on, "" among them.
type byProtocol map[string]*tls.Config

func newVariants(c *tls.Config, protocols []string) *variants {
	with := c.Clone()
	without := c.Clone()
	without.SessionTicketsDisabled = true
	return &variants{
		protocols: protocols, tickets: forEach(with, protocols), noTickets: forEach(without, protocols),
		only12: c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS13,
	}
}

func forEach(c *tls.Config, protocols []string) byProtocol {
	configs := byProtocol{"": c}
	for _, protocol := range protocols {
		one := c.Clone()
		one.NextProtos = []string{protocol}
		configs[protocol] = one
	}
	return configs
}

func (v *variants) pick(hello *tls.ClientHelloInfo) *tls.Config {
	set := v.tickets
	if v.only12 || !slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		set = v.noTickets
	}
	chosen := set[""]
	for _, protocol := range v.protocols {
		if slices.Contains(hello.SupportedProtos, protocol) {
			chosen = set[protocol]
			break
		}
	}
	if tap, ok := hello.Conn.(*record.Tap); ok {
		// The secrets of one connection, for the record layer that takes over. It is
		// the one case in which a connection has a config of its own.
		chosen = chosen.Clone()
		chosen.KeyLogWriter = tap.KeyLog()
	}
	return chosen
}
