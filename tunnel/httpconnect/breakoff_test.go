package httpconnect

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/sallyport/sallyport/tunnel"
)

// A service that breaks off is heard to the end, by a client that is slow too; then the
// stream is reset, and the connection is still the other tunnels'.
func TestServiceBreaksOff(t *testing.T) {
	words := strings.Repeat("and so on ", 2<<10)
	onEach(t, Config{}, func(t *testing.T, w *world, c client) {
		read := make(chan struct{})
		w.leads("breaker.test", func(c *net.TCPConn) {
			_, _ = io.WriteString(c, words)
			<-read
			_ = c.SetLinger(0)
			_ = c.Close()
		})
		r := c.connect(t, "breaker.test:443", "Proxy-Authorization", bearer0)
		if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		close(read)
		if result := <-w.ended; result.Reason != tunnel.ServiceError || result.Down != int64(len(words)) {
			t.Errorf("%+v", result)
		}
		got, err := io.ReadAll(r)
		if string(got) != words[1:] {
			t.Errorf("%d bytes of %d", len(got), len(words)-1)
		}
		switch c.(type) {
		case clientHTTP1:
			return // what ends it is TLS, and crypto/tls does not tell
		case clientHTTP2:
			if reset := (http2.StreamError{}); !errors.As(err, &reset) || reset.Code != http2.ErrCodeInternal {
				t.Errorf("%v", err)
			}
		default:
			var reset *quic.StreamError
			var told *http3.Error
			if !(errors.As(err, &told) && told.ErrorCode == http3.ErrCodeConnectError) &&
				!(errors.As(err, &reset) && http3.ErrCode(reset.ErrorCode) == http3.ErrCodeConnectError) {
				t.Errorf("%v", err)
			}
		}
		c.connect(t, "echo.test:443", "Proxy-Authorization", bearer0).echoes(t, "still here")
	})
}

// A client that breaks off is heard to the end, and then the service is sent a reset.
func TestClientBreaksOff(t *testing.T) {
	onEach(t, Config{}, func(t *testing.T, w *world, c client) {
		want := error(syscall.ECONNRESET)
		if _, ok := c.(clientHTTP1); ok {
			want = io.EOF // its connection is the tunnel's, and close says goodbye
		}
		heard, ended := make(chan string, 1), make(chan error, 1)
		w.leads("hearer.test", func(c *net.TCPConn) {
			_ = c.SetDeadline(time.Now().Add(patience))
			words := make([]byte, 5)
			_, _ = io.ReadFull(c, words)
			heard <- string(words)
			_, err := c.Read(words)
			ended <- err
		})
		r := c.connect(t, "hearer.test:443", "Proxy-Authorization", bearer0)
		if _, err := io.WriteString(r, "words"); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != "words" {
			t.Errorf("%q", got)
		}
		r.close()
		if err := <-ended; !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	})
}
