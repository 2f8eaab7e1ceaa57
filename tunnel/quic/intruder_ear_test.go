package quic

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"

	"github.com/quic-go/quic-go/quicvarint"
)

// datagram takes what the server sent: packets, one after the other.
func (x *intruder) datagram(p []byte) error {
	for len(p) > 0 {
		packet, level, at, rest := x.split(p)
		p = rest
		if level < 0 || x.spaces[level].theirs == nil {
			continue
		}
		s := &x.spaces[level]
		number, payload, ok := s.open(packet, at, level == levels-1)
		if !ok {
			continue // keys of a level that is over, or a reset
		}
		if number != s.last {
			s.first = number
		}
		s.last = number + 1
		if err := x.frames(level, payload); err != nil {
			return err
		}
	}
	return x.acknowledge()
}

// open gives a packet's number and payload. When the server updates its keys, so do we.
func (s *space) open(packet []byte, at int, updates bool) (number uint64, payload []byte, ok bool) {
	number, body, ok := s.theirs.bare(packet, at, s.last)
	if !ok {
		return 0, nil, false
	}
	theirs, updated := s.theirs, updates && packet[0]&keyPhase != s.phase
	if updated {
		theirs = theirs.next()
	}
	payload, err := theirs.aead.Open(nil, theirs.nonce(number), packet[body:], packet[:body])
	if err == nil && updated {
		s.theirs, s.ours, s.phase = theirs, s.ours.next(), s.phase^keyPhase
	}
	return number, payload, err == nil
}

// split takes the first packet off. The level is negative if it is none of ours.
func (x *intruder) split(p []byte) (packet []byte, level, at int, rest []byte) {
	if p[0]&0x80 == 0 {
		return p, 2, 1 + intruderIDLength, nil
	}
	r := bytes.NewReader(p[min(5, len(p)):])
	take := func() []byte {
		size, _ := r.ReadByte()
		field := make([]byte, size)
		_, _ = io.ReadFull(r, field)
		return field
	}
	take()
	from := take()
	switch level = int(p[0] >> 4 & 3); level {
	case 3: // Retry: all but the tag is a token (RFC 9000 section 17.2.5)
		token := make([]byte, max(0, r.Len()-16))
		_, _ = io.ReadFull(r, token)
		x.retried(from, token)
		return nil, -1, 0, nil
	case 0:
		size, _ := quicvarint.Read(r)
		_, _ = r.Seek(int64(size), io.SeekCurrent)
	}
	level /= 2
	length, err := quicvarint.Read(r)
	if err != nil || length > uint64(r.Len()) {
		return nil, -1, 0, nil
	}
	x.there = from
	at = len(p) - r.Len()
	return p[:at+int(length)], level, at, p[at+int(length):]
}

// retried begins anew with the token.
func (x *intruder) retried(id, token []byte) {
	x.there, x.token = id, token
	x.spaces[0].ours, x.spaces[0].theirs = initialProtection(id)
}

// acknowledge tells the server of the packets that came last.
func (x *intruder) acknowledge() error {
	for level := range x.spaces {
		s := &x.spaces[level]
		if !s.owed || s.ours == nil || x.deaf {
			continue
		}
		s.owed = false
		if err := x.sayAt(level, numbers(nil, frameAck, s.last-1, 0, 0, s.last-1-s.first)); err != nil {
			return err
		}
	}
	return nil
}

// frames takes a packet's contents.
func (x *intruder) frames(level int, payload []byte) error {
	r := bytes.NewReader(payload)
	for r.Len() > 0 {
		kind, err := quicvarint.Read(r)
		if err != nil {
			return err
		}
		if kind == 0 {
			continue
		}
		x.heard[kind]++
		if kind != frameAck && kind != frameAck+1 && kind != frameClose && kind != frameCloseByApp {
			x.spaces[level].owed = true
		}
		if err := x.frame(level, kind, r); err != nil {
			return fmt.Errorf("frame %#x: %w", kind, err)
		}
	}
	return nil
}

func (x *intruder) frame(level int, kind uint64, r *bytes.Reader) error {
	var err error
	next := func() uint64 {
		v, e := quicvarint.Read(r)
		if err == nil {
			err = e
		}
		return v
	}
	take := func(n uint64) []byte {
		p := make([]byte, min(n, uint64(r.Len())))
		_, _ = io.ReadFull(r, p)
		return p
	}
	counts := map[uint64]int{
		frameReset: 3, frameStopSending: 2, 0x10: 1, 0x11: 2, 0x12: 1, 0x13: 1, 0x14: 1, 0x15: 2, 0x16: 1, 0x17: 1, frameRetireID: 1,
	}
	switch {
	case kind == framePing, kind == 0x1e: // HANDSHAKE_DONE
	case kind == frameAck, kind == frameAck+1:
		next()
		next()
		for range 2*next() + 1 {
			next()
		}
		if kind != frameAck {
			next()
			next()
			next()
		}
	case kind == frameCrypto:
		offset := next()
		data := take(next())
		s := &x.spaces[level]
		if offset > s.heard || offset+uint64(len(data)) <= s.heard {
			return err // an order that a loopback does not make, or a repetition
		}
		data = data[s.heard-offset:]
		s.heard += uint64(len(data))
		of := []tls.QUICEncryptionLevel{tls.QUICEncryptionLevelInitial, tls.QUICEncryptionLevelHandshake, tls.QUICEncryptionLevelApplication}
		if err := x.tls.HandleData(of[level], data); err != nil {
			return err
		}
		return x.follow()
	case kind == 0x07: // NEW_TOKEN
		take(next())
	case kind&^7 == 0x08: // STREAM
		next()
		if kind&4 != 0 {
			next()
		}
		size := uint64(r.Len())
		if kind&2 != 0 {
			size = next()
		}
		take(size)
	case kind == frameNewConnectionID:
		next()
		next()
		size, _ := r.ReadByte()
		take(uint64(size) + 16)
	case kind == framePathChallenge, kind == framePathResponse:
		take(8)
	case kind == frameClose, kind == frameCloseByApp:
		x.closed, x.closedByApp = next(), kind == frameCloseByApp
		if kind == frameClose {
			next()
		}
		take(next())
	case counts[kind] > 0:
		for range counts[kind] {
			next()
		}
	default:
		return errors.New("not known")
	}
	return err
}
