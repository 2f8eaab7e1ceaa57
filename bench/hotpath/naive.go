package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"

	socks5 "github.com/armon/go-socks5"
)

// naiveSetup is what the naive gateway is told.
type naiveSetup struct {
	Cert     string `json:"cert"` // file
	Key      string `json:"key"`  // file
	User     string `json:"user"`
	Password string `json:"password"`
}

// naive is the role.
func naive(in *json.Decoder, out *json.Encoder) error {
	var setup naiveSetup
	if err := in.Decode(&setup); err != nil {
		return err
	}
	l, err := listenLoopback(true)
	if err != nil {
		return err
	}
	served, err := setup.serve(l)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if err := out.Encode(ready{Addr: l.Addr().String()}); err != nil {
		return err
	}
	err = untilEOF(in)
	_ = l.Close()
	<-served // its error says that the listener is closed
	return err
}

// serve is the gateway that everything is compared with. Nothing in it is tuned,
// neither to look good nor to look bad: the library's own accept loop, its own
// password check, its two io.Copy, and crypto/tls with nothing but the minimum
// version set. It ends when the listener is closed.
func (s naiveSetup) serve(l net.Listener) (served <-chan error, err error) {
	certificate, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		return nil, err
	}
	proxy, err := socks5.New(&socks5.Config{
		Credentials: socks5.StaticCredentials{s.User: s.Password},
		Logger:      log.New(io.Discard, "", 0),
	})
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}
	ended := make(chan error, 1)
	go func() { ended <- proxy.Serve(tls.NewListener(l, config)) }()
	return ended, nil
}

// naiveUser is who the load tool comes to it as.
const naiveUser = "device"

// naiveServer is the naive gateway by itself, for sallyport bench run --compare.
type naiveServer struct{ listen, cert, key, password string } // an address and files

func (n naiveServer) asked() bool { return n != naiveServer{} }

func (n naiveServer) check() error {
	if n.asked() && (n.listen == "" || n.cert == "" || n.key == "" || n.password == "") {
		return errors.New("-naive, -cert, -key and -password-file belong together")
	}
	return nil
}

// serve says where it listens, and goes on until ctx ends.
func (n naiveServer) serve(ctx context.Context, stdout io.Writer) error {
	password, err := readPassword(n.password)
	if err != nil {
		return err
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", n.listen)
	if err != nil {
		return err
	}
	served, err := naiveSetup{n.cert, n.key, naiveUser, password}.serve(l)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if _, err := fmt.Fprintf(stdout, "naive  %s  user %s\n", l.Addr(), naiveUser); err != nil {
		return errors.Join(err, l.Close())
	}
	select {
	case <-ctx.Done():
		_ = l.Close()
		<-served // its error says that the listener is closed
		return nil
	case err := <-served:
		return err
	}
}

// readPassword reads a line of at most 255 bytes (RFC 1929), which nobody but its
// owner may read.
func readPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file of its owner's alone: chmod 600 %s", path, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return "", err
	}
	password := strings.TrimSpace(string(text))
	if password == "" || len(password) > 255 {
		return "", fmt.Errorf("%s holds no password of 1 to 255 bytes", path)
	}
	return password, nil
}
