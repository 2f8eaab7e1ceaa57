package record

import (
	"bytes"
	"slices"
)

// A script is what fuzzing has instead of random bytes: records are encrypted,
// so bytes at random would never get beyond a tag. It is a list of steps, each a
// byte that says what is done and some that say how. Whatever the bytes are,
// they are some script.
type script struct {
	steps []byte
	from  *Layer // seals; its keys follow the KeyUpdates that it sends

	genuine []genuine // what was sealed, in order
	stream  []byte    // what goes over the wire
	parts   []byte    // of a handshake message
	flip    int       // step's result is changed at this bit; negative: not
	cut     bool      // nothing follows
}

// genuine is a record as it was sealed.
type genuine struct{ wire, inner []byte }

const maxSteps = 40

// run interprets steps, and returns what there is to read. A script that is
// not cut ends with data, so that whoever goes on shows it, and a close_notify.
func run(steps []byte, from *Layer) *script {
	p := &script{steps: steps, from: from, flip: -1}
	for range maxSteps {
		if len(p.steps) == 0 || p.cut {
			break
		}
		p.step()
	}
	if !p.cut {
		p.send(data("the end"))
		p.send(alertInner(1, 0))
	}
	return p
}

func (p *script) byte() byte {
	if len(p.steps) == 0 {
		return 0
	}
	b := p.steps[0]
	p.steps = p.steps[1:]
	return b
}

func (p *script) bytes(n int) []byte {
	n = min(n, len(p.steps))
	b := p.steps[:n]
	p.steps = p.steps[n:]
	return bytes.Clone(b)
}

func (p *script) step() {
	switch kind := p.byte(); kind % 14 {
	case 0, 1:
		p.send(inner(typeData, bytes.Repeat([]byte{'a' + kind%26}, int(p.byte())), 0))
	case 2:
		p.send(inner(typeData, p.bytes(int(p.byte()%8)), int(p.byte())))
	case 3: // at the limits
		content := MaxContent - 2 + int(p.byte()%4)
		p.send(inner(typeData, bytes.Repeat([]byte{'x'}, content), int(p.byte()%3)))
	case 4:
		p.send(keyUpdateInner(p.byte() % 3))
	case 5: // a KeyUpdate in parts
		message := keyUpdateInner(p.byte() % 2)[:5]
		for len(message) > 0 {
			n := min(1+int(p.byte()%3), len(message))
			p.send(handshakePart(message[:n]...))
			message = message[n:]
		}
	case 6:
		p.send(inner(typeHandshake, p.bytes(int(p.byte()%12)), int(p.byte()%4)))
	case 7:
		p.send(alertInner(p.bytes(int(p.byte() % 4))...))
	case 8:
		p.send(alertInner(1, byte(alertUserCanceled)))
	case 9: // whatever
		p.send(p.bytes(int(p.byte() % 8)))
	case 10: // not encrypted
		header := []byte{p.byte(), p.byte(), p.byte(), p.byte(), p.byte()}
		if p.byte()%2 == 0 {
			header[1], header[2] = 3, 3
		}
		if p.byte()%2 == 0 {
			header[3], header[4] = 0, header[4]%64
		}
		p.emit(append(header, p.bytes(int(p.byte()%64))...))
	case 11: // change what the next step sends
		p.flip = int(p.byte())<<8 | int(p.byte())
	case 12: // again, or the one before
		if n := len(p.genuine); n > 0 {
			p.emit(p.genuine[max(0, n-1-int(p.byte()%2))].wire)
		}
	case 13:
		if len(p.stream) > 0 && p.byte()%4 == 0 {
			p.stream = p.stream[:len(p.stream)-min(int(p.byte()), len(p.stream))]
			p.cut = true
		}
	}
}

// send seals. When it sends a whole KeyUpdate, its keys change.
func (p *script) send(inner []byte) {
	wire := forge(p.from, inner...)
	p.genuine = append(p.genuine, genuine{bytes.Clone(wire), bytes.Clone(inner)})
	p.emit(wire)
	inner = bytes.TrimRight(inner, "\x00")
	if len(inner) == 0 || inner[len(inner)-1] != typeHandshake {
		return
	}
	p.parts = append(p.parts, inner[:len(inner)-1]...)
	if slices.Equal(p.parts, keyUpdateInner(0)[:5]) || slices.Equal(p.parts, keyUpdateInner(1)[:5]) {
		p.from.out.update(p.from.suite)
		p.parts = nil
	}
}

// emit puts bytes on the wire.
func (p *script) emit(wire []byte) {
	at := len(p.stream)
	p.stream = append(p.stream, wire...)
	if p.flip >= 0 && len(wire) > 0 {
		bit := p.flip % (8 * len(wire))
		p.stream[at+bit/8] ^= 1 << (bit % 8)
		p.flip = -1
	}
}
