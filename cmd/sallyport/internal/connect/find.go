package connect

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sallyport/sallyport/splitdns/stub"
)

// What an answer says that is none.
var (
	errNotListed = errors.New("not listed in the device's policy")
	errRefused   = errors.New("the DNS server refuses to answer")
	errFailed    = errors.New("the DNS server could not find out")
)

const (
	// maxFound bounds the addresses of one family that are taken of an answer.
	maxFound = 8
	// questionSize is the packet that our questions announce, in bytes. They go
	// over streams, so it means nothing; but who has no OPT is told no reasons.
	questionSize = 1232
)

// Of RFC 8914: the option's code, and the reason that a gateway gives for what
// its policy does not list.
const (
	extendedError   = 15
	errorProhibited = 18
)

// find asks the gateway's DNS for the addresses of a name, IPv4 ones first. An
// address of one family is enough, whatever became of the other's question.
func (i *inside) find(ctx context.Context, name string) ([]netip.Addr, *net.DNSError) {
	var found [2][]netip.Addr
	var failed [2]error
	var asking sync.WaitGroup
	for n, family := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		asking.Go(func() { found[n], failed[n] = i.findOne(ctx, name, family) })
	}
	asking.Wait()
	if all := append(found[0], found[1]...); len(all) > 0 {
		return all, nil
	}
	for _, err := range failed {
		if err != nil {
			// The cause stays a text: that the gateway refused a tunnel to its DNS
			// is no refusal of the destination.
			return nil, &net.DNSError{Err: err.Error(), Name: name, Server: "the gateway's DNS", IsTimeout: timedOut(err)}
		}
	}
	return nil, notFound(name)
}

func notFound(name string) *net.DNSError {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// findOne returns neither addresses nor an error when there are none.
func (i *inside) findOne(ctx context.Context, name string, family dnsmessage.Type) ([]netip.Addr, error) {
	query, err := question(name, family)
	if err != nil {
		return nil, err
	}
	answer, err := i.exchange(ctx, query)
	if err != nil {
		return nil, err
	}
	if err := refusalOf(answer); err != nil {
		return nil, err
	}
	return addressesOf(answer) // none if there is no such name
}

// question is a query with a fresh id.
func question(name string, family dnsmessage.Type) ([]byte, error) {
	absolute, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, err
	}
	var opt dnsmessage.ResourceHeader
	if err := opt.SetEDNS0(questionSize, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:      dnsmessage.Header{RecursionDesired: true},
		Questions:   []dnsmessage.Question{{Name: absolute, Type: family, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{{Header: opt, Body: &dnsmessage.OPTResource{}}},
	}
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	_, _ = rand.Read(wire[:2]) // never fails, by its contract
	return wire, nil
}

// addressesOf reads the addresses of an answer, of whatever name they are: the
// gateway has followed the aliases.
func addressesOf(answer []byte) (addrs []netip.Addr, err error) {
	var p dnsmessage.Parser
	if _, err := p.Start(answer); err != nil {
		return nil, err
	}
	if err := p.SkipAllQuestions(); err != nil {
		return nil, err
	}
	for len(addrs) < maxFound {
		header, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch header.Type {
		case dnsmessage.TypeA:
			record, err := p.AResource()
			if err != nil {
				return nil, err
			}
			addrs = append(addrs, netip.AddrFrom4(record.A))
		case dnsmessage.TypeAAAA:
			record, err := p.AAAAResource()
			if err != nil {
				return nil, err
			}
			addrs = append(addrs, netip.AddrFrom16(record.AAAA).Unmap())
		default:
			if err := p.SkipAnswer(); err != nil {
				return nil, err
			}
		}
	}
	return addrs, nil
}

// refusalOf tells why a gateway's answer is none; nil for one that is, be it
// that there is no such name.
func refusalOf(answer []byte) error {
	switch stub.Rcode(answer) {
	case stub.ServerFailure:
		return errFailed
	case stub.Refused:
		if isProhibited(answer) {
			return errNotListed
		}
		return errRefused
	}
	return nil
}

// isProhibited looks for the extended error among the answer's options.
func isProhibited(answer []byte) bool {
	var m dnsmessage.Message
	if m.Unpack(answer) != nil {
		return false
	}
	for _, record := range m.Additionals {
		opt, ok := record.Body.(*dnsmessage.OPTResource)
		if !ok {
			continue
		}
		for _, option := range opt.Options {
			if option.Code == extendedError && len(option.Data) >= 2 && binary.BigEndian.Uint16(option.Data) == errorProhibited {
				return true
			}
		}
	}
	return false
}
