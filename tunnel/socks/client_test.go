package socks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted plays a server that expects and answers in turn, and then sends
// stream bytes in the same write as its last answer.
func scripted(t *testing.T, steps ...string) net.Conn {
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i+1 < len(steps); i += 2 {
			got := make([]byte, len(steps[i]))
			if _, err := io.ReadFull(server, got); err != nil {
				t.Errorf("server, step %d: %v", i, err)
				return
			}
			if string(got) != steps[i] {
				t.Errorf("server, step %d: got %q, want %q", i, got, steps[i])
			}
			if _, err := io.WriteString(server, steps[i+1]); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("server, step %d: %v", i, err)
			}
		}
	}()
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		<-done
	})
	return client
}

const good = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"

func TestClientHandshake(t *testing.T) {
	auth := Auth{"user", "pass"}
	const sayUserPass, credential = "\x05\x01\x02", "\x01\x04user\x04pass"
	const wantHost = "\x05\x01\x00\x03\x04host\x01\xbb"
	for _, tt := range []struct {
		name  string
		auth  Auth
		host  string
		steps []string
		want  error
	}{
		{"name", auth, "host", []string{sayUserPass, "\x05\x02", credential, "\x01\x00", wantHost, good + "stream"}, nil},
		{"bound name", auth, "host", []string{sayUserPass, "\x05\x02", credential, "\x01\x00", wantHost, "\x05\x00\x00\x03\x02ab\x00\x01stream"}, nil},
		{"IPv4, no auth", Auth{}, "10.0.0.1", []string{"\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x01\x0a\x00\x00\x01\x01\xbb", good + "stream"}, nil},
		{"IPv6", Auth{}, "::1", []string{"\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x01\xbb", good + "stream"}, nil},
		{"none acceptable", auth, "host", []string{sayUserPass, "\x05\xff"}, NoMethod},
		{"a method not offered", auth, "host", []string{sayUserPass, "\x05\x00"}, NoMethod},
		{"not SOCKS", auth, "host", []string{sayUserPass, "HT"}, BadVersion},
		{"wrong password", auth, "host", []string{sayUserPass, "\x05\x02", credential, "\x01\x01"}, ErrAuth},
		{"bad verdict", auth, "host", []string{sayUserPass, "\x05\x02", credential, "\x05\x00"}, BadAuth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := scripted(t, tt.steps...)
			err := ClientHandshake(t.Context(), conn, tt.auth, tt.host, 443)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if tt.want == nil {
				next := make([]byte, len("stream"))
				if _, err := io.ReadFull(conn, next); err != nil || string(next) != "stream" {
					t.Errorf("behind the reply: %q, %v", next, err)
				}
			}
		})
	}
}

// The credential can be presented, and its answer heard, before anything is asked
// for; and nothing impossible is presented.
func TestClientInSteps(t *testing.T) {
	conn := scripted(t, "\x05\x01\x02", "\x05\x02", "\x01\x04user\x04pass", "\x01\x00",
		"\x05\x01\x00\x03\x04host\x01\xbb", good+"stream")
	request, err := AppendRequest(nil, "host", 443)
	if err != nil {
		t.Fatal(err)
	}
	if err := ClientAuthenticate(t.Context(), conn, Auth{"user", "pass"}); err != nil {
		t.Fatal(err)
	}
	if err := ClientRequest(t.Context(), conn, request); err != nil {
		t.Fatal(err)
	}
	next := make([]byte, len("stream"))
	if _, err := io.ReadFull(conn, next); err != nil || string(next) != "stream" {
		t.Errorf("behind the reply: %q, %v", next, err)
	}
	if err := ClientAuthenticate(t.Context(), scripted(t), Auth{User: strings.Repeat("x", 256)}); err == nil {
		t.Error("a user name of 256 bytes was presented")
	}
}

func TestClientIsRefused(t *testing.T) {
	for r := GeneralFailure; r <= AddressNotSupported+1; r++ {
		conn := scripted(t, "\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x03\x04host\x01\xbb", string(r.Append(nil)))
		err := ClientHandshake(t.Context(), conn, Auth{}, "host", 443)
		var refused *ReplyError
		if !errors.As(err, &refused) || refused.Reply != r {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func TestClientSendsNothingImpossible(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, tt := range []struct {
		auth Auth
		host string
	}{
		{Auth{}, ""}, {Auth{}, long}, {Auth{}, "fe80::1%eth0"},
		{Auth{User: long}, "host"}, {Auth{Password: long}, "host"},
	} {
		conn := scripted(t) // a server that reads nothing: a write would hang
		if err := ClientHandshake(t.Context(), conn, tt.auth, tt.host, 1); err == nil {
			t.Errorf("%.20v to %.20q: no error", tt.auth, tt.host)
		}
	}
}

func TestClientHandshakeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		err := ClientHandshake(ctx, client, Auth{}, "host", 443)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("deadline: %v after %v", err, time.Since(began))
		}
		_ = client.SetDeadline(time.Time{}) // the first one moved it
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := ClientHandshake(ctx, client, Auth{}, "host", 443); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestAuthPrintsNoPassword(t *testing.T) {
	auth := Auth{"user", "hunter2"}
	var all bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&all, verb+"\n", auth)
		fmt.Fprintf(&all, verb+"\n", &auth)
	}
	if s := all.String(); strings.Contains(s, "hunter2") || strings.Contains(s, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("the password shows:\n%s", s)
	}
}
