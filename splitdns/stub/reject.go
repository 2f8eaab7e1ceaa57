package stub

import (
	"encoding/binary"

	"github.com/miekg/dns"

	"github.com/sallyport/sallyport/splitdns/internal/wire"
)

// reject makes a rejection with an answer. question is the asker's own bytes,
// or nil where they cannot be told apart.
func reject(message, question []byte, opt edns, rcode int, reason string) *rejection {
	return &rejection{rcode: rcode, answer: compose(message, question, nil, opt, rcode), reason: reason}
}

// minimal is what a question for ANY gets: one record that every name has, so
// that neither its size nor its content is of use (RFC 8482 §4.2).
func minimal(message, question []byte, opt edns) *rejection {
	const ttl = 3600
	record := []byte{0xc0, headerSize} // the question's name
	record = binary.BigEndian.AppendUint16(record, dns.TypeHINFO)
	record = binary.BigEndian.AppendUint16(record, dns.ClassINET)
	record = binary.BigEndian.AppendUint32(record, ttl)
	record = binary.BigEndian.AppendUint16(record, 9)
	record = append(record, "\x07RFC8482\x00"...)
	return &rejection{
		rcode:  Success,
		answer: compose(message, question, record, opt, Success),
		reason: "records of any type are asked for",
	}
}

// compose writes an answer by hand: these are the ones to messages that were
// not understood, so nothing but their first bytes is relied on.
func compose(message, question, record []byte, opt edns, rcode int) []byte {
	answer := make([]byte, headerSize, headerSize+len(question)+len(record)+11)
	copy(answer, message[:2])
	answer[2] = flagQR | message[2]&(maskOpcode|flagRD)
	answer[3] = flagRA | message[3]&flagCD | byte(rcode)&maskRcode
	if question != nil {
		answer[5] = 1
		answer = append(answer, question...)
	}
	if record != nil {
		answer[7] = 1
		answer = append(answer, record...)
	}
	if opt.present {
		answer[11] = 1
		answer = append(answer, 0, 0, byte(dns.TypeOPT), wire.PacketSize>>8, wire.PacketSize&0xff, byte(rcode>>4), 0, 0, 0, 0, 0)
		if opt.do {
			answer[len(answer)-4] = 0x80
		}
	}
	return answer
}
