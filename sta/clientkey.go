package sta

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Bounds of client keys.
const (
	// MaxClientKeys is the most keys a client has at a time.
	MaxClientKeys = 2
	// MinKeyBytes is the least a key decodes to: 256 bits.
	MinKeyBytes = 32
	// MaxKeyLine is the most characters a key has.
	MaxKeyLine = 1024
)

// Key is a client's pre-shared key: a line of base64, sent and compared
// verbatim. It prints as "[secret]" in every format.
type Key struct{ line string }

// Reveal gives the line.
func (k Key) Reveal() string { return k.line }

// IsZero tells whether k is no key at all.
func (k Key) IsZero() bool { return k.line == "" }

// Format prints "[secret]" for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// MarshalText gives "[secret]".
func (k Key) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// ParseKeyFile reads a key file: one or two lines of base64 (RFC 4648 §4 or §5,
// with or without padding) that decode to at least [MinKeyBytes] each, and
// differ. Errors name the line and never its content. The first is the one that
// a client sends.
func ParseKeyFile(data []byte) ([]Key, error) {
	if len(data) > (MaxKeyLine+2)*MaxClientKeys {
		return nil, errors.New("too large for a key file")
	}
	text := strings.TrimSuffix(string(data), "\n")
	if strings.Trim(text, "\r\n") == "" {
		return nil, errors.New("the key file is empty")
	}
	lines := strings.Split(text, "\n")
	if len(lines) > MaxClientKeys {
		return nil, fmt.Errorf("a key file has one or two lines, not %d", len(lines))
	}
	keys := make([]Key, 0, len(lines))
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		if err := checkKeyLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		keys = append(keys, Key{line})
	}
	if len(keys) == 2 && keys[0] == keys[1] {
		return nil, errors.New("both lines are the same key")
	}
	return keys, nil
}

func checkKeyLine(line string) error {
	if len(line) > MaxKeyLine {
		return fmt.Errorf("a key has at most %d characters", MaxKeyLine)
	}
	if strings.ContainsAny(line, "\r\n") { // which the decoder would skip
		return errors.New("a line break inside a key")
	}
	encoding := base64.StdEncoding
	if strings.ContainsAny(line, "-_") {
		encoding = base64.URLEncoding
	}
	bare := strings.TrimRight(line, "=")
	if bare == line {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	raw, err := encoding.Strict().DecodeString(line)
	if err != nil {
		return errors.New("not base64")
	}
	if len(raw) < MinKeyBytes {
		return fmt.Errorf("the key has %d bytes; it needs %d random ones (head -c %d /dev/urandom | base64)",
			len(raw), MinKeyBytes, MinKeyBytes)
	}
	if variety(raw) < minVariety {
		return fmt.Errorf("the key is not random (head -c %d /dev/urandom | base64)", MinKeyBytes)
	}
	return nil
}

// minVariety is how many of a key's bytes must differ. Of 32 random ones hardly
// ever fewer do; of 32 that a person made up, nearly always.
const minVariety = 16

func variety(raw []byte) int {
	seen := make(map[byte]struct{})
	for _, b := range raw {
		seen[b] = struct{}{}
	}
	return len(seen)
}

// ReadKeyFile is [ParseKeyFile] of a file, which is refused when anybody but its
// owner could read it.
func ReadKeyFile(path string) ([]Key, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeyFile(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}
