package tunnel

import "net"

// Awaiter is a stream that can tell when a Read would not wait: there are bytes, or
// an end. So nobody need hold a buffer until then. Its error is in place of Read's,
// which may not say it again.
type Awaiter interface {
	Await() error
}

// awaitOf is how to wait for a stream's next byte without a buffer; nil if there is
// no way.
func awaitOf(s Stream) func() error {
	switch s := s.(type) {
	case *held:
		return awaitOf(s.Stream)
	case *carriedStream:
		below := awaitOf(s.Stream)
		if below == nil {
			return nil
		}
		return func() error {
			if s.in.held() {
				return nil
			}
			return below()
		}
	case Awaiter:
		return s.Await
	case *net.TCPConn:
		return awaitTCP(s)
	}
	return nil
}
