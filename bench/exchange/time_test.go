package exchange

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// inFakeTime serves s to f, and says what is left in the account when f is done.
func inFakeTime(t *testing.T, s *Service, f func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, done := newPipes(), make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		f(t, l.dial)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if a := s.Account(); a.Open != 0 {
			t.Errorf("%d connections are left", a.Open)
		}
	})
}

// A hold lasts as long as asked, and is neither busy nor waiting; what is added on
// top is late, and busy.
func TestHold(t *testing.T) {
	s := &Service{Extra: 3 * time.Second}
	inFakeTime(t, s, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		defer conn.Close()
		began := time.Now()
		answer, err := new(Client).Do(conn, Ask{Up: 10, Down: 10, Hold: MaxHold}, nil)
		if took := time.Since(began); err != nil || took != MaxHold+3*time.Second || answer.Late != 3*time.Second {
			t.Errorf("%+v after %v, %v", answer, took, err)
		}
		time.Sleep(time.Hour) // a connection may be silent for ever
		if _, err := new(Client).Do(conn, Ask{}, nil); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if a := s.Account(); a.Busy != 6*time.Second || a.Waited != 0 || a.LateMax != 3*time.Second {
			t.Errorf("%+v", a)
		}
	})
}

// A client that goes, or speaks, during a hold is seen at once.
func TestHoldIsCutShort(t *testing.T) {
	for name, cut := range map[string]func(net.Conn){
		"gone":  func(c net.Conn) { c.Close() },
		"talks": func(c net.Conn) { _, _ = c.Write([]byte{1}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := new(Service)
			inFakeTime(t, s, func(t *testing.T, dial func() net.Conn) {
				conn := dial()
				defer conn.Close()
				if _, err := conn.Write(AppendAsk(nil, Ask{Hold: MaxHold}, 1)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				cut(conn)
				synctest.Wait()
				if a := s.Account(); a.Open != 0 || a.Failed != 1 {
					t.Errorf("%+v", a)
				}
			})
		})
	}
}

// A rate is one for all connections together, both ways, and is the service's time.
func TestRate(t *testing.T) {
	s := &Service{Rate: 1 << 20}
	inFakeTime(t, s, func(t *testing.T, dial func() net.Conn) {
		began := time.Now()
		done := make(chan error)
		for _, a := range []Ask{{Up: 5 << 20}, {Down: 5 << 20}} {
			go func() {
				conn := dial()
				defer conn.Close()
				_, err := new(Client).Do(conn, a, nil)
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took < 9900*time.Millisecond || took > 10100*time.Millisecond {
			t.Errorf("10 MiB took %v at 1 MiB a second", took)
		}
		synctest.Wait()
		a := s.Account()
		if share := a.Busy.Seconds() / (a.Busy + a.Waited).Seconds(); share < 0.95 {
			t.Errorf("busy for %.2f of the time: %+v", share, a)
		}
	})
}

// A client that does not take its answer makes the service wait, not busy; one that
// moves no byte for too long is given up.
func TestSlowClient(t *testing.T) {
	s := new(Service)
	inFakeTime(t, s, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		ask := Ask{Down: 4 * chunk}
		if _, err := conn.Write(AppendAsk(nil, ask, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if _, err := io.CopyN(io.Discard, conn, answerSize+2*chunk); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a := s.Account(); a.Busy != 0 || a.Waited != 10*time.Second || a.Down != 2*chunk {
			t.Errorf("%+v", a)
		}
		time.Sleep(time.Minute - time.Millisecond)
		synctest.Wait()
		if a := s.Account(); a.Open != 1 {
			t.Errorf("given up too early: %+v", a)
		}
		time.Sleep(time.Minute / 4)
		synctest.Wait()
		if a := s.Account(); a.Open != 0 || a.Failed != 1 {
			t.Errorf("not given up: %+v", a)
		}
	})
}

// The same over TCP, where the service reads and writes the descriptor itself: time
// in which there was nothing to read has been waited.
func TestMeterOnTCP(t *testing.T) {
	s := new(Service)
	conn := dial(t, loopback(t, s))
	ask := Ask{Up: 2 * blockSize}
	body := make([]byte, ask.Up)
	upBody(1).fill(body, 0)
	if _, err := conn.Write(append(AppendAsk(nil, ask, 1), body[:blockSize]...)); err != nil {
		t.Fatal(err)
	}
	const slow = 200 * time.Millisecond
	<-time.After(slow) // this is how slow the client is
	if _, err := conn.Write(body[blockSize:]); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAnswer(conn, ask, 1); err != nil {
		t.Fatal(err)
	}
	if a := s.Account(); a.Waited < slow*9/10 || a.Busy > a.Waited {
		t.Errorf("%+v", a)
	}
}

// Serve ends with its context, whatever its connections do, and with its listener.
func TestServeEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, done := new(Service), make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	idle, held := dial(t, l.Addr().String()), dial(t, l.Addr().String())
	if _, err := new(Client).Do(idle, Ask{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := held.Write(AppendAsk(nil, Ask{Hold: MaxHold}, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, conn := range []net.Conn{idle, held} {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a connection lives on")
		}
	}
	if err := s.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener: %v", err)
	}
}
