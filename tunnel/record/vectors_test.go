package record

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"io"
	"strings"
	"testing"
)

// What follows is RFC 8448 section 3, "Simple 1-RTT Handshake".
const (
	rfcClientHandshake = "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"
	rfcClientTraffic   = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
	rfcServerTraffic   = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"

	rfcClientFinished = `1703030035 75ec4dc238cce60b298044a71e219c56cc77b0517fe9b93c7a4bfc44d87f38
		f80338ac98fc46deb384bd1caeacab6867d726c40546`
	rfcTicket = `17030300de 3a6b8f90414a97d6959c3487680de5134a2b240e6cffac116e95d41d6af8f6b5
		80dcf3d11d63c758db289a015940252f55713e061dc13e078891a38efbcf5753ad8ef170ad3c7353d16d
		9da773b9ca7f2b9fa1b6c0d4a3d03f75e09c30ba1e62972ac46f75f7b981be63439b2999ce1306461513
		9891d5e4c5b406f16e3fc181a77ca475840025db2f0a77f81b5ab05b94c01346755f69232c86519d86cb
		eeac87aac347d143f9605d64f650db4d023e70e952ca49fe5137121c74bc2697687e248746d6df353005
		f3bce18696129c8153556b3b6c6779b37bf15985684f`
	rfcClientData = `1703030043 a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5
		b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4`
	rfcServerData = `1703030043 2e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d
		90e6dffc602dcb501a59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d`
	rfcClientAlert = "1703030013 c9872760655666b74d7ff1153efd6db6d0b0e3"
	rfcServerAlert = "1703030013 b58fd67166ebf599d24720cfbe7efa7a8864a9"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRFC8448(t *testing.T) {
	var text [50]byte // 0, 1, 2 and so on
	for i := range text {
		text[i] = byte(i)
	}
	client, server := unhex(t, rfcClientTraffic), unhex(t, rfcServerTraffic)

	t.Run("derivation", func(t *testing.T) {
		s, _ := suiteOf(tls.TLS_AES_128_GCM_SHA256)
		for _, v := range []struct{ secret, label, want string }{
			{rfcServerTraffic, "key", "9f02283b6c9c07efc26bb9f2ac92e356"},
			{rfcServerTraffic, "iv", "cf782b88dd83549aadf1e984"},
			{rfcClientTraffic, "key", "17422dda596ed5d9acd890e3c63f5051"},
			{rfcClientTraffic, "iv", "5b78923dee08579033e523d9"},
		} {
			want := unhex(t, v.want)
			got, err := s.expand(unhex(t, v.secret), v.label, len(want))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %x, %v; want %x", v.label, got, err, want)
			}
		}
	})

	sides := []struct {
		name    string
		side    Side
		written uint64
		send    []string // data and close_notify
		receive []string
	}{
		{"client", Client, 0, []string{rfcClientData, rfcClientAlert}, []string{rfcTicket, rfcServerData, rfcServerAlert}},
		{"server", Server, 1, []string{rfcServerData, rfcServerAlert}, []string{rfcClientData, rfcClientAlert}},
	}
	for _, v := range sides {
		t.Run(v.name, func(t *testing.T) {
			var l Layer
			if err := l.Start(v.side, tls.TLS_AES_128_GCM_SHA256, client, server, v.written); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, HeaderSize+len(text)+TrailerSize)
			copy(b[HeaderSize:], text[:])
			if _, err := l.Seal(b, len(text)); err != nil {
				t.Fatal(err)
			}
			b = l.AppendGoodbye(b, nil)
			if want := unhex(t, strings.Join(v.send, "")); !bytes.Equal(b, want) {
				t.Errorf("sealed %x, want %x", b, want)
			}
			got, err := openAll(&l, unhex(t, strings.Join(v.receive, "")))
			if err != io.EOF || !bytes.Equal(got, text[:]) {
				t.Errorf("opened %x, %v", got, err)
			}
		})
	}

	t.Run("proof", func(t *testing.T) {
		s, _ := suiteOf(tls.TLS_AES_128_GCM_SHA256)
		for _, v := range []struct{ record, secret string }{{rfcClientFinished, rfcClientHandshake}, {rfcTicket, rfcServerTraffic}} {
			var tr trace
			for rest := unhex(t, v.record); len(rest) > 0; {
				rest = rest[tr.add(rest):]
			}
			var under secret
			under.n = copy(under.b[:], unhex(t, v.secret))
			if seq, ok := tr.find(s, &under); seq != 0 || !ok {
				t.Errorf("found at %d, %t", seq, ok)
			}
			under.b[0]++
			if _, ok := tr.find(s, &under); ok {
				t.Error("found under another secret")
			}
		}
	})
}
