package evidence

import (
	"fmt"
	"os"
	"strings"
)

// place is where a host is looked at: this machine, or a tree of files and a kernel
// that a test laid out.
type place struct {
	procRoot, sysRoot string
	kernel            kernel
}

// proc and sys name a file. The names are put together by hand: a path that goes
// through a link and back up ("device/../msi_irqs") must not be tidied.
func (p place) proc(format string, args ...any) string {
	return p.procRoot + "/" + fmt.Sprintf(format, args...)
}

func (p place) sys(format string, args ...any) string {
	return p.sysRoot + "/" + fmt.Sprintf(format, args...)
}

// word is what a file says that holds one short value.
func word(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(text)), nil
}

// read parses a file, and gives the zero value and a Gap if that cannot be done.
func read[T any](g *gaps, subject, what, path string, parse func([]byte) (T, error)) (value T) {
	text, err := os.ReadFile(path)
	if err == nil {
		value, err = parse(text)
	}
	g.add(subject, what, err)
	return value
}

// sure makes a parser that always finds something one that read can use.
func sure[T any](parse func([]byte) T) func([]byte) (T, error) {
	return func(text []byte) (T, error) { return parse(text), nil }
}
