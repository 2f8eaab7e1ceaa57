package quic

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/quic-go/quic-go/quicvarint"

	"github.com/sallyport/sallyport/tunnel"
)

// The types of frames that the attacks are made of (RFC 9000 section 19).
const (
	framePing                  = 0x01
	frameAck                   = 0x02
	frameReset                 = 0x04
	frameStopSending           = 0x05
	frameCrypto                = 0x06
	frameStream                = 0x0e // with offset and length
	frameNewConnectionID       = 0x18
	frameRetireID              = 0x19
	framePathChallenge         = 0x1a
	framePathResponse          = 0x1b
	frameClose                 = 0x1c
	frameCloseByApp            = 0x1d
	frameDatagram              = 0x30
	codeNotClosed              = ^uint64(0)
	packetSize                 = 1200 // RFC 9000 section 14.1
	levels                     = 3    // of encryption: Initial, Handshake, 1-RTT
	intruderIDLength           = 8
	intruderWindow       int64 = 1 << 20
)

// protection seals or opens packets (RFC 9001 section 5), with AES-128-GCM.
type protection struct {
	aead   cipher.AEAD
	iv     []byte
	mask   cipher.Block
	secret []byte
}

func protectionOf(secret []byte) *protection {
	block, err := aes.NewCipher(expandLabel(secret, "quic key", 16))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	mask, err := aes.NewCipher(expandLabel(secret, "quic hp", 16))
	if err != nil {
		panic(err)
	}
	return &protection{aead, expandLabel(secret, "quic iv", 12), mask, slices.Clone(secret)}
}

// next is what a key update leads to (RFC 9001 section 6).
func (p *protection) next() *protection {
	updated := protectionOf(expandLabel(p.secret, "quic ku", 32))
	updated.mask = p.mask
	return updated
}

// expandLabel is HKDF-Expand-Label without a context (RFC 8446 section 7.1).
func expandLabel(secret []byte, label string, length int) []byte {
	label = "tls13 " + label
	info := append([]byte{0, byte(length), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), length)
	if err != nil {
		panic(err)
	}
	return out
}

// initialProtection is for packets to and from a server that was first called by id
// (RFC 9001 section 5.2).
func initialProtection(id []byte) (client, server *protection) {
	salt := []byte("\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a")
	secret, err := hkdf.Extract(sha256.New, id, salt)
	if err != nil {
		panic(err)
	}
	return protectionOf(expandLabel(secret, "client in", 32)), protectionOf(expandLabel(secret, "server in", 32))
}

func (p *protection) nonce(number uint64) []byte {
	nonce := slices.Clone(p.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(number >> (56 - 8*i))
	}
	return nonce
}

// seal ends a packet whose header is there but for its number, of four bytes.
func (p *protection) seal(header []byte, number uint64, payload []byte) []byte {
	header = binary.BigEndian.AppendUint32(header, uint32(number))
	packet := p.aead.Seal(header, p.nonce(number), payload, header)
	p.hide(packet, len(header)-4, 4)
	return packet
}

// hide protects or unprotects a header with a number of so many bytes.
func (p *protection) hide(packet []byte, at, size int) {
	var mask [aes.BlockSize]byte
	p.mask.Encrypt(mask[:], packet[at+4:at+4+aes.BlockSize])
	packet[0] ^= mask[0] & firstByteMask(packet[0])
	for i := range size {
		packet[at+i] ^= mask[1+i]
	}
}

func firstByteMask(first byte) byte {
	if first&0x80 != 0 {
		return 0x0f
	}
	return 0x1f
}

// keyPhase is a bit of the first byte of 1-RTT packets (RFC 9000 section 17.3.1).
const keyPhase = 0x04

// bare takes the protection off a packet's header, and gives its number and where its
// payload begins. at is where the number is.
func (p *protection) bare(packet []byte, at int, expected uint64) (number uint64, body int, ok bool) {
	if len(packet) < at+4+aes.BlockSize {
		return 0, 0, false
	}
	var mask [aes.BlockSize]byte
	p.mask.Encrypt(mask[:], packet[at+4:at+4+aes.BlockSize])
	size := int((packet[0]^mask[0])&3) + 1
	p.hide(packet, at, size)
	for _, b := range packet[at : at+size] {
		number = number<<8 | uint64(b)
	}
	// RFC 9000 appendix A.3
	window := uint64(1) << (8 * size)
	number |= expected &^ (window - 1)
	if number+window/2 <= expected {
		number += window
	} else if number > expected+window/2 && number >= window {
		number -= window
	}
	return number, at + size, true
}

// intruder is a client made by hand: it can say what quic-go's would not. It is for
// one goroutine, and relies on a loopback that loses nothing.
type intruder struct {
	conn        net.Conn
	tls         *tls.QUICConn
	here, there []byte // connection IDs
	token       []byte
	longer      int // its Initials, than packetSize
	spaces      [levels]space
	done        bool           // the handshake is
	deaf        bool           // acknowledges nothing from then on
	heard       map[uint64]int // frames of the server's, by type
	closed      uint64         // the code it closed with, or codeNotClosed
	closedByApp bool
}

// space is what belongs to one level of encryption.
type space struct {
	ours, theirs *protection
	next         uint64 // packet number
	said, heard  uint64 // bytes of the handshake
	first, last  uint64 // of the latest unbroken run of packets, last excluded
	owed         bool   // an acknowledgement
	phase        byte   // keyPhase, after every other key update
}

// intrude shakes hands.
func intrude(ctx context.Context, from string, to netip.AddrPort) (*intruder, error) {
	local := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	x := newIntruder(conn)
	if err := x.begin(ctx); err != nil {
		return x, err
	}
	return x, x.listenUntil(time.Now().Add(patience), func() bool { return x.done || x.closed != codeNotClosed })
}

func newIntruder(conn net.Conn) *intruder {
	x := &intruder{conn: conn, here: randomID(), there: randomID(), heard: make(map[uint64]int), closed: codeNotClosed}
	x.spaces[0].ours, x.spaces[0].theirs = initialProtection(x.there)
	return x
}

func randomID() []byte {
	id := make([]byte, intruderIDLength)
	_, _ = rand.Read(id)
	return id
}

// close ends the connection, if the server has not.
func (x *intruder) close() {
	if x.done && x.closed == codeNotClosed {
		_ = x.say(numbers(nil, frameCloseByApp, 0, 0))
	}
	if x.tls != nil {
		_ = x.tls.Close()
	}
	_ = x.conn.Close()
}

// begin sends the ClientHello.
func (x *intruder) begin(ctx context.Context) error {
	if err := x.startTLS(ctx); err != nil {
		return err
	}
	return x.follow()
}

func (x *intruder) startTLS(ctx context.Context) error {
	x.tls = tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{
		InsecureSkipVerify: true, // the certificate is another process's
		ServerName:         testName, NextProtos: []string{tunnel.ALPN}, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519}, // so that one packet has it all
	}})
	x.tls.SetTransportParameters(x.parameters())
	return x.tls.Start(ctx)
}

// parameters are RFC 9000 section 18.
func (x *intruder) parameters() []byte {
	var p []byte
	add := func(id uint64, value []byte) {
		p = append(quicvarint.Append(quicvarint.Append(p, id), uint64(len(value))), value...)
	}
	for id, n := range map[uint64]int64{4: intruderWindow, 5: intruderWindow, 6: intruderWindow} {
		add(id, quicvarint.Append(nil, uint64(n)))
	}
	add(0x0f, x.here) // initial_source_connection_id
	return p
}

// follow does what TLS wants next.
func (x *intruder) follow() error {
	for {
		switch e := x.tls.NextEvent(); e.Kind {
		case tls.QUICNoEvent:
			return nil
		case tls.QUICSetReadSecret, tls.QUICSetWriteSecret:
			if e.Suite != tls.TLS_AES_128_GCM_SHA256 {
				return fmt.Errorf("%s, where AES-128-GCM is wanted", tls.CipherSuiteName(e.Suite))
			}
			s := &x.spaces[levelOf(e.Level)]
			if e.Kind == tls.QUICSetReadSecret {
				s.theirs = protectionOf(e.Data)
			} else {
				s.ours = protectionOf(e.Data)
			}
		case tls.QUICWriteData:
			level := levelOf(e.Level)
			s := &x.spaces[level]
			frame := cryptoFrame(nil, s.said, e.Data)
			s.said += uint64(len(e.Data))
			if err := x.sayAt(level, frame); err != nil {
				return err
			}
		case tls.QUICHandshakeDone:
			x.done = true
		}
	}
}

func levelOf(l tls.QUICEncryptionLevel) int {
	switch l {
	case tls.QUICEncryptionLevelInitial:
		return 0
	case tls.QUICEncryptionLevelHandshake:
		return 1
	default:
		return 2
	}
}

func cryptoFrame(p []byte, offset uint64, data []byte) []byte {
	p = quicvarint.Append(append(p, frameCrypto), offset)
	return append(quicvarint.Append(p, uint64(len(data))), data...)
}

// streamFrame is some bytes of a stream, counted from 0 in the client's order.
func streamFrame(p []byte, stream, offset uint64, data string) []byte {
	p = quicvarint.Append(append(p, frameStream), 4*stream)
	p = quicvarint.Append(quicvarint.Append(p, offset), uint64(len(data)))
	return append(p, data...)
}

// numbers is a frame that has nothing but numbers.
func numbers(p []byte, frame uint64, values ...uint64) []byte {
	p = quicvarint.Append(p, frame)
	for _, v := range values {
		p = quicvarint.Append(p, v)
	}
	return p
}

// say sends frames in a packet of 1-RTT.
func (x *intruder) say(frames []byte) error { return x.sayAt(2, frames) }

func (x *intruder) sayAt(level int, frames []byte) error {
	_, err := x.conn.Write(x.packet(level, frames))
	return err
}

// packet seals frames; Initial ones are padded.
func (x *intruder) packet(level int, frames []byte) []byte {
	s := &x.spaces[level]
	number := s.next
	s.next++
	if level == 2 {
		for len(frames) < 4 { // or there is nothing to sample
			frames = append(frames, 0)
		}
		return s.ours.seal(append([]byte{0x43 | s.phase}, x.there...), number, frames)
	}
	header := []byte{0xc3 | byte(level*2)<<4, 0, 0, 0, 1, byte(len(x.there))}
	header = append(header, x.there...)
	header = append(append(header, byte(len(x.here))), x.here...)
	if level == 0 {
		header = append(quicvarint.Append(header, uint64(len(x.token))), x.token...)
		const rest = 2 + 4 + 16 // length, number, tag
		if short := packetSize + x.longer - len(header) - rest - len(frames); short > 0 {
			frames = append(slices.Clip(frames), make([]byte, short)...)
		}
	}
	header = quicvarint.AppendWithLen(header, uint64(4+len(frames)+16), 2)
	return s.ours.seal(header, number, frames)
}

// listenUntil hears the server out until what is wanted has come.
func (x *intruder) listenUntil(deadline time.Time, wanted func() bool) error {
	_ = x.conn.SetReadDeadline(deadline)
	p := make([]byte, 2048)
	for !wanted() {
		n, err := x.conn.Read(p)
		if err != nil {
			return err
		}
		if err := x.datagram(p[:n]); err != nil {
			return err
		}
	}
	return nil
}
