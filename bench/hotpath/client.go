package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/tunnel/socks"
)

// clientSetup is what a client is told.
type clientSetup struct {
	// Gateway is where it dials. Empty means no gateway: it goes to the service
	// itself, in the clear.
	Gateway string `json:"gateway,omitempty"`
	// Name and CA are how it knows the gateway.
	Name string `json:"name,omitempty"`
	CA   string `json:"ca,omitempty"` // file
	// User and Passwords are what it presents, the passwords in turn.
	User      string   `json:"user,omitempty"`
	Passwords []string `json:"passwords,omitempty"`
	// Host and Port are the service, as the gateway knows it.
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// order is what a client does next. It answers each with one outcome.
type order struct {
	// Do is open: N more tunnels, which are held; exchange: Times over each that
	// is held; churn: N tunnels, one exchange over each, closed; probe: an exchange
	// over each that is held, to count those that have ended; drop: close all.
	Do    string `json:"do"`
	N     int    `json:"n,omitempty"`
	Times int    `json:"times,omitempty"`
	// Up and Down are the bytes of an exchange, Up at least headSize.
	Up   int64 `json:"up,omitempty"`
	Down int64 `json:"down,omitempty"`
	// Parallel is how many tunnels are at work at a time.
	Parallel int `json:"parallel,omitempty"`
}

// outcome is the answer to an order.
type outcome struct {
	// Error is empty if all went well.
	Error string        `json:"error,omitempty"`
	Took  time.Duration `json:"took"`
	// P50 and P99 are over all exchanges of the order.
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	// Dead are the tunnels that a probe found to have ended.
	Dead int `json:"dead,omitempty"`
}

// device is the client's state between orders.
type device struct {
	clientSetup
	tls     *tls.Config
	buffers *chunks
	opened  int // ever; chooses the password
	held    []net.Conn
}

func client(in *json.Decoder, out *json.Encoder) error {
	d := device{buffers: newChunks()}
	if err := in.Decode(&d.clientSetup); err != nil {
		return err
	}
	defer d.drop()
	if d.Gateway != "" {
		if err := d.prepareTLS(); err != nil {
			return err
		}
	}
	if err := out.Encode(ready{}); err != nil {
		return err
	}
	for {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out.Encode(d.obey(o)); err != nil {
			return err
		}
	}
}

// prepareTLS fixes what must not differ between gateways. There is no session
// cache, so every handshake is a full one.
func (d *device) prepareTLS() error {
	pem, err := os.ReadFile(d.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no certificate in %s", d.CA)
	}
	d.tls = &tls.Config{
		RootCAs: roots, ServerName: d.Name,
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
	}
	return nil
}

func (d *device) obey(o order) (answer outcome) {
	began := time.Now()
	var delays []time.Duration
	var err error
	switch o.Do {
	case "open":
		err = d.open(o)
	case "exchange":
		delays, err = d.exchange(o)
	case "churn":
		err = d.churn(o)
	case "probe":
		answer.Dead = d.probe(o)
	case "drop":
		d.drop()
	default:
		err = fmt.Errorf("no order is called %q", o.Do)
	}
	answer.Took = time.Since(began)
	answer.P50, answer.P99 = quantile(delays, 50), quantile(delays, 99)
	if err != nil {
		answer.Error = fmt.Sprintf("%s: %v", o.Do, err)
	}
	return answer
}

func (d *device) open(o order) error {
	first := len(d.held)
	d.held = append(d.held, make([]net.Conn, o.N)...)
	return d.each(o, func(i int, password string) error {
		conn, err := d.dial(password)
		if err == nil {
			d.held[first+i] = conn
		}
		return err
	})
}

func (d *device) churn(o order) error {
	return d.each(o, func(_ int, password string) error {
		conn, err := d.dial(password)
		if err != nil {
			return err
		}
		return errors.Join(d.buffers.ask(conn, o.Up, o.Down), conn.Close())
	})
}

// each does something o.N times, o.Parallel at a time, with the next password.
func (d *device) each(o order, do func(i int, password string) error) error {
	var work errgroup.Group
	work.SetLimit(max(1, o.Parallel))
	for i := range o.N {
		var password string
		if len(d.Passwords) > 0 {
			password = d.Passwords[d.opened%len(d.Passwords)]
		}
		d.opened++
		work.Go(func() error { return do(i, password) })
	}
	return work.Wait()
}

// exchange has each tunnel that is held do its exchanges.
func (d *device) exchange(o order) ([]time.Duration, error) {
	var work errgroup.Group
	work.SetLimit(max(1, o.Parallel))
	var mu sync.Mutex // over delays
	var delays []time.Duration
	for _, conn := range d.held {
		work.Go(func() error {
			own := make([]time.Duration, 0, o.Times)
			for range o.Times {
				began := time.Now()
				if err := d.buffers.ask(conn, o.Up, o.Down); err != nil {
					return err
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			delays = append(delays, own...)
			return nil
		})
	}
	return delays, work.Wait()
}

func (d *device) probe(o order) int {
	var work errgroup.Group
	work.SetLimit(max(1, o.Parallel))
	var dead atomic.Int64
	for _, conn := range d.held {
		work.Go(func() error {
			_ = conn.SetDeadline(time.Now().Add(patience))
			if d.buffers.ask(conn, o.Up, o.Down) != nil {
				dead.Add(1)
			}
			return nil
		})
	}
	_ = work.Wait() // no error to have
	return int(dead.Load())
}

func (d *device) drop() {
	for _, conn := range d.held {
		if conn != nil {
			_ = conn.Close()
		}
	}
	d.held = nil
}

// patience bounds the set-up of one tunnel.
const patience = 30 * time.Second

// dial opens a tunnel, and makes sure that it is what is to be measured.
func (d *device) dial(password string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialer := net.Dialer{KeepAlive: -1} // see listenLoopback
	if d.Gateway == "" {
		return dialer.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", d.Host, d.Port))
	}
	plain, err := dialer.DialContext(ctx, "tcp", d.Gateway)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, d.tls)
	if err = conn.HandshakeContext(ctx); err == nil {
		err = comparable(conn.ConnectionState())
	}
	if err == nil {
		err = socks.ClientHandshake(ctx, conn, socks.Auth{User: d.User, Password: password}, d.Host, d.Port)
	}
	if err != nil {
		_ = plain.Close()
		return nil, err
	}
	return conn, nil
}

// comparable refuses a connection whose cryptography would cost something else.
func comparable(state tls.ConnectionState) error {
	switch {
	case state.DidResume:
		return errors.New("the handshake was no full one")
	case state.CurveID != tls.X25519:
		return fmt.Errorf("the key exchange is %s, not X25519", state.CurveID)
	case state.CipherSuite != tls.TLS_AES_128_GCM_SHA256:
		return fmt.Errorf("the suite is %s, not AES-128-GCM; has this processor no AES?", tls.CipherSuiteName(state.CipherSuite))
	}
	return nil
}

// quantile gives the smallest value that percent of all do not exceed, and 0 of
// none. It sorts.
func quantile(of []time.Duration, percent int) time.Duration {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	rank := (len(of)*percent + 99) / 100
	return of[max(rank, 1)-1]
}
