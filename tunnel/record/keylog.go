package record

import (
	"bytes"
	"encoding/hex"
)

// keyLog is an io.Writer that keeps the four secrets of a handshake which Take
// needs. Each line of crypto/tls's is one Write, made while a lock of the whole
// process is held: so it copies, and does nothing else.
//
//	SERVER_TRAFFIC_SECRET_0 <client random, 64 hex digits> <secret, 64 or 96>\n
//
// Lines of other labels are none of its business. Of the four, one that is
// malformed or comes twice spoils the log: all is forgotten, and nothing will be
// taken over. It is no error, since the handshake itself is good.
type keyLog struct {
	handshake, traffic [2]secret // by Side
	spoiled            bool
}

// keyLogWriter is what is handed out. It lies in a tls.Config, which may be
// printed; so it has nothing in it but a pointer.
type keyLogWriter struct{ log *keyLog }

func (w keyLogWriter) Write(line []byte) (int, error) { return w.log.Write(line) }

type secret struct {
	b [maxSecret]byte
	n int // 0: not seen
}

func (s *secret) bytes() []byte { return s.b[:s.n] }

func (k *keyLog) Write(line []byte) (int, error) {
	label, rest, _ := bytes.Cut(line, []byte{' '})
	into := k.secretFor(string(label))
	if into == nil || k.spoiled {
		return len(line), nil
	}
	if into.n > 0 || !into.parse(rest) {
		k.wipe()
	}
	return len(line), nil
}

func (k *keyLog) secretFor(label string) *secret {
	switch label {
	case "CLIENT_HANDSHAKE_TRAFFIC_SECRET":
		return &k.handshake[Client]
	case "SERVER_HANDSHAKE_TRAFFIC_SECRET":
		return &k.handshake[Server]
	case "CLIENT_TRAFFIC_SECRET_0":
		return &k.traffic[Client]
	case "SERVER_TRAFFIC_SECRET_0":
		return &k.traffic[Server]
	}
	return nil
}

// parse takes the two fields behind the label.
func (s *secret) parse(fields []byte) bool {
	random, digits, _ := bytes.Cut(fields, []byte{' '})
	digits, ended := bytes.CutSuffix(digits, []byte{'\n'})
	if !ended || len(random) != 64 || (len(digits) != 2*32 && len(digits) != 2*maxSecret) {
		return false
	}
	var ignored [32]byte
	if _, err := hex.Decode(ignored[:], random); err != nil {
		return false
	}
	n, err := hex.Decode(s.b[:], digits)
	if err != nil {
		return false // what was decoded is wiped by Write
	}
	s.n = n
	return true
}

// complete reports whether all four were seen.
func (k *keyLog) complete() bool {
	for side := range k.traffic {
		if k.traffic[side].n == 0 || k.handshake[side].n == 0 {
			return false
		}
	}
	return true
}

// wipe forgets the secrets, and spoils the log for those that might come.
func (k *keyLog) wipe() { *k = keyLog{spoiled: true} }
