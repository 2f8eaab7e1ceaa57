package tunnel

import (
	"crypto/tls"
	"fmt"
	"slices"
	"testing"
)

// TestBadRecordsOfTLS12 plays the same with records that crypto/tls has made for
// TLS 1.2, and that were damaged on the way.
func TestBadRecordsOfTLS12(t *testing.T) {
	var tls12 kind
	for _, k := range parkedKinds() {
		if k.name == "TLS1.2/parked" {
			tls12 = k
		}
	}
	for _, bad := range []struct {
		badRecord
		damage func(record []byte) []byte
	}{
		{badRecord{name: "bad tag", alert: badRecordMAC}, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		{badRecord{name: "another explicit nonce", alert: badRecordMAC}, func(b []byte) []byte { b[5] ^= 1; return b }},
		{badRecord{name: "another type", alert: badRecordMAC}, func(b []byte) []byte { b[0] = 22; return b }},
		{badRecord{name: "length 0", alert: badRecordMAC}, func([]byte) []byte { return []byte{23, 3, 3, 0, 0} }},
		{badRecord{name: "length 65535", alert: recordOverflow}, func([]byte) []byte { return []byte{23, 3, 3, 255, 255} }},
		{badRecord{name: "change_cipher_spec", alert: anyAlert}, func([]byte) []byte { return []byte{20, 3, 3, 0, 1, 1} }},
		{badRecord{name: "unprotected alert", alert: anyAlert}, func([]byte) []byte { return []byte{21, 3, 3, 0, 2, 1, 0} }},
		{badRecord{name: "half of it, FIN", fin: true}, func(b []byte) []byte { return b[:len(b)/2] }},
		{badRecord{name: "half a header, FIN", fin: true}, func(b []byte) []byte { return b[:3] }},
	} {
		for _, inOneRead := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/inOneRead=%v", bad.name, inOneRead), func(t *testing.T) {
				r, run := joinRig(t, tls12, Limits{})
				client, wire := r.client.(*tls.Conn), below(r.client)
				send := func(text string) func() error {
					return func() error { _, err := client.Write([]byte(text)); return err }
				}
				good := capture(t, client, send("before"))
				damaged := bad.damage(capture(t, client, send("damaged")))
				if inOneRead {
					write(t, wire, slices.Concat(good, damaged))
				} else {
					run()
					write(t, wire, good)
					write(t, wire, damaged)
				}
				if bad.fin {
					_ = wire.CloseWrite()
				}
				run()
				receiveBroken(t, r.service, []byte("before"))
				refused(t, r, bad.badRecord)
			})
		}
	}
}
