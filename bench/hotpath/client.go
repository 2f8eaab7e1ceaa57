package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// clientSetup is what a client is told.
type clientSetup struct {
	// Gateway is where it dials. Empty means no gateway: it goes to the service
	// itself, in the clear.
	Gateway string `json:"gateway,omitempty"`
	// Carrier is how tunnels are carried there: empty for SOCKS5 over TLS, a
	// connection each.
	Carrier string `json:"carrier,omitempty"`
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
	// Live has new tunnels opened on the connections that are there, in turn.
	Live bool `json:"live,omitempty"`
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
	*dialer
	buffers     *chunks
	opened      int // tunnels, ever; chooses the password
	held        []io.ReadWriteCloser
	connections []connection
	owners      []string // the password of each, which the gateway wants of all its tunnels
}

func client(in *json.Decoder, out *json.Encoder) error {
	var setup clientSetup
	if err := in.Decode(&setup); err != nil {
		return err
	}
	by, err := newDialer(setup)
	if err != nil {
		return err
	}
	d := device{dialer: by, buffers: newChunks()}
	defer d.drop()
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
	first, live := len(d.held), len(d.connections)
	d.held = append(d.held, make([]io.ReadWriteCloser, o.N)...)
	if !o.Live {
		d.connections = append(d.connections, make([]connection, o.N)...)
		d.owners = append(d.owners, make([]string, o.N)...)
	} else if live == 0 {
		return errNoConnection
	}
	return d.each(o, func(i int, password string) (err error) {
		if o.Live {
			d.held[first+i], err = d.openOn(d.connections[i%live], password)
			return err
		}
		d.owners[live+i] = password
		d.connections[live+i], d.held[first+i], err = d.dial(password)
		return err
	})
}

// errNoConnection is for an order that makes no sense.
var errNoConnection = errors.New("there is no live connection")

func (d *device) churn(o order) error {
	live := len(d.connections)
	if o.Live && live == 0 {
		return errNoConnection
	}
	return d.each(o, func(i int, password string) error {
		if o.Live {
			t, err := d.openOn(d.connections[i%live], password)
			if err != nil {
				return err
			}
			return errors.Join(d.buffers.ask(t, o.Up, o.Down), t.Close())
		}
		conn, t, err := d.dial(password)
		if err != nil {
			return err
		}
		return errors.Join(d.buffers.ask(t, o.Up, o.Down), conn.Close())
	})
}

// each does something o.N times, o.Parallel at a time, with the next password, or
// that of a live connection.
func (d *device) each(o order, do func(i int, password string) error) error {
	var work errgroup.Group
	work.SetLimit(max(1, o.Parallel))
	for i := range o.N {
		var password string
		switch {
		case o.Live:
			password = d.owners[i%len(d.owners)]
		case len(d.Passwords) > 0:
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
			defer time.AfterFunc(patience, func() { _ = conn.Close() }).Stop()
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
	for _, t := range d.held {
		if t != nil {
			_ = t.Close()
		}
	}
	for _, conn := range d.connections {
		if conn != nil {
			_ = conn.Close()
		}
	}
	d.held, d.connections, d.owners = nil, nil, nil
}

// patience bounds the set-up of one tunnel.
const patience = 30 * time.Second

// dial makes a connection and opens its first tunnel.
func (d *device) dial(password string) (connection, io.ReadWriteCloser, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	t, err := conn.tunnel(ctx, password)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, t, nil
}

// openOn opens one more tunnel.
func (d *device) openOn(conn connection, password string) (io.ReadWriteCloser, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return conn.tunnel(ctx, password)
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
