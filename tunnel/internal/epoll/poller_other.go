//go:build !linux

package epoll

// Poller is what New would return if there were an epoll here.
type Poller struct{}

// New returns ErrUnsupported.
func New(failed func(error)) (*Poller, error) { return nil, ErrUnsupported }

// Add returns ErrUnsupported.
func (p *Poller) Add(o Owner, fds [2]int) (Token, error) { return 0, ErrUnsupported }

// Remove does nothing.
func (p *Poller) Remove(t Token) {}

// Close does nothing.
func (p *Poller) Close() error { return nil }

// Len is zero.
func (p *Poller) Len() int { return 0 }
