package connect

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sallyport/sallyport/gateway/policy"
)

// However the bytes come, the head ends at the blank line and nothing is lost.
func TestReadHead(t *testing.T) {
	const head, behind = "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", "early\r\n\r\n"
	for name, r := range map[string]io.Reader{
		"at once":   strings.NewReader(head + behind),
		"by bytes":  iotest.OneByteReader(strings.NewReader(head + behind)),
		"by halves": iotest.HalfReader(strings.NewReader(head + behind)),
		"with EOF":  iotest.DataErrReader(strings.NewReader(head + behind)),
	} {
		gotHead, gotBehind, err := readHead(r)
		rest, _ := io.ReadAll(r)
		if string(gotHead) != head || string(gotBehind)+string(rest) != behind || err != nil {
			t.Errorf("%s: %q, %q, %q, %v", name, gotHead, gotBehind, rest, err)
		}
	}
	long := strings.Repeat("x", maxHead-4)
	if head, _, err := readHead(strings.NewReader(long + "\r\n\r\n")); err != nil || len(head) != maxHead {
		t.Errorf("the longest: %d bytes, %v", len(head), err)
	}
	for text, want := range map[string]error{
		"":                          io.EOF,
		"GET / HTTP/1.1\r\n":        io.ErrUnexpectedEOF,
		long + "x\r\n\r\n":          errHeadTooLong,
		strings.Repeat("\n", 20000): errHeadTooLong,
	} {
		if _, _, err := readHead(strings.NewReader(text)); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", text, err, want)
		}
	}
}

// FuzzHead: a head that is taken is read by net/http in the one way, holds one
// request, and leads to a destination that is spelled as it was sent.
func FuzzHead(f *testing.F) {
	f.Add([]byte("CONNECT mail.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("GET http://mail.example.com/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"))
	f.Add([]byte("POST http://[::1]:80/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("GET http://a%00b/ HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n"))
	f.Add([]byte("CONNECT [fe80::1%25lo]:1 HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		head, behind, err := readHead(bytes.NewReader(sent))
		if err != nil {
			return
		}
		if len(head) > maxHead || !bytes.HasPrefix(sent, append(bytes.Clone(head), behind...)) {
			t.Fatal("bytes were lost or made up")
		}
		request, err := parseHead(head)
		if err != nil {
			if len(sent) > 40 && strings.Contains(err.Error(), string(sent[:40])) {
				t.Fatal("the error holds the request")
			}
			return
		}
		all := bufio.NewReader(bytes.NewReader(head))
		if _, err := http.ReadRequest(all); err != nil || all.Buffered() > 0 {
			t.Fatalf("net/http leaves %d bytes of the head, %v", all.Buffered(), err)
		}
		if bytes.Contains(bytes.ToLower(head), []byte("\ncontent-length:")) && len(request.TransferEncoding) > 0 {
			t.Fatal("a length beside chunks")
		}
		wanted, err := targetOf(request)
		if err != nil {
			return
		}
		if wanted.Port == 0 || wanted.Addr.IsValid() == (wanted.Host != "") || wanted.Addr.Zone() != "" || strings.ContainsAny(wanted.Host, ":[]/?#@\\") {
			t.Fatalf("destination %q %v %d", wanted.Host, wanted.Addr, wanted.Port)
		}
		if wanted.Addr.IsValid() {
			if _, err := policy.AddrHost(wanted.Addr); err != nil {
				t.Fatal(err)
			}
		}
	})
}
