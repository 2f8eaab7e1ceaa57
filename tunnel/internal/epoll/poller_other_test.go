//go:build !linux

package epoll

import (
	"errors"
	"testing"
)

func TestUnsupported(t *testing.T) {
	if p, err := New(nil); p != nil || !errors.Is(err, ErrUnsupported) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("New = %v, %v", p, err)
	}
}
